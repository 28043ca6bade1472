package decide

import (
	"testing"

	"github.com/replicatedstore/replicatedstore/replication"
)

// TestWhatBindsOnceIsKeptOnce checks that dropping leaderships repeated by a newer one changes no fence condition, whoever
// has promised.
func TestWhatBindsOnceIsKeptOnce(t *testing.T) {
	voter := func(m string) replication.Voter { return replication.Voter{Member: m, Incarnation: m + "-1"} }
	members := []replication.Voter{voter("a"), voter("b"), voter("c"), {Member: "a", Incarnation: "a-2"}}
	rules := [][]replication.Rule{
		{rule(1, "b", "c")}, {rule(2, "b", "c")}, {rule(1, "b")}, {rule(1, "b"), rule(1, "b", "c")}, {rule(1, "b", "c"), rule(1, "b")}, {rule(0)}, {rule(1)},
	}
	for i := range rules {
		for j := range rules[i] {
			for k := range rules[i][j].Voters {
				rules[i][j].Voters[k] = voter(rules[i][j].Voters[k].Member)
			}
		}
	}
	var all []replication.Leadership
	for range 3 {
		for _, leader := range members {
			for _, rs := range rules {
				all = append(all, replication.Leadership{Epoch: replication.Epoch(len(all) + 1), Leader: leader, Rules: rs})
			}
		}
	}
	rec := Record{Epoch: all[len(all)-1].Epoch + 1, Phase: PhaseFencing, Binding: all}
	next := rec.fencing(rec.Epoch+1, Change{})
	if n, want := len(next.Binding), len(members)*len(rules); n != want {
		t.Fatalf("%d are kept, want %d", n, want)
	}
	if next.Binding[len(next.Binding)-1].Epoch != all[len(all)-1].Epoch || next.LedEpoch() != rec.LedEpoch() {
		t.Fatal("the newest is not kept")
	}
	for from := range all { // of any of them, for each subset of the members
		ls := all[from:min(len(all), from+9)]
		for set := range 1 << len(members) {
			has := func(v replication.Voter) bool {
				for i, m := range members {
					if m == v {
						return set&(1<<i) != 0
					}
				}
				return false
			}
			if got, want := fencedAll(distinct(ls), has), fencedAll(ls, has); got != want {
				t.Fatalf("%v, promised by %b: %t instead of %t", ls, set, got, want)
			}
		}
	}
}

func fencedAll(ls []replication.Leadership, has func(replication.Voter) bool) bool {
	for _, l := range ls {
		if !l.Inert() && !l.Fenced(has) {
			return false
		}
	}
	return true
}
