package decide_test

import (
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/controllers/decide"
)

// TestElectedMemberWhoseDiskHangsIsGivenUp: it took the order to lead and answers, and its barrier never reaches its disk.
func TestElectedMemberWhoseDiskHangsIsGivenUp(t *testing.T) {
	w := started(t, 3, 1)
	w.cluster.Vanish("orders-1")
	for range 200 { // without Settle nothing is synced
		w.ops[0].reconcile()
		if w.rec().Epoch > 2 {
			break
		}
		w.cluster.Advance(100 * time.Millisecond)
	}
	if r := w.rec(); r.Epoch < 3 {
		t.Fatalf("still waiting for %s: %+v\n%s", r.Leader.Member, r, w.tail())
	}
	w.until("another leader", func() bool { return w.rec().Phase == decide.PhaseStable })
}
