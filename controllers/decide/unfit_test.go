package decide_test

import (
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
)

// strand keeps members from the API server.
func (w *world) strand(members ...string) {
	w.stranded = map[string]bool{}
	for _, m := range members {
		w.stranded[m] = true
	}
}

// With k = 0 a leader that alone does not reach the API server acknowledges nothing. Another one leads, once it holds the same; when all
// have been tried, leadership does not go round, and the way out is told.
func TestAsynchronousLeaderThatCannotRenew(t *testing.T) {
	t.Run("another one leads", func(t *testing.T) {
		w := started(t, 3, 0)
		w.cluster.Write("orders-1")
		w.cluster.Sync("orders-1")
		w.strand("orders-1")
		w.ledByAnother("orders-1")
		if r := w.rec(); r.Reason != "LeaseExpired" || r.Epoch != 3 {
			t.Fatalf("%s, epoch %d", r.Reason, r.Epoch)
		}
	})
	t.Run("two of them", func(t *testing.T) {
		w := started(t, 3, 0)
		w.strand("orders-1", "orders-2")
		w.ledByAnother("orders-1")
		if r := w.rec(); r.Leader.Member != "orders-3" || r.Epoch != 4 {
			t.Fatalf("%s, epoch %d", r.Leader.Member, r.Epoch)
		}
	})
	t.Run("nobody else holds as much", func(t *testing.T) {
		w := started(t, 3, 0)
		w.strand("orders-1")
		w.cluster.Cut("orders-1", "orders-2")
		w.cluster.Cut("orders-1", "orders-3")
		w.until("it is told", func() bool {
			return w.condition(v1alpha1.ConditionFailoverBlocked).Reason == v1alpha1.ReasonLeaderUnfit
		})
		w.run(time.Minute)
		if r := w.rec(); r.Epoch != 2 {
			t.Fatalf("epoch %d: leadership goes round", r.Epoch)
		}
		w.cluster.HealAll()
		w.ledByAnother("orders-1")
	})
	t.Run("all of them, until one reaches it again", func(t *testing.T) {
		w := started(t, 3, 0)
		w.strand("orders-1", "orders-2", "orders-3")
		w.until("it is told", func() bool {
			return w.condition(v1alpha1.ConditionFailoverBlocked).Reason == v1alpha1.ReasonLeaderUnfit
		})
		w.run(time.Minute)
		if r := w.rec(); r.Epoch != 4 {
			t.Fatalf("epoch %d: leadership goes round", r.Epoch)
		}
		w.stranded = map[string]bool{"orders-2": true, "orders-3": true}
		w.run(time.Minute)
		w.store.Annotations[v1alpha1.AnnotationFailover] = "orders-1" // orders-3 was tried last
		w.until("orders-1 leads", func() bool { return w.rec().Phase == decide.PhaseStable && w.rec().Leader.Member == "orders-1" })
		w.untilState(decide.Stable)
		if got := w.store.Status.FailoverRequest; got == nil || got.Result != v1alpha1.ResultSucceeded {
			t.Fatalf("%+v", got)
		}
	})
	t.Run("in mode Manual a person says so", func(t *testing.T) {
		w := started(t, 3, 0, manual)
		w.strand("orders-1")
		w.until("it is told", func() bool {
			return w.condition(v1alpha1.ConditionFailoverBlocked).Reason == v1alpha1.ReasonLeaderUnfit
		})
		w.run(time.Minute)
		if r := w.rec(); r.Epoch != 2 || r.Leader.Member != "orders-1" {
			t.Fatalf("%s, epoch %d", r.Leader.Member, r.Epoch)
		}
		w.store.Annotations[v1alpha1.AnnotationFailover] = "orders-3"
		w.ledByAnother("orders-1")
		if r := w.rec(); r.Leader.Member != "orders-3" {
			t.Fatal(r.Leader.Member)
		}
	})
}

// A member whose volume has no room for the barrier is not elected again and again: another one leads that holds as much, or it is asked
// until there is room.
func TestElectedMemberHasNoRoom(t *testing.T) {
	t.Run("another one leads", func(t *testing.T) {
		w := started(t, 3, 1)
		w.cluster.Fill("orders-2", true)
		w.cluster.Vanish("orders-1")
		w.ledByAnother("orders-1")
		if r := w.rec(); r.Leader.Member != "orders-3" || r.Reason != "PromotionRefused" || r.Epoch != 3 {
			t.Fatalf("%s, %s, epoch %d", r.Leader.Member, r.Reason, r.Epoch)
		}
	})
	t.Run("nobody else holds as much", func(t *testing.T) {
		w := started(t, 3, 1)
		w.cluster.Write("orders-1")
		w.cluster.Sync("orders-1")
		w.cluster.Ship("orders-2")
		w.cluster.Fill("orders-2", true)
		w.cluster.Vanish("orders-1")
		w.until("it is told", func() bool {
			return w.condition(v1alpha1.ConditionFailoverBlocked).Reason == v1alpha1.ReasonLeaderUnfit
		})
		w.run(time.Minute)
		if r := w.rec(); r.Epoch != 2 || r.Leader.Member != "orders-2" {
			t.Fatalf("%s, epoch %d", r.Leader.Member, r.Epoch)
		}
		w.cluster.Fill("orders-2", false)
		w.ledByAnother("orders-1")
		if r := w.rec(); r.Epoch != 2 || r.Leader.Member != "orders-2" {
			t.Fatalf("%s, epoch %d", r.Leader.Member, r.Epoch)
		}
	})
}
