package decide_test

import (
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/replication"
)

// A person lets orders-3 lead without what orders-1 and orders-2 acknowledged, and then forbids loss again. orders-1 comes
// back. What it applied must be cut, so its state is replaced by a snapshot that ends where the state machine of orders-3
// is: orders-3 has restarted, and applies nothing before its barrier is committed. Then orders-3 is away for a moment.
// orders-1 is no longer the leader of epoch 1 whose word would prove that nothing else was acknowledged; nor is it a leader
// that holds nothing.
func TestASeededMemberIsNotTakenForWhoLed(t *testing.T) {
	t.Run("flushed", func(t *testing.T) { seededIsNotTaken(t, 5) })
	t.Run("empty", func(t *testing.T) { seededIsNotTaken(t, 0) })
}

func seededIsNotTaken(t *testing.T, flushed replication.Position) {
	w := started(t, 3, 1)
	for range 20 {
		w.write() // on all three
	}
	w.cluster.Cut("orders-1", "orders-3")
	for range 3 {
		w.cluster.Write("orders-1")
		w.cluster.Sync("orders-1")
		w.cluster.Ship("orders-2")
		w.cluster.Ship("orders-2")
	}
	w.cluster.Vanish("orders-1")
	w.cluster.Vanish("orders-2")
	w.cluster.Heal("orders-1", "orders-3")
	w.cluster.Rewind("orders-3", flushed)
	w.run(20 * time.Second)
	if c := w.condition(v1alpha1.ConditionFailoverBlocked); c.Reason != v1alpha1.ReasonFenceQuorumMissing || w.rec().Epoch != 1 {
		t.Fatalf("nobody is asked first: %+v, %+v", c, w.rec())
	}
	w.lossy = true
	allow(&w.store.Spec)
	w.until("orders-3 is to lead", func() bool { return w.rec().Leader.Member == "orders-3" })
	w.store.Spec.Failover.DataLoss = v1alpha1.DataLossForbid
	w.run(2 * time.Second)
	held := w.cluster.Last("orders-3")
	w.cluster.Start("orders-1", "orders-1")
	w.until("orders-1 is seeded", func() bool { w.cluster.Ship("orders-1"); return w.cluster.Last("orders-1").Position < held.Position })
	w.cluster.Vanish("orders-3")
	w.run(30 * time.Second)
	if r := w.rec(); r.Leader.Member == "orders-1" {
		t.Fatalf("with dataLoss Forbid, orders-1 was elected on %v; orders-3, away for a moment, holds %v, and orders-2 more", r.Start, held)
	}
	w.cluster.Start("orders-3", "orders-3")
	w.run(10 * time.Second)
	if got := w.cluster.Last("orders-3"); got.Position < held.Position {
		t.Errorf("orders-3 held %v, and holds %v", held, got)
	}
}
