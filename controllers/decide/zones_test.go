package decide_test

import (
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
)

func inZones(w *world, zones ...string) {
	for i, z := range zones {
		w.pods[v1alpha1.MemberName("orders", i+1)].Zone = z
	}
}

func (w *world) leads(member string) bool {
	r := w.rec()
	return r.Leader.Member == member && r.Phase == decide.PhaseStable
}

// TestPreferredZones checks that preferred zones break ties, and move leadership only if that was asked for.
func TestPreferredZones(t *testing.T) {
	prefer := func(s *v1alpha1.ReplicatedStoreSpec) { s.Failover.PreferredZones = []string{"c", "a"} }
	home := func(s *v1alpha1.ReplicatedStoreSpec) { prefer(s); s.Failover.ReturnToPreferredZone = true }
	t.Run("a failover goes to the better zone", func(t *testing.T) {
		w := started(t, 3, 1, prefer)
		inZones(w, "a", "b", "c")
		w.cluster.Vanish("orders-1")
		w.until("the member in c leads", func() bool { return w.leads("orders-3") })
	})
	t.Run("nothing moves by itself", func(t *testing.T) {
		w := started(t, 3, 1, prefer)
		inZones(w, "a", "b", "c")
		w.run(3 * time.Minute)
		if !w.leads("orders-1") {
			t.Fatalf("%+v", w.rec())
		}
	})
	t.Run("unless it is asked for, once all is well for a while", func(t *testing.T) {
		w := started(t, 3, 1, home)
		inZones(w, "a", "b", "c")
		w.run(40 * time.Second)
		if !w.leads("orders-1") {
			t.Fatalf("at once: %+v", w.rec())
		}
		w.until("home", func() bool { return w.leads("orders-3") })
		if r := w.rec(); r.Kind != v1alpha1.KindHandover || r.Reason != "PreferredZone" {
			t.Fatalf("%+v", r)
		}
		w.run(3 * time.Minute)
		if r := w.rec(); r.Epoch != 2 {
			t.Fatalf("it moves on: %+v", r)
		}
	})
	t.Run("data outweighs it", func(t *testing.T) {
		w := started(t, 3, 1, prefer)
		inZones(w, "a", "b", "c")
		w.cluster.Cut("orders-1", "orders-3")
		w.write()
		w.cluster.Vanish("orders-1")
		w.until("the one that holds everything leads", func() bool { return w.leads("orders-2") })
	})
}

// TestCordon checks that leadership leaves a node that is about to be drained, if there is a better place.
func TestCordon(t *testing.T) {
	t.Run("of the leader", func(t *testing.T) {
		w := started(t, 3, 1)
		w.pods["orders-1"].Cordoned, w.pods["orders-2"].Cordoned = true, true
		w.until("the one that stays leads", func() bool { return w.leads("orders-3") })
		if r := w.rec(); r.Kind != v1alpha1.KindHandover || r.Reason != "LeaderNodeCordoned" {
			t.Fatalf("%+v", r)
		}
	})
	t.Run("of every node", func(t *testing.T) {
		w := started(t, 3, 1)
		for _, p := range w.pods {
			p.Cordoned = true
		}
		w.run(time.Minute)
		if !w.leads("orders-1") || w.ops[0].plan.State != decide.Stable {
			t.Fatalf("%v: %+v", w.ops[0].plan.State, w.rec())
		}
	})
	t.Run("of a store of one member", func(t *testing.T) {
		w := started(t, 1, 0)
		w.pods["orders-1"].Cordoned = true
		w.run(10 * time.Second)
		if w.ops[0].plan.State != decide.Stable {
			t.Fatalf("%v: %s", w.ops[0].plan.State, w.ops[0].plan.Message)
		}
	})
}
