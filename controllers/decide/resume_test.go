package decide_test

import (
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
)

// TestOperatorDiesBetweenEveryTwoActions repeats each change with an operator that dies before its n-th action, for every n:
// the next operator, which knows only the record, finishes the same change.
func TestOperatorDiesBetweenEveryTwoActions(t *testing.T) {
	for name, tc := range map[string]struct {
		begin func(*world)
		done  func(*world) bool
	}{
		"failover": {
			func(w *world) { w.cluster.Crash("orders-1") },
			func(w *world) bool { return w.rec().Epoch > 1 && w.rec().Phase == decide.PhaseStable },
		},
		"handover": {
			func(w *world) { w.store.Annotations[v1alpha1.AnnotationFailover] = "orders-3" },
			func(w *world) bool {
				return w.rec().Leader.Member == "orders-3" && w.rec().Phase == decide.PhaseStable &&
					w.store.Annotations[v1alpha1.AnnotationFailover] == ""
			},
		},
		"voters": {
			func(w *world) { w.store.Spec.Replication.Synchronous.Number = new(int32(2)) },
			func(w *world) bool { return len(w.rec().Rules) == 1 && w.rec().Rules[0].K == 2 },
		},
		"scale down": {
			func(w *world) { w.store.Spec.Replicas = new(int32(2)) },
			func(w *world) bool { return w.podNames() == "orders-1 orders-2" && len(w.rec().Rules[0].Voters) == 1 },
		},
		"update": {
			func(w *world) { w.hash = "v2" },
			func(w *world) bool {
				for _, p := range w.pods {
					if p.SpecHash != "v2" {
						return false
					}
				}
				return w.ops[0].plan.State == decide.Stable
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			for n := 0; ; n++ {
				w := started(t, 3, 1)
				tc.begin(w)
				if !dieBefore(w, n) {
					if n < 3 {
						t.Fatalf("the change took only %d actions", n)
					}
					return
				}
				w.until(name+" is finished", func() bool { return tc.done(w) })
				w.kubelet()
				w.until("a write", func() bool { return w.cluster.Write(w.cluster.Writable()) })
				w.run(time.Second)
			}
		})
	}
}

// dieBefore runs an operator until it is about to do its n-th action, then kills it; false if it never got that far.
func dieBefore(w *world, n int) bool {
	op := w.ops[0]
	for range 120 {
		w.cluster.Settle()
		w.renew()
		op.pass = decide.Pass{}
		for range 12 {
			op.observe()
			op.decide()
			left := len(op.plan.Actions)
			if n < left {
				_ = op.act(n)
				op.die()
				return true
			}
			n -= left
			if op.act(-1) != nil || !op.plan.Risky() {
				break
			}
		}
		op.publish()
		w.check()
	}
	return false
}

// TestBootstrapSurvivesEveryDeath does the same for a new store.
func TestBootstrapSurvivesEveryDeath(t *testing.T) {
	for n := 0; ; n++ {
		w := newWorld(t, 3, 1)
		if !dieBefore(w, n) {
			if n < 3 {
				t.Fatalf("a new store took only %d actions", n)
			}
			return
		}
		w.until("a store", func() bool { return w.record != "" && w.ops[0].plan.State == decide.Stable })
		w.write()
	}
}
