package decide_test

import (
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/controllers/decide"
)

// TestNoMembersAreMadeWithoutALeader, step by step, in a store that has slept once: its record says so until the next change of leader.
func TestNoMembersAreMadeWithoutALeaderOnceItHasSlept(t *testing.T) {
	w := started(t, 2, 1)
	w.store.Spec.Hibernated = true
	w.untilState(decide.Hibernated)
	w.store.Spec.Hibernated = false
	w.untilState(decide.Stable, w.kubelet)
	old, epoch := w.record, w.rec().Epoch
	w.cluster.Crash("orders-1")
	w.until("another epoch", func() bool { return w.rec().Epoch > epoch && w.rec().Phase == decide.PhaseStable }, w.kubelet)
	w.untilState(decide.Stable)
	epoch = w.rec().Epoch
	w.cluster.Cut("orders-1", operatorA)
	w.cluster.Cut("orders-2", operatorA)
	w.record, w.version = old, w.version+1
	w.store.Spec.Replicas = new(int32(4))
	w.run(10 * time.Second)
	if len(w.pods) != 2 {
		t.Errorf("%d pods, and no leader", len(w.pods))
	}
	w.cluster.Crash(w.cluster.Writable())
	w.cluster.HealAll()
	w.until("a leader", func() bool { return w.rec().Epoch > epoch && w.rec().Phase == decide.PhaseStable }, w.kubelet)
}
