package decide_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
)

// A follower that is to stay is away when fewer replicas are asked for. The follower that is there is not removed in the
// meantime. If the other one comes back, the surplus one is removed; if not, the one that is away is.
func TestScaleDownKeepsTheFollowerThatIsThere(t *testing.T) {
	for _, k := range []int32{0, 1} {
		for _, back := range []bool{true, false} {
			t.Run(fmt.Sprintf("k=%d, it comes back: %t", k, back), func(t *testing.T) {
				w := started(t, 3, k)
				w.run(2 * time.Second)
				w.cluster.Vanish("orders-2")
				w.run(3 * time.Second)
				w.store.Spec.Replicas = new(int32(2))
				w.store.Generation++
				want := "orders-1 orders-3"
				if w.run(3 * time.Second); w.podNames() != "orders-1 orders-2 orders-3" {
					t.Fatalf("left at once: %s", w.podNames())
				}
				if back {
					want = "orders-1 orders-2"
					w.cluster.Start("orders-2", "orders-2")
				}
				w.until("fewer", func() bool { return len(w.pods) == 2 })
				if w.podNames() != want {
					t.Errorf("left: %s, want %s", w.podNames(), want)
				}
			})
		}
	}
}

// TestAnUpdateReachesWhoAScaleDownWaitsFor: the member that is to stay does not keep up because of its template. The edit
// that mends the template, or the restart that makes it count, comes together with fewer replicas.
func TestAnUpdateReachesWhoAScaleDownWaitsFor(t *testing.T) {
	for name, mend := range map[string]func(*world){
		"another template": func(w *world) { w.hash = "v2" },
		"a restart":        func(w *world) { w.store.Annotations[v1alpha1.AnnotationRestart] = "now" },
	} {
		t.Run(name, func(t *testing.T) {
			w := started(t, 4, 1)
			stall := func() {
				w.cluster.Hung = map[string]string{}
				if p := w.pods["orders-2"]; p != nil && p.SpecHash == "v1" && p.Restarted == "" {
					w.cluster.Hung["orders-2"] = ""
				}
			}
			w.run(10*time.Second, stall, w.writing)
			before := w.uids()
			mend(w)
			w.store.Spec.Replicas = new(int32(3))
			w.store.Generation++
			w.run(30*time.Second, stall, w.writing)
			if w.podNames() != "orders-1 orders-2 orders-3 orders-4" || w.pods["orders-2"].UID != before["orders-2"] {
				t.Fatalf("at once: %v: %s; pods %s", w.ops[0].plan.State, w.ops[0].plan.Message, w.podNames())
			}
			w.run(40*time.Second, stall, w.writing)
			w.until("everybody who stays has been restarted", func() bool {
				for name, p := range w.pods {
					if p.UID == before[name] {
						return false
					}
				}
				return len(w.pods) == 3 && w.ops[0].plan.State == decide.Stable
			}, stall, w.writing)
		})
	}
}
