package decide_test

import (
	"strings"
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
)

// TestFewerMembersBeforeTheFirstLeader: a new store has too few machines for the members asked for, so fewer are asked for.
// Members that never had a volume are removed. What the others hold is unknown, and a person is told what to do about those.
func TestFewerMembersBeforeTheFirstLeader(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*world)
		pods   string
		state  decide.State
		says   string
	}{
		"their volumes were never there": {func(*world) {}, "orders-1 orders-2 orders-3", decide.Stable, ""},
		"one has a volume": {func(w *world) { w.claims["orders-4"].Blank = false }, "orders-1 orders-2 orders-3 orders-4", decide.Creating,
			"Waiting for orders-4 to answer. More than the 3 members asked for exist, and what these hold is unknown. " +
				"If the others are enough, delete the claims, then the pods, of orders-4."},
		"one has a machine":            {func(w *world) { w.pods["orders-5"].Node = "n1" }, "orders-1 orders-2 orders-3 orders-5", decide.Creating, "the pods, of orders-5."},
		"as many as are there":         {func(w *world) { w.store.Spec.Replicas = new(int32(5)) }, "orders-1 orders-2 orders-3 orders-4 orders-5", decide.Creating, "Waiting for orders-4, orders-5 to answer."},
		"it had a leader at some time": {func(w *world) { w.store.Status.LastFailover = &v1alpha1.FailoverReport{} }, "orders-1 orders-2 orders-3 orders-4 orders-5", decide.Creating, "the pods, of orders-4, orders-5."},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 5, 1)
			pending := func() {
				for _, n := range []string{"orders-4", "orders-5"} {
					if p := w.pods[n]; p != nil && p.IP != "" {
						w.cluster.Vanish(n)
						p.IP, p.Trouble, p.Ready, w.claims[n].Blank = "", "Unschedulable: no machine", false, true
					}
				}
			}
			for w.pods["orders-5"] == nil {
				w.ops[0].reconcile()
			}
			w.run(10*time.Second, pending)
			w.store.Spec.Replicas = new(int32(3))
			tc.change(w)
			w.run(10*time.Second, pending)
			p := w.ops[0].plan
			if got := w.podNames(); got != tc.pods || p.State != tc.state || !strings.HasSuffix(p.Message, tc.says) || tc.state == decide.Stable && len(w.claims) != 3 {
				t.Errorf("pods %s; %v: %s", got, p.State, p.Message)
			}
		})
	}
}
