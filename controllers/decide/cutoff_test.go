package decide_test

import (
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
)

// A leader that answers the operator and reaches none of its voters is replaced by one of them, although it holds the longest log:
// nobody was told that the end of it is written. If its successor is cut off as well, that helps nobody, and is not tried again soon.
func TestLeaderThatOnlyTheOperatorReaches(t *testing.T) {
	w := started(t, 3, 1)
	w.cluster.Cut("orders-1", "orders-2")
	w.cluster.Cut("orders-1", "orders-3")
	for range 5 {
		w.cluster.Write("orders-1")
		w.cluster.Sync("orders-1")
	}
	w.until("another epoch", func() bool { return w.rec().Epoch == 2 && w.rec().Phase == decide.PhaseStable })
	r := w.rec()
	if r.Leader.Member == "orders-1" || r.Reason != "LeaderCutOff" || r.WritesLost != v1alpha1.LostNone {
		t.Fatalf("%s leads, %s, lost %s", r.Leader.Member, r.Reason, r.WritesLost)
	}
	w.write()
	w.cluster.Cut("orders-2", "orders-3")
	w.run(time.Minute)
	if r := w.rec(); r.Epoch != 2 {
		t.Fatalf("epoch %d: nobody reaches anybody, and leadership goes round", r.Epoch)
	}
	w.cluster.HealAll()
	w.untilState(decide.Stable)
	w.write()
}

// With one voter gone and the other one cut off from the leader, nobody could do better.
func TestLeaderWithoutVotersStaysWhereNobodyCouldDoBetter(t *testing.T) {
	w := started(t, 3, 1)
	w.cluster.Vanish("orders-3")
	w.cluster.Cut("orders-1", "orders-2")
	w.run(time.Minute)
	if r := w.rec(); r.Epoch != 1 {
		t.Fatalf("epoch %d led by %s", r.Epoch, r.Leader.Member)
	}
}
