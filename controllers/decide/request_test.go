package decide_test

import (
	"strings"
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
)

// ask annotates the store, and clears the previous answer.
func (w *world) ask(member string) {
	w.store.Status.FailoverRequest = nil
	w.store.Annotations[v1alpha1.AnnotationFailover] = member
}

func (w *world) untilAnswered() *v1alpha1.FailoverRequestStatus {
	w.t.Helper()
	w.until("an answer", func() bool { return w.store.Status.FailoverRequest != nil })
	return w.store.Status.FailoverRequest
}

// A request that names the same member as an earlier one is a request of its own.
func TestRequestOfAnEarlierChange(t *testing.T) {
	// led: orders-3 was asked for and then lost, so another member leads.
	led := func(t *testing.T) (w *world, leader string) {
		w = started(t, 5, 2)
		w.ask("orders-3")
		w.stepTo(decide.PhaseFencing)
		w.cluster.Vanish("orders-3")
		w.until("another leads", func() bool { return w.rec().Phase == decide.PhaseStable })
		w.untilState(decide.Stable, w.kubelet)
		if r := w.rec(); r.Request != "orders-3" || r.Leader.Member == "orders-3" {
			t.Fatalf("record %+v", r)
		}
		return w, w.rec().Leader.Member
	}
	t.Run("where its leader is cut off", func(t *testing.T) {
		w, leader := led(t)
		for _, m := range w.cluster.Names() {
			if m != leader {
				w.cluster.Cut(leader, m)
			}
		}
		w.run(4 * time.Second)
		for w.rec().Epoch == 2 { // a handover is refused until it is known that the leader is cut off
			w.ask("orders-3")
			if got := w.untilAnswered(); got.Result == v1alpha1.ResultFailed {
				t.Fatalf("%+v", got)
			}
		}
		w.until("orders-3 leads", func() bool { return w.rec().Leader.Member == "orders-3" && w.rec().Phase == decide.PhaseStable })
		if got := w.untilAnswered(); got.Result != v1alpha1.ResultSucceeded {
			t.Fatalf("%+v", got)
		}
	})
	t.Run("it was taken up when it came", func(t *testing.T) {
		w := started(t, 3, 1)
		w.ask("orders-3")
		w.untilState(decide.Stable)
		w.run(time.Minute)
		asked := w.cluster.Now()
		w.ask("orders-3")
		if got := w.untilAnswered(); got.Result != v1alpha1.ResultSucceeded || got.SeenTime.Time.Before(asked) {
			t.Fatalf("asked at %v: %+v", asked, got)
		}
	})
}

// A request that cannot be met is answered in mode Manual too.
func TestManualRequestThatCannotBeMet(t *testing.T) {
	t.Run("its pod is annotated", func(t *testing.T) {
		w := started(t, 5, 2, manual)
		w.pods["orders-3"].Fenced = true
		w.cluster.Vanish("orders-1")
		w.untilBlocked(v1alpha1.ReasonManualMode)
		w.ask("orders-3")
		if got := w.untilAnswered(); got.Result != v1alpha1.ResultRefused || !strings.Contains(got.Message, v1alpha1.AnnotationFenced) {
			t.Fatalf("%+v", got)
		}
		if r := w.rec(); r.Epoch != 1 {
			t.Fatalf("record %+v", r)
		}
	})
	t.Run("it is lost before the election", func(t *testing.T) {
		w := started(t, 5, 2, manual)
		w.cluster.Vanish("orders-1")
		w.untilBlocked(v1alpha1.ReasonManualMode)
		w.ask("orders-3")
		w.stepTo(decide.PhaseFencing)
		w.cluster.Vanish("orders-3")
		w.run(time.Second)
		if got := w.store.Status.FailoverRequest; got != nil {
			t.Fatalf("it had no time to come back: %+v", got)
		}
		if got := w.condition(v1alpha1.ConditionFailoverBlocked).Message; !strings.Contains(got, "orders-3 or orders-1 cannot") || strings.Count(got, "orders-3") > 1 {
			t.Fatal(got)
		}
		if got := w.untilAnswered(); got.Result != v1alpha1.ResultFailed || got.Message != "it does not answer" || got.Epoch != 2 {
			t.Fatalf("%+v", got)
		}
		w.run(10 * time.Second)
		if r := w.rec(); r.Phase == decide.PhaseStable {
			t.Fatalf("nobody else was asked for: %+v", r)
		}
		w.cluster.Start("orders-3", "orders-3")
		w.until("orders-3 leads", func() bool { return w.rec().Phase == decide.PhaseStable && w.rec().Leader.Member == "orders-3" })
	})
	t.Run("and comes back in time", func(t *testing.T) {
		w := started(t, 5, 2, manual)
		w.cluster.Vanish("orders-1")
		w.untilBlocked(v1alpha1.ReasonManualMode)
		w.ask("orders-3")
		w.stepTo(decide.PhaseFencing)
		w.cluster.Vanish("orders-3")
		w.run(time.Second)
		w.cluster.Start("orders-3", "orders-3")
		w.until("orders-3 leads", func() bool { return w.rec().Phase == decide.PhaseStable && w.rec().Leader.Member == "orders-3" })
		if got := w.untilAnswered(); got.Result != v1alpha1.ResultSucceeded {
			t.Fatalf("%+v", got)
		}
	})
}
