package decide_test

import (
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/controllers/decide"
)

// TestTheRecordOfALeaderThatDiesEachTimeStaysSmall: the record carries what binds, and its Lease has room for a few hundred
// leaderships. Nothing acknowledged before is lost once a leader survives.
func TestTheRecordOfALeaderThatDiesEachTimeStaysSmall(t *testing.T) {
	w := started(t, 3, 1)
	o := w.ops[0]
	w.cluster.Crash("orders-1")
	w.kubelet()
	crashes, most := 0, 0
	for range 4000 {
		w.cluster.Advance(50 * time.Millisecond)
		o.reconcileWith(func() {
			if r := w.rec(); r.Phase == decide.PhasePromoting && w.cluster.Running(r.Leader.Member) {
				if s, err := o.node.Status(t.Context(), addr(r.Leader.Member)); err == nil && s.Epoch == r.Epoch {
					w.cluster.Crash(r.Leader.Member) // as soon as it leads
					w.kubelet()
					crashes++
				}
			}
		})
		if most = max(most, len(w.rec().Binding)); crashes >= 60 {
			break
		}
	}
	if crashes < 60 || most > 8 {
		t.Fatalf("after %d leaders that died %d leaderships bind", crashes, most)
	}
	w.untilState(decide.Stable)
	w.check()
	if leader := w.rec().Leader.Member; w.rec().Phase != decide.PhaseStable || len(w.cluster.Missing(leader)) > 0 {
		t.Fatalf("%s leads: %+v", leader, w.rec())
	}
}
