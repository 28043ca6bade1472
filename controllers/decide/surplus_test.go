package decide_test

import (
	"strings"
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
)

// TestASurplusMemberIsMadeAgainWithoutALeader: two of three machines are lost, somebody lowers spec.replicas, and then the
// pod of a voter whose volume is intact could be made elsewhere. The fence condition needs that voter, and it alone holds
// the newest acknowledged write.
func TestASurplusMemberIsMadeAgainWithoutALeader(t *testing.T) {
	w := started(t, 3, 1)
	w.cluster.Cut("orders-1", "orders-3")
	w.run(3 * time.Second)
	w.write()
	w.cluster.Vanish("orders-1")
	w.pods["orders-1"].Deleting, w.pods["orders-1"].Ready = true, false // its machine is gone, and the pod object stays
	w.cluster.Vanish("orders-2")
	w.pods["orders-2"].Ready = false
	w.cluster.HealAll()
	w.run(30 * time.Second)
	w.store.Spec.Replicas = new(int32(2))
	w.run(time.Second)
	delete(w.pods, "orders-2")
	w.until("orders-2 leads", func() bool { return w.cluster.Writable() == "orders-2" })
	w.write()
}

// TestASurplusMemberIsMadeAgainForAPerson: in mode Manual, the member that a person asks for waits for the promise of a
// surplus voter whose node was drained.
func TestASurplusMemberIsMadeAgainForAPerson(t *testing.T) {
	w := started(t, 3, 1, manual)
	w.cluster.Vanish("orders-1")
	w.pods["orders-1"].Ready = false
	w.run(30 * time.Second)
	w.store.Spec.Replicas = new(int32(2))
	w.run(time.Second)
	w.remove("orders-2", "")
	w.run(time.Minute)
	w.store.Annotations[v1alpha1.AnnotationFailover] = "orders-3"
	w.until("orders-3 leads", func() bool { return w.cluster.Writable() == "orders-3" })
}

// TestASurplusMemberIsCuredWithoutALeader: the pod of such a voter does not run because of its template, which was mended.
func TestASurplusMemberIsCuredWithoutALeader(t *testing.T) {
	w := started(t, 3, 1)
	w.cluster.Vanish("orders-1")
	w.pods["orders-1"].Ready = false
	w.cluster.Vanish("orders-2")
	w.pods["orders-2"].Ready, w.pods["orders-2"].Trouble = false, "ImagePullBackOff"
	w.run(30 * time.Second)
	w.store.Spec.Replicas = new(int32(2))
	w.hash = "v2"
	w.until("somebody leads", func() bool { return w.cluster.Writable() != "" })
}

// TestASurplusMemberIsMadeAgainForWrites: they need it as long as another voter is away.
func TestASurplusMemberIsMadeAgainForWrites(t *testing.T) {
	w := started(t, 4, 2)
	w.cluster.Vanish("orders-3")
	w.pods["orders-3"].Ready = false
	w.run(5 * time.Second)
	w.store.Spec.Replicas = new(int32(3))
	w.run(time.Second)
	w.remove("orders-4", "")
	w.run(5 * time.Second)
	w.until("writes go on", func() bool { return w.acknowledged(time.Second) > 0 })
}

// TestASurplusMemberIsNotMadeAgainForNothing checks that status says why it has no pod, for as long as it counts.
func TestASurplusMemberIsNotMadeAgainForNothing(t *testing.T) {
	w := started(t, 3, 1)
	w.store.Spec.Replicas = new(int32(2))
	w.remove("orders-3", "")
	w.ops[0].observe()
	w.ops[0].decide()
	for _, a := range w.ops[0].plan.Actions {
		if _, ok := a.(decide.CreateMember); ok {
			t.Fatal(a)
		}
	}
	w.ops[0].publish()
	if c := w.condition(v1alpha1.ConditionDegraded); !strings.Contains(c.Message, "orders-3 has no pod: it is to be removed, because spec.replicas is 2") {
		t.Fatalf("%s: %s", c.Reason, c.Message)
	}
	w.until("it is gone", func() bool { return w.podNames() == "orders-1 orders-2" && w.ops[0].plan.State == decide.Stable })
}
