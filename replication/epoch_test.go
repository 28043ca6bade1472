package replication

import (
	"errors"
	"slices"
	"testing"

	"github.com/replicatedstore/replicatedstore/replication/randtest"
)

func TestEpochTable(t *testing.T) {
	table := EpochTable{{1, 1}, {3, 10}, {4, 11}, {9, 30}}
	const last = 35
	for _, c := range []struct {
		epoch   Epoch
		end     Position
		below   Epoch
		known   bool
		belowOK bool
	}{
		{0, 0, 0, false, false}, {1, 9, 1, true, true}, {2, 9, 1, false, true}, {3, 10, 3, true, true}, {4, 29, 4, true, true},
		{8, 29, 4, false, true}, {9, 35, 9, true, true}, {100, 35, 9, false, true},
	} {
		if got := table.EndOf(c.epoch, last); got != c.end {
			t.Errorf("epoch %d ends at %d, want %d", c.epoch, got, c.end)
		}
		if got, ok := table.AtOrBelow(c.epoch); got.Epoch != c.below || ok != c.belowOK {
			t.Errorf("at or below %d: %v %v", c.epoch, got, ok)
		}
		if table.Has(c.epoch) != c.known {
			t.Errorf("has %d: %v", c.epoch, !c.known)
		}
	}
	for p, want := range map[Position]Epoch{0: 0, 1: 1, 9: 1, 10: 3, 11: 4, 29: 4, 30: 9, 1000: 9} {
		if got := table.EpochAt(p); got != want {
			t.Errorf("epoch at %d is %d, want %d", p, got, want)
		}
	}
	for after, want := range map[Position]int{0: 0, 1: 1, 9: 1, 10: 2, 29: 3, 30: 4} {
		if got := len(table.Truncate(after)); got != want {
			t.Errorf("truncated after %d: %d epochs, want %d", after, got, want)
		}
	}
}

func TestEpochTableAppend(t *testing.T) {
	base := EpochTable{{1, 1}, {3, 10}}
	grown, err := base.Append(5, 20)
	if err != nil || len(grown) != 3 || len(base) != 2 {
		t.Fatalf("%v %v", grown, err)
	}
	same, err := grown.Append(5, 25)
	if err != nil || len(same) != 3 {
		t.Fatalf("%v %v", same, err)
	}
	// Tables must not share memory through which one could modify the other.
	cut := grown.Truncate(10)
	other, _ := cut.Append(7, 11)
	if grown[2] != (EpochStart{5, 20}) || other[2] != (EpochStart{7, 11}) {
		t.Fatalf("%v and %v share memory", grown, other)
	}
	for _, bad := range []EpochStart{{2, 30}, {3, 5}, {4, 10}, {0, 1}} {
		if _, err := base.Append(bad.Epoch, bad.Start); !errors.Is(err, ErrEpochOrder) {
			t.Errorf("appended %v: %v", bad, err)
		}
	}
	for _, bad := range []EpochTable{{{0, 1}}, {{1, 0}}, {{1, 1}, {1, 2}}, {{2, 1}, {3, 1}}} {
		if bad.Check() == nil {
			t.Errorf("%v passes", bad)
		}
	}
}

// cutLoop runs the conversation between leader and follower to its end, and returns where the follower cuts.
func cutLoop(t *testing.T, leader EpochTable, leaderLast Position, own EpochTable, ownLast Position) (Position, int) {
	t.Helper()
	ask := Mark{Epoch: own.EpochAt(ownLast), Position: ownLast}
	for rounds := 1; ; rounds++ {
		epoch, end := Divergence(leader, leaderLast, ask)
		next, done := CutTo(own, ownLast, epoch, end)
		if done {
			return next.Position, rounds
		}
		if next.Epoch >= ask.Epoch {
			t.Fatalf("asked with epoch %d, then with %d: no progress", ask.Epoch, next.Epoch)
		}
		ask = next
	}
}

