package decide_test

import (
	"testing"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
	"github.com/replicatedstore/replicatedstore/replication"
)

// TestPodThatGoesKeepsNoClaimFromItsMember: orders-4 is on its way out, and orders-2 lost its pod and its vote. The store
// has not all its members, so the claim of orders-2 is that of a member to come back.
func TestPodThatGoesKeepsNoClaimFromItsMember(t *testing.T) {
	w := started(t, 4, 1, func(s *v1alpha1.ReplicatedStoreSpec) {
		s.Storage.RetentionPolicy.WhenScaled = v1alpha1.DeleteClaim
	})
	w.store.Spec.Replicas = new(int32(3))
	w.cluster.Crash("orders-4")
	w.pods["orders-4"].Deleting = true
	w.cluster.Vanish("orders-2")
	delete(w.pods, "orders-2")
	op := w.ops[0]
	op.observe()
	rec := op.seen.Lease.Record
	three, _ := rec.Voter("orders-3")
	rec.Rules = []replication.Rule{{K: 1, Voters: []replication.Voter{three}}}
	op.decide()
	for _, a := range op.plan.Actions {
		if d, ok := a.(decide.DeleteClaim); ok {
			t.Fatalf("%v", d)
		}
	}
	if op.plan.State != decide.Settling {
		t.Fatalf("%v: %s", op.plan.State, op.plan.Message)
	}
}
