package decide

import (
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// Every crash of a loaded leader leaves a tail that was never acknowledged, and the rejoin cuts it. That must not leave a
// synchronous store Degraded forever.
func TestOnlyWhatMayHaveBeenAcknowledgedDegrades(t *testing.T) {
	for name, tc := range map[string]struct {
		rules []replication.Rule
		lost  *Loss
		want  bool
	}{
		"synchronous, nothing lost":      {[]replication.Rule{rule(1, "a", "b")}, nil, false},
		"synchronous, loss was accepted": {[]replication.Rule{rule(1, "a", "b")}, &Loss{Epoch: 2}, true},
		"asynchronous":                   {[]replication.Rule{rule(0, "a", "b")}, nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			d := &decision{}
			if got := d.acknowledgedAlone(Record{Rules: tc.rules, Lost: tc.lost}); got != tc.want {
				t.Fatalf("got %v, want %v", got, tc.want)
			}
		})
	}
}

// A leader that counts voters does not stop with its Lease: nothing bounds what it acknowledged since it was last heard.
func TestBoundedLossIsForLeadersThatStopWithTheirLease(t *testing.T) {
	bound := int64(1000)
	leader := replication.Voter{Member: "z", Incarnation: "i-z"}
	last := replication.Mark{Epoch: 1, Position: 10}
	for name, tc := range map[string]struct {
		rule   replication.Rule
		passes bool
	}{
		"asynchronous": {rule(0, "a", "b"), true},
		"with voters":  {rule(1, "a", "b"), false},
	} {
		t.Run(name, func(t *testing.T) {
			d := &decision{Observed: Observed{Store: &v1alpha1.ReplicatedStore{}}}
			d.Store.Spec.Failover.DataLoss, d.Store.Spec.Failover.MaxLostWrites = v1alpha1.DataLossBounded, &bound
			d.Lease.UnchangedFor = time.Hour
			d.Members = map[string]Member{"z": {Name: "z", Probe: Probe{Status: &wire.Status{Epoch: 1, Incarnation: "i-z", Last: last}}}}
			ev := evidence{"a": {voter: tc.rule.Voters[0], last: last}}
			l := replication.Leadership{Epoch: 1, Leader: leader, Rules: []replication.Rule{tc.rule}}
			var pass passage
			if g := d.lossGate(l, ev, &pass); (g == nil) != tc.passes {
				t.Fatalf("gate %+v, want passing: %v", g, tc.passes)
			}
		})
	}
}
