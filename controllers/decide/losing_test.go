package decide_test

import (
	"strings"
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
)

// lose deletes claims, which stay as long as their pods.
func (w *world) lose(names ...string) {
	for _, n := range names {
		w.claims[n].Deleting, w.claims[n].Finalizers = true, []string{"kubernetes.io/pvc-protection"}
	}
}

// TestNoPodIsTakenAwayWithItsData: if claims were deleted by mistake, nothing is lost as long as the pods exist. The
// operator says so, and deletes none of them.
func TestNoPodIsTakenAwayWithItsData(t *testing.T) {
	for name, tc := range map[string]struct {
		replicas int
		begin    func(*world)
	}{
		"nothing else":           {3, func(*world) {}},
		"it is to hibernate":     {3, func(w *world) { w.store.Spec.Hibernated = true }},
		"one is to hibernate":    {1, func(w *world) { w.store.Spec.Hibernated = true }},
		"its record is gone too": {3, func(w *world) { w.store.Spec.Hibernated, w.record, w.version = true, "", 0 }},
		"one, another template":  {1, func(w *world) { w.hash = "v2" }},
		"one, to be restarted":   {1, func(w *world) { w.store.Annotations[v1alpha1.AnnotationRestart] = "monday" }},
		"one, which does not run": {1, func(w *world) {
			w.ailing("v1")()
			w.hash = "v2"
		}},
	} {
		t.Run(name, func(t *testing.T) {
			w := started(t, tc.replicas, min(1, int32(tc.replicas)-1))
			before := w.uids()
			w.lose("orders-1")
			if tc.replicas == 3 {
				w.lose("orders-2", "orders-3")
			}
			tc.begin(w)
			var each []func()
			if w.pods["orders-1"].Trouble != "" {
				each = append(each, w.ailing("v1"))
			}
			w.run(5*time.Minute, each...)
			for n, uid := range before {
				if p := w.pods[n]; p == nil || p.UID != uid {
					t.Errorf("%s lost its pod, and what it held; %v: %s", n, w.ops[0].plan.State, w.ops[0].plan.Message)
				}
			}
			if running := each == nil && w.record != ""; running {
				w.write()
			}
			c := w.condition(v1alpha1.ConditionDegraded)
			if c.Reason != v1alpha1.ReasonClaimDeleting || !strings.Contains(c.Message, "orders-1") {
				t.Errorf("Degraded is %s %s: %s", c.Status, c.Reason, c.Message)
			}
		})
	}
}

// TestClaimsDeletedWhileItGoesToSleep checks that the pods that still exist stay, and that the store wakes with everything
// it held.
func TestClaimsDeletedWhileItGoesToSleep(t *testing.T) {
	w := started(t, 3, 1)
	w.store.Spec.Hibernated = true
	op := w.ops[0]
	for range 100 {
		if op.observe(); len(w.pods) < 3 {
			break
		}
		op.decide()
		_ = op.act(-1)
		w.cluster.Settle()
	}
	if len(w.pods) != 2 || w.pods["orders-1"] == nil {
		t.Fatalf("it has begun to go to sleep: %s", w.podNames())
	}
	w.lose("orders-1")
	w.run(time.Minute)
	if w.pods["orders-1"] == nil || w.ops[0].plan.Reason != v1alpha1.ReasonClaimDeleting {
		t.Fatalf("%v: %s", w.ops[0].plan.State, w.ops[0].plan.Message)
	}
	w.store.Spec.Hibernated = false
	w.untilState(decide.Stable)
	w.write()
}

// TestDeletedClaimsAreReplaced checks that following the advice in Degraded resolves it with nothing lost.
func TestDeletedClaimsAreReplaced(t *testing.T) {
	well := func(w *world) func() bool {
		return func() bool { return w.ops[0].plan.State == decide.Stable && w.rec().Phase == decide.PhaseStable }
	}
	t.Run("one after another", func(t *testing.T) {
		w := started(t, 3, 1)
		w.lose("orders-1", "orders-2", "orders-3")
		for _, m := range []string{"orders-2", "orders-3"} {
			w.pods[m].Reseed = true
			w.until(m+" has a claim that stays", func() bool { return w.claims[m] != nil && !w.claims[m].Deleting && well(w)() })
		}
		w.store.Annotations[v1alpha1.AnnotationFailover] = "orders-2"
		w.until("another leads", func() bool { return w.rec().Leader.Member == "orders-2" && well(w)() })
		w.pods["orders-1"].Reseed = true
		w.until("nothing is missing", func() bool { return w.condition(v1alpha1.ConditionDegraded).Status == "False" && well(w)() })
		w.write()
	})
	t.Run("one member gets another", func(t *testing.T) {
		w := started(t, 1, 0)
		w.lose("orders-1")
		w.run(time.Second)
		w.store.Spec.Replicas = new(int32(2))
		w.until("two", func() bool { return len(w.pods) == 2 && well(w)() })
		w.store.Annotations[v1alpha1.AnnotationFailover] = "orders-2"
		w.until("another leads", func() bool { return w.rec().Leader.Member == "orders-2" && well(w)() })
		w.pods["orders-1"].Reseed = true
		w.until("nothing is missing", func() bool { return w.condition(v1alpha1.ConditionDegraded).Status == "False" && well(w)() })
		w.write()
	})
}
