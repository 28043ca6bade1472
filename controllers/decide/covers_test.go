package decide_test

import (
	"testing"

	"github.com/replicatedstore/replicatedstore/controllers/decide"
	"github.com/replicatedstore/replicatedstore/replication"
)

// TestOlderRuleHoldsWhileTheLeaderStillApplies: the barrier is committed under the older rule, and followers apply what that
// committed. The leader does not take writes yet, because it has not applied everything itself. Even so, the newer rule must
// cover what is committed before it stands alone.
func TestOlderRuleHoldsWhileTheLeaderStillApplies(t *testing.T) {
	w := started(t, 3, 1)
	op := w.ops[0]
	op.observe()
	rec := op.seen.Lease.Record
	two, _ := rec.Voter("orders-2")
	three, _ := rec.Voter("orders-3")
	rec.Phase = decide.PhasePromoting
	rec.Rules = []replication.Rule{{K: 1, Voters: []replication.Voter{two}}, {K: 1, Voters: []replication.Voter{three}}}
	leader := op.seen.Members["orders-1"].Probe.Status
	leader.Writable = false
	behind := leader.Followers["orders-3"]
	behind.Durable = leader.Commit - 1
	leader.Followers["orders-3"] = behind
	op.decide()
	if op.plan.Risky() || op.plan.State != decide.ChangingVoters {
		t.Fatalf("commit %d, orders-3 holds %d: %v: %v", leader.Commit, behind.Durable, op.plan.Message, op.plan.Actions)
	}
}