func TestRejoinScenarios(t *testing.T) {
	for name, c := range map[string]struct {
		leader     EpochTable
		leaderLast Position
		own        EpochTable
		ownLast    Position
		want       Position
	}{
		// KIP-101, scenario 1: B restarts below the high watermark it never heard of; truncating to it would lose m2.
		"kip-101: a follower that only missed the high watermark keeps all": {
			EpochTable{{1, 1}}, 2, EpochTable{{1, 1}}, 2, 2},
		// The leader then died, and B led with what it kept.
		"kip-101: the old leader, back, keeps what the new one kept": {
			EpochTable{{1, 1}, {2, 3}}, 3, EpochTable{{1, 1}}, 2, 2},
		// KIP-101, scenario 2: A wrote m2, both went down, B came first and wrote m3 at the same position.
		"kip-101: equal positions with different content": {
			EpochTable{{1, 1}, {2, 2}}, 2, EpochTable{{1, 1}}, 2, 1},
		"kip-101: the diverged log is even longer": {
			EpochTable{{1, 1}, {2, 2}}, 2, EpochTable{{1, 1}}, 50, 1},
		// KIP-279: fast failovers; the follower holds an epoch that the leader never saw, and the other way round.
		"kip-279: each side has epochs unknown to the other": {
			EpochTable{{1, 1}, {3, 11}, {6, 21}}, 30, EpochTable{{1, 1}, {2, 9}, {5, 15}}, 20, 8},
		"kip-279: the leader's answer is an epoch the follower lacks": {
			EpochTable{{1, 1}, {4, 6}}, 9, EpochTable{{1, 1}, {2, 4}, {5, 8}}, 12, 3},
		"behind":                      {EpochTable{{1, 1}, {2, 50}}, 90, EpochTable{{1, 1}}, 20, 20},
		"behind in the same epoch":    {EpochTable{{2, 1}}, 90, EpochTable{{2, 1}}, 20, 20},
		"ahead in the same epoch":     {EpochTable{{2, 1}}, 20, EpochTable{{2, 1}}, 90, 20},
		"an unfinished epoch on top":  {EpochTable{{1, 1}, {4, 11}}, 12, EpochTable{{1, 1}, {2, 11}, {3, 12}}, 13, 10},
		"empty follower":              {EpochTable{{1, 1}}, 5, nil, 0, 0},
		"empty leader":                {nil, 0, EpochTable{{1, 1}}, 5, 0},
		"nothing in common":           {EpochTable{{3, 1}}, 5, EpochTable{{1, 1}, {2, 4}}, 9, 0},
		"nothing in common, reversed": {EpochTable{{1, 1}, {2, 4}}, 9, EpochTable{{3, 1}}, 5, 0},
	} {
		if got, _ := cutLoop(t, c.leader, c.leaderLast, c.own, c.ownLast); got != c.want {
			t.Errorf("%s: cut to %d, want %d", name, got, c.want)
		}
	}
}

// logOf is a log as the list of the epochs of its entries. An entry p of epoch e is the same entry in every log.
type logOf []Epoch

func (l logOf) table() (t EpochTable) {
	for i, e := range l {
		t, _ = t.Append(e, Position(i+1))
	}
	return t
}

// TestRejoinCutsExactlyWhatDiffers lets random members lead in turn, each from its own log, and copies parts of their logs
// to others, so that logs diverge in every way that the protocol allows. Then every pair of members runs the conversation.
func TestRejoinCutsExactlyWhatDiffers(t *testing.T) {
	rng := randtest.New(t)
	most := 0
	for range 3000 {
		logs := make([]logOf, 5)
		for epoch := Epoch(1); epoch < 12; epoch++ {
			leader := rng.IntN(len(logs))
			for range 1 + rng.IntN(5) {
				logs[leader] = append(slices.Clip(logs[leader]), epoch)
			}
			// A follower first cuts to what it shares with the leader, then takes part of the rest.
			for i := range logs {
				if i == leader || rng.IntN(3) > 0 {
					continue
				}
				n := common(logs[i], logs[leader])
				n += rng.IntN(len(logs[leader]) - n + 1)
				logs[i] = slices.Clip(logs[leader][:n])
			}
		}
		for a := range logs {
			for b := range logs {
				cut, rounds := cutLoop(t, logs[a].table(), Position(len(logs[a])), logs[b].table(), Position(len(logs[b])))
				if want := common(logs[a], logs[b]); int(cut) != want {
					t.Fatalf("leader %v, follower %v: cut to %d, common are %d", logs[a], logs[b], cut, want)
				}
				most = max(most, rounds)
			}
		}
	}
	if most < 3 {
		t.Fatalf("no pair needed more than %d rounds: the histories are too tame", most)
	}
}

func common(a, b logOf) int {
	n := 0
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	return n
}
