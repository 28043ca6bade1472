package decide_test

import (
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
)

// The leader of an asynchronous store has handed over, because its machine is going away; the new leader was elected with
// everything it held. The new leader's process restarts before its barrier is known to be committed. It still holds
// everything that was acknowledged, so the store goes on and nothing is lost.
func TestANewLeaderThatRestartsGivesNothingUp(t *testing.T) {
	for name, change := range map[string]func(*v1alpha1.ReplicatedStoreSpec){"loss is forbidden": func(*v1alpha1.ReplicatedStoreSpec) {}, "loss is allowed": allow} {
		t.Run(name, func(t *testing.T) {
			w := started(t, 3, 0, change)
			w.run(2 * time.Second)
			w.stranded = map[string]bool{"orders-2": true} // its first renewal takes a moment
			w.store.Annotations[v1alpha1.AnnotationFailover] = "orders-2"
			w.until("orders-2 is told to lead", func() bool {
				return w.rec().Epoch == 2 && w.rec().Phase == decide.PhasePromoting && w.cluster.Last("orders-2").Epoch == 2
			})
			delete(w.store.Annotations, v1alpha1.AnnotationFailover)
			w.cluster.Vanish("orders-1")
			w.restart("orders-2")
			w.until("it leads again, or who holds as much", func() bool { return w.rec().Epoch == 3 && w.rec().Phase == decide.PhaseStable })
			if r := w.rec(); r.WritesLost != v1alpha1.LostNone || r.Lost != nil {
				t.Errorf("writes lost: %s, %+v", r.WritesLost, r.Lost)
			}
			w.write()
		})
	}
}

// The new leader's own election gave up writes. The next epoch must still report that, but needs no new consent, because
// nothing more is lost.
func TestANewLeaderThatRestartsStillTellsOfTheLoss(t *testing.T) {
	w := started(t, 3, 0, allow)
	w.run(2 * time.Second)
	w.stranded = map[string]bool{"orders-2": true, "orders-3": true}
	w.cluster.Write("orders-1")
	w.cluster.Sync("orders-1") // nothing is shipped
	w.cluster.Vanish("orders-1")
	w.until("another one is told to lead", func() bool {
		r := w.rec()
		return r.Phase == decide.PhasePromoting && w.cluster.Last(r.Leader.Member).Epoch == r.Epoch
	})
	before := w.rec()
	if before.Lost == nil || before.WritesLost != v1alpha1.LostUnknown {
		t.Fatalf("the premise: %s, %+v", before.WritesLost, before.Lost)
	}
	w.store.Spec.Failover.DataLoss = v1alpha1.DataLossForbid
	w.restart(before.Leader.Member)
	w.until("it, or one that holds as much, leads again", func() bool { return w.rec().Epoch > before.Epoch && w.rec().Phase == decide.PhaseStable })
	if r := w.rec(); r.WritesLost != v1alpha1.LostUnknown || r.Lost == nil || r.Lost.Epoch != before.Lost.Epoch {
		t.Errorf("writes lost: %s, %+v; before: %+v", r.WritesLost, r.Lost, before.Lost)
	}
}

// restart ends a member's process and starts another one. Members that could not renew the Lease can again.
func (w *world) restart(member string) {
	w.cluster.Crash(member)
	w.cluster.Start(member, member)
	w.stranded = nil
}
