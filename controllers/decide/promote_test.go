package decide_test

import (
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
)

// TestElectedMemberWhoseDiskHangsIsGivenUp: the member took the order to lead and answers, but its barrier never reaches its
// disk.
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

// TestRequestThatAnotherMemberAnsweredDidNotSucceed: orders-3 is asked for, holds everything, and dies before the election.
func TestRequestThatAnotherMemberAnsweredDidNotSucceed(t *testing.T) {
	w := started(t, 3, 1)
	w.store.Annotations[v1alpha1.AnnotationFailover] = "orders-3"
	op := w.ops[0]
	for range 12 {
		op.observe()
		op.decide()
		if err := op.act(-1); err != nil {
			t.Fatal(err)
		}
		if w.rec().Phase == decide.PhaseFencing {
			break
		}
	}
	if w.rec().Request != "orders-3" {
		t.Fatalf("record %+v", w.rec())
	}
	w.cluster.Vanish("orders-3")
	w.until("another leader", func() bool { return w.rec().Epoch > 1 && w.rec().Phase == decide.PhaseStable })
	if got := w.store.Status.FailoverRequest; got == nil || got.Result != v1alpha1.ResultFailed {
		t.Fatalf("%s leads; orders-3 was asked for: %+v", w.rec().Leader.Member, got)
	}
}
