package decide

import (
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// TestLossOf: z led epoch 3 from 2/10 to 3/20, as a member that heard it says; a holds what the case says.
func TestLossOf(t *testing.T) {
	mark := func(e replication.Epoch, p replication.Position) replication.Mark {
		return replication.Mark{Epoch: e, Position: p}
	}
	start, lately, long := mark(2, 10), new(int64(9000)), new(int64(20000))
	for name, tc := range map[string]struct {
		start, holds replication.Mark
		heard        *int64        // by b, when the Lease had not been renewed for 8 s
		asked        time.Duration // since z itself said how far it was; 0: it never did
		lost         int64         // -1: unknown
	}{
		"a part of its epoch":                 {start, mark(3, 17), lately, 0, 3},
		"all of it":                           {start, mark(3, 20), lately, 0, 0},
		"less than it began with":             {start, mark(2, 8), lately, 0, 12},
		"more than it began with":             {start, mark(2, 19), lately, 0, 10},
		"another epoch that it passed by":     {start, mark(1, 19), lately, 0, -1},
		"where it began is not known":         {replication.Mark{}, mark(2, 8), lately, 0, -1},
		"nor needs to be":                     {replication.Mark{}, mark(3, 17), lately, 0, 3},
		"it was heard long before":            {start, mark(3, 17), long, 0, -1},
		"it is not known when it was heard":   {start, mark(3, 17), nil, 0, -1},
		"it told the operator itself":         {start, mark(3, 17), nil, 14 * time.Second, 3},
		"it told the operator itself, before": {start, mark(3, 17), nil, 15 * time.Second, -1},
	} {
		t.Run(name, func(t *testing.T) {
			d := &decision{Observed: Observed{Store: &v1alpha1.ReplicatedStore{}, Members: map[string]Member{}}}
			d.Lease.UnchangedFor = 8 * time.Second // its duration is six
			if tc.asked > 0 {
				d.Members["z"] = Member{Name: "z", Probe: Probe{Age: tc.asked, Status: &wire.Status{Epoch: 3, Incarnation: "i-z", Last: mark(3, 20)}}}
			}
			ev := evidence{
				"a": {last: tc.holds, toldAgo: toldAgo(nil, 0)},
				"b": {seeding: true, told: mark(3, 20), toldAgo: toldAgo(tc.heard, 0)},
			}
			l := replication.Leadership{Epoch: 3, Leader: replication.Voter{Member: "z", Incarnation: "i-z"}, Rules: []replication.Rule{rule(0, "a", "b")}, Start: tc.start}
			lost, unknown := d.lossOf(l, ev)
			if (unknown != "") != (tc.lost < 0) || unknown == "" && lost != tc.lost {
				t.Fatalf("lost %d, unknown %q; want %d", lost, unknown, tc.lost)
			}
		})
	}
}
