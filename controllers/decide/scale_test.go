package decide_test

import (
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
	"github.com/replicatedstore/replicatedstore/replication"
)

// TestPodThatGoesKeepsNoClaimFromItsMember: orders-4 is on its way out, and orders-2 lost its pod and its vote. The store
// does not have all its members, so the claim of orders-2 is that of a member that will come back.
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

// TestScaleDownTakesTheOneThatIsGone: a member that nobody has heard for long is the one to remove, whatever its ordinal,
// and no pod is deleted while it votes.
func TestScaleDownTakesTheOneThatIsGone(t *testing.T) {
	for name, tc := range map[string]struct {
		replicas, to int
		gone         string
		away         time.Duration // how long before fewer members are asked for
		left         string
	}{
		"of three":                       {3, 2, "orders-2", time.Minute, "orders-1 orders-3"},
		"of three, since a moment":       {3, 2, "orders-2", 5 * time.Second, "orders-1 orders-3"},
		"of four":                        {4, 3, "orders-2", time.Minute, "orders-1 orders-3 orders-4"},
		"two of four":                    {4, 2, "orders-3", time.Minute, "orders-1 orders-2"},
		"the highest, which goes anyway": {3, 2, "orders-3", time.Minute, "orders-1 orders-2"},
	} {
		t.Run(name, func(t *testing.T) {
			w := started(t, tc.replicas, 1)
			w.cluster.Vanish(tc.gone)
			w.run(tc.away)
			w.store.Spec.Replicas = new(int32(tc.to))
			before := w.podNames()
			w.until("fewer", func() bool {
				r := w.rec()
				for _, v := range r.Rules[0].Voters {
					if w.pods[v.Member] == nil {
						t.Fatalf("%s has no pod and votes: %+v", v.Member, r.Rules)
					}
				}
				return w.podNames() == tc.left && w.ops[0].plan.State == decide.Stable
			})
			w.write()
			if r := w.rec(); r.Epoch != 1 || before == w.podNames() {
				t.Fatalf("%+v", r)
			}
		})
	}
}

// TestSurplusStays: the member to be removed stays the same until it is gone, even if another one is away for a moment
// meanwhile.
func TestSurplusStays(t *testing.T) {
	w := started(t, 4, 1)
	w.store.Spec.Replicas = new(int32(3))
	w.cluster.Vanish("orders-2")
	op := w.ops[0]
	for range 5 {
		op.observe()
		op.decide()
		if op.act(-1) != nil {
			t.Fatal(w.tail())
		}
	}
	w.cluster.Start("orders-2", "orders-2")
	w.until("three", func() bool { return len(w.pods) == 3 && w.ops[0].plan.State == decide.Stable })
	if w.podNames() != "orders-1 orders-2 orders-3" {
		t.Fatal(w.podNames())
	}
}
