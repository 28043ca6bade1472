package main

import (
	"strings"
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/hack/soak/internal/faults"
	"github.com/replicatedstore/replicatedstore/hack/soak/internal/reports"
	"github.com/replicatedstore/replicatedstore/test/ledger"
)

var zero = time.Unix(1000, 0)

func after(d time.Duration) time.Time { return zero.Add(d) }

// Each change of leader is attributed to the fault that had begun last, and each fault counts for each store.
func TestRows(t *testing.T) {
	fault := func(k faults.Kind, begun time.Duration, gaps ...time.Duration) injected {
		x := injected{Fault: faults.Fault{Kind: k}, Begun: after(begun), Mended: after(begun + time.Second), Whole: after(begun + 3*time.Second)}
		for n := range x.Stores {
			x.Stores[n].Gap = gaps[n]
		}
		return x
	}
	change := func(begun time.Duration, missing string) reports.Change {
		return reports.Change{Leadership: reports.Leadership{Begun: after(begun)}, Missing: missing}
	}
	got := map[faults.Kind]row{}
	for _, r := range rows([]injected{
		fault(faults.Cut, 10*time.Second, 0, time.Second),
		fault(faults.NodeKill, 20*time.Second, 4*time.Second, 2*time.Second),
		fault(faults.Cut, 30*time.Second, 5*time.Second, 3*time.Second),
	}, []reports.Change{
		change(5*time.Second, ""), // before any fault, so attributed to none
		change(10*time.Second, ""), change(29*time.Second, "no report"), change(31*time.Second, ""),
	}) {
		got[r.kind] = r
	}
	cut, kill := got[faults.Cut], got[faults.NodeKill]
	if cut.count != 2 || cut.changes != 2 || cut.reported != 2 || median(cut.gaps) != 3*time.Second || worst(cut.gaps) != 5*time.Second {
		t.Errorf("cut: %+v", cut)
	}
	if kill.count != 1 || kill.changes != 1 || kill.reported != 0 || kill.longestTillWhole != 2*time.Second {
		t.Errorf("node kill: %+v", kill)
	}
	if len(got) != len(faults.Kinds) || got[faults.APIDown].count != 0 {
		t.Errorf("%+v", got)
	}
	var b strings.Builder
	if err := table(&b, []row{cut, {kind: faults.APIDown}}); err != nil || strings.Count(b.String(), "\n") != 4 {
		t.Errorf("%v\n%s", err, b.String())
	}
}

func TestSuffer(t *testing.T) {
	gap := func(from, to time.Duration) felt { return felt{gap: ledger.Gap{From: after(from), To: after(to)}} }
	for name, tc := range map[string]struct {
		after      felt
		gap, again time.Duration
	}{
		"nothing":                       {felt{}, 0, 0},
		"the pace of the clients":       {gap(0, leastGap-1), 0, 0},
		"from before the fault till on": {gap(9*time.Second, 12*time.Second), 3 * time.Second, 2 * time.Second},
		"a while after the fault":       {gap(11*time.Second, 12*time.Second), time.Second, 2 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			got := suffer(felt{}, tc.after, after(10*time.Second))
			if got.Gap != tc.gap || got.Again != tc.again {
				t.Errorf("%+v", got)
			}
		})
	}
	got := suffer(felt{errors: map[string]int64{"EOF": 3, "READONLY": 1}}, felt{errors: map[string]int64{"EOF": 5, "READONLY": 1, "new": 2}}, zero)
	if len(got.Errors) != 2 || got.Errors["EOF"] != 2 || got.Errors["new"] != 2 {
		t.Errorf("%v", got.Errors)
	}
}

func TestClock(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "  0:00", -time.Second: "  0:00", 59600 * time.Millisecond: "  1:00", 754 * time.Second: " 12:34", 100 * time.Minute: "100:00",
	} {
		if got := clock(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}
