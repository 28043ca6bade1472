package decide_test

import (
	"fmt"
	"testing"
	"time"
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
