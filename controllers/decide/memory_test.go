package decide_test

import (
	"errors"
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/controllers/decide"
	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

var start = time.Unix(1000, 0)

func reminded(m *decide.Memory, now time.Time) (o decide.Observed) {
	m.Remind(&o, now)
	return o
}

// How long a fact has been seen does not include a time in which nothing was seen: an API server that is down keeps leaders
// from renewing their Leases too.
func TestWhatFailedLooksDidNotSeeBeginsAnew(t *testing.T) {
	for name, tc := range map[string]struct {
		failed time.Duration // looks fail, once a second, until then
		want   time.Duration
	}{
		"one look fails":            {time.Second, 2 * time.Second},
		"the API server was away":   {30 * time.Second, 0},
		"no look, and none of note": {0, time.Second},
	} {
		m, now := decide.NewMemory(), start
		m.Planned(decide.Observed{}, decide.Plan{Holding: []string{"no renewal"}}, now)
		for at := time.Second; at <= tc.failed; at += time.Second {
			m.Facts.Unseen(now.Add(at))
		}
		now = now.Add(tc.failed + time.Second)
		if got := reminded(m, now).Held["no renewal"]; got != tc.want {
			t.Errorf("%s: seen for %v, want %v", name, got, tc.want)
		}
	}
}

// A fact is timed from when it was first seen, and anew after it was not seen once.
func TestFactsAreTimedWithoutInterruption(t *testing.T) {
	m := decide.NewMemory()
	for i, step := range []struct {
		facts []string
		held  map[string]time.Duration // afterwards
	}{
		{[]string{"a"}, map[string]time.Duration{"a": 0}},
		{[]string{"a", "b"}, map[string]time.Duration{"a": time.Second, "b": 0}},
		{[]string{"b"}, map[string]time.Duration{"b": time.Second}},
		{[]string{"a", "b"}, map[string]time.Duration{"a": 0, "b": 2 * time.Second}},
	} {
		now := start.Add(time.Duration(i) * time.Second)
		m.Planned(decide.Observed{}, decide.Plan{Holding: step.facts}, now)
		got := reminded(m, now).Held
		if len(got) != len(step.held) {
			t.Errorf("step %d: %v, want %v", i, got, step.held)
		}
		for fact, d := range step.held {
			if got[fact] != d {
				t.Errorf("step %d: %s for %v, want %v", i, fact, got[fact], d)
			}
		}
	}
}

// What a plan amounts to counts as known only if its record was read uncached, and standing in ends with an action that fails.
func TestPlansAreRemembered(t *testing.T) {
	m := decide.NewMemory()
	m.Planned(decide.Observed{}, decide.Plan{State: decide.Stable, StandsIn: 3}, start)
	m.Planned(decide.Observed{Cached: decide.Reads{Record: true}}, decide.Plan{State: decide.Blocked, StandsIn: 4}, start)
	if o := reminded(m, start); o.Before.State != decide.Stable || o.StoodIn != 4 {
		t.Errorf("%+v, stands in for epoch %d", o.Before, o.StoodIn)
	}
	if m.ActFailed(); reminded(m, start).StoodIn != 0 {
		t.Error("it still stands in")
	}
}

// The clock of a Lease starts over with each renewal, each leadership, and each order to promote that may have been taken.
func TestLeaseClock(t *testing.T) {
	led := func(e replication.Epoch) *decide.Record { return &decide.Record{Epoch: e, Phase: decide.PhaseStable} }
	order := func(err error, meanwhile func(*decide.Memory)) func(*decide.Memory) {
		return func(m *decide.Memory) {
			settle := m.Promoting(&decide.Pass{}, wire.PromoteRequest{Epoch: 1}, start.Add(4*time.Second))
			meanwhile(m)
			_ = settle(err, start.Add(6*time.Second))
		}
	}
	nothing := func(*decide.Memory) {}
	refusal := &wire.Error{Reason: "Promised"}
	for name, tc := range map[string]struct {
		does func(*decide.Memory)
		led  *decide.Record
		want time.Duration // that the clock has run at 10 s
	}{
		"nothing":                   {nothing, led(1), 10 * time.Second},
		"the same renewal again":    {func(m *decide.Memory) { m.Lease.See(7, start.Add(time.Second)) }, led(1), 10 * time.Second},
		"a renewal":                 {func(m *decide.Memory) { m.Lease.See(8, start.Add(time.Second)) }, led(1), 9 * time.Second},
		"no Lease":                  {func(m *decide.Memory) { m.Lease.See(0, start.Add(time.Second)) }, led(1), 9 * time.Second},
		"another leadership":        {nothing, led(2), 0},
		"no leadership":             {nothing, nil, 0},
		"an order that is taken":    {order(nil, nothing), led(1), 4 * time.Second},
		"an order without answer":   {order(errors.New("no answer"), nothing), led(1), 4 * time.Second},
		"an order that is refused":  {order(refusal, nothing), led(1), 10 * time.Second},
		"a refusal after a renewal": {order(refusal, func(m *decide.Memory) { m.Lease.See(8, start.Add(5*time.Second)) }), led(1), 5 * time.Second},
	} {
		m := decide.NewMemory()
		m.Lease.See(7, start)
		m.Lease.Led(led(1), start)
		tc.does(m)
		if got := m.Lease.Led(tc.led, start.Add(10*time.Second)); got != tc.want {
			t.Errorf("%s: unchanged for %v, want %v", name, got, tc.want)
		}
	}
}

// An order to promote is remembered if it was carried out, and its refusal is an answer.
func TestPromotionsAreRemembered(t *testing.T) {
	m, pass := decide.NewMemory(), &decide.Pass{}
	settle := func(e replication.Epoch, err error) error {
		return m.Promoting(pass, wire.PromoteRequest{Epoch: e}, start)(err, start.Add(time.Second))
	}
	if err := settle(1, nil); err != nil || m.Promoted != (decide.PromotedAt{Epoch: 1, At: start.Add(time.Second)}) {
		t.Errorf("carried out: %v, %+v", err, m.Promoted)
	}
	if err := settle(2, errors.New("no answer")); err == nil || m.Promoted.Epoch != 1 || pass.PromoteRefusal != nil {
		t.Errorf("without an answer: %v, %+v, %v", err, m.Promoted, pass.PromoteRefusal)
	}
	if err := settle(3, &wire.Error{Reason: "Promised"}); err != nil || m.Promoted.Epoch != 1 || pass.PromoteEpoch != 3 || pass.PromoteRefusal.Reason != "Promised" {
		t.Errorf("refused: %v, %+v, epoch %d: %v", err, m.Promoted, pass.PromoteEpoch, pass.PromoteRefusal)
	}
}

// Handovers that fail are counted for one leadership, until one succeeds.
func TestFailedHandoversAreCounted(t *testing.T) {
	m, late := decide.NewMemory(), errors.New("too late")
	for i, step := range []struct {
		epoch  replication.Epoch
		err    error
		inARow int
	}{
		{1, late, 1}, {1, late, 2}, {1, nil, 0}, {1, late, 1}, {2, late, 1}, {2, late, 2}, {3, nil, 0},
	} {
		pass := &decide.Pass{}
		m.HandedOver(pass, wire.HandoverRequest{Epoch: step.epoch, To: "orders-2"}, replication.Mark{Position: 9}, step.err, start)
		want := decide.HandoverFailures{}
		if step.inARow > 0 {
			want = decide.HandoverFailures{Epoch: step.epoch, InARow: step.inARow, Why: "too late", Ago: time.Second}
		}
		if got := reminded(m, start.Add(time.Second)).Handovers; got != want {
			t.Errorf("step %d: %+v, want %+v", i, got, want)
		}
		if held := pass.Handover; (held != nil) != (step.err == nil) || (pass.HandoverError != "") != (step.err != nil) || held != nil && held.End.Position != 9 {
			t.Errorf("step %d: the pass has %+v, %q", i, held, pass.HandoverError)
		}
	}
}

// A Lease was restored from an older copy if it is the same Lease with an older epoch.
func TestKnown(t *testing.T) {
	known := decide.KnownOf("uid", "text", &decide.Record{Epoch: 2, Phase: decide.PhaseStable})
	for name, tc := range map[string]struct {
		now          decide.Known
		moved, after bool
	}{
		"the same":           {known, false, false},
		"other rules":        {decide.KnownOf("uid", "else", &decide.Record{Epoch: 2, Phase: decide.PhaseStable}), false, false},
		"another phase":      {decide.KnownOf("uid", "else", &decide.Record{Epoch: 2, Phase: decide.PhasePromoting}), true, false},
		"a newer epoch":      {decide.KnownOf("uid", "else", &decide.Record{Epoch: 3, Phase: decide.PhaseStable}), true, false},
		"an older epoch":     {decide.KnownOf("uid", "else", &decide.Record{Epoch: 1, Phase: decide.PhaseStable}), true, true},
		"of another Lease":   {decide.KnownOf("other", "else", &decide.Record{Epoch: 1, Phase: decide.PhaseStable}), true, false},
		"no readable record": {decide.KnownOf("uid", "else", nil), true, false},
		"no Lease":           {decide.KnownOf("", "", nil), true, false},
	} {
		if known.Moved(tc.now) != tc.moved || known.After(tc.now) != tc.after {
			t.Errorf("%s: moved %t, after %t", name, known.Moved(tc.now), known.After(tc.now))
		}
		if shows := known.Shows(tc.now.UID, tc.now.Record); shows != (tc.now == known) {
			t.Errorf("%s: shown %t", name, shows)
		}
	}
	if !(decide.Known{}).Shows("", "") {
		t.Error("that there is no Lease is not known")
	}
}

// A trial that still matters is renewed before it is forgotten; one of another template does not count.
func TestATrialIsForgotten(t *testing.T) {
	for name, tc := range map[string]struct {
		template string
		after    time.Duration
		want     decide.Trial
	}{
		"just now":         {"v1", time.Minute, decide.Trial{Asked: true, Member: "orders-3", Ago: time.Minute, Refused: "no", Unclear: true}},
		"long ago":         {"v1", 2 * time.Minute, decide.Trial{}},
		"another template": {"v2", time.Minute, decide.Trial{}},
	} {
		tried := decide.TriedAt(start, "orders-3", "v1", "no", true)
		if got := tried.Now(tc.template, start.Add(tc.after)); got != tc.want || (tried.Member() == "") != (got == decide.Trial{}) {
			t.Errorf("%s: %+v, then %q", name, got, tried.Member())
		}
	}
	if got := new(decide.Tried).Now("", start); got != (decide.Trial{}) {
		t.Errorf("without a trial: %+v", got)
	}
}

// Making a member is retried less and less often, and another spec is tried at once.
func TestAttemptsRest(t *testing.T) {
	why := errors.New("no room")
	for times, rest := range map[int]time.Duration{1: 100 * time.Millisecond, 2: 200 * time.Millisecond, 9: 25600 * time.Millisecond, 10: 30 * time.Second, 1000: 30 * time.Second} {
		a := decide.Attempts{}
		for range times {
			a.Ended("orders-3", "v1", why, start)
		}
		if a.Rests("orders-3", "v1", start.Add(rest-1)) == nil || a.Rests("orders-3", "v1", start.Add(rest)) != nil {
			t.Errorf("failed %d times in a row: not a rest of %v", times, rest)
		}
		if a.Rests("orders-3", "v2", start) != nil || a.Rests("orders-2", "v1", start) != nil {
			t.Error("another spec, or another member, rests too")
		}
		if got := a.Unmade(error.Error); got["orders-3"] != "no room" {
			t.Errorf("unmade: %v", got)
		}
		a.Ended("orders-3", "v2", why, start)
		if a.Rests("orders-3", "v2", start.Add(100*time.Millisecond)) != nil {
			t.Error("the attempts of another spec count")
		}
		if a.Ended("orders-3", "v2", nil, start); len(a) > 0 {
			t.Errorf("made, and remembered: %v", a)
		}
	}
}
