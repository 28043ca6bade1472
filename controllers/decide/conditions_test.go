package decide_test

import (
	"strings"
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
)

// TestAPausedStoreWithoutALeaderIsBlocked checks that status names the annotation as what holds the failover back, but not
// while the leader leads or the store hibernates.
func TestAPausedStoreWithoutALeaderIsBlocked(t *testing.T) {
	for name, tc := range map[string]struct {
		before, after func(*world)
		blocked       bool
	}{
		"the leader leads":     {func(*world) {}, func(*world) {}, false},
		"the leader is lost":   {func(*world) {}, func(w *world) { w.cluster.Vanish("orders-1") }, true},
		"the leader restarted": {func(*world) {}, func(w *world) { w.cluster.Vanish("orders-1"); w.kubelet() }, true},
		"its pod is gone":      {func(*world) {}, func(w *world) { w.remove("orders-1", "") }, true},
		"a follower is lost":   {func(*world) {}, func(w *world) { w.cluster.Vanish("orders-2") }, false},
		"there never was one":  {lose, func(*world) {}, false},
		"nobody can be elected": {func(w *world) {
			w.cluster.Vanish("orders-1")
			w.cluster.Vanish("orders-2")
			w.untilState(decide.Blocked)
		}, func(*world) {}, true},
		"the store sleeps": {func(w *world) { w.store.Spec.Hibernated = true; w.untilState(decide.Hibernated) }, func(*world) {}, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := started(t, 3, 1)
			tc.before(w)
			w.store.Annotations[v1alpha1.AnnotationReconcile] = v1alpha1.ReconcileDisabled
			w.run(time.Second)
			tc.after(w)
			w.run(5 * time.Second)
			c := w.condition(v1alpha1.ConditionFailoverBlocked)
			if told := c.Status == "True" && c.Reason == v1alpha1.ReasonReconcileDisabled && strings.Contains(c.Message, "remove the annotation"); told != tc.blocked || (w.ops[0].plan.State != decide.Paused) != (name == "the store sleeps") {
				t.Errorf("%v: FailoverBlocked is %s %s: %s", w.ops[0].plan.State, c.Status, c.Reason, c.Message)
			}
		})
	}
}

// TestHandoversThatFailAreTold: a leader on a cordoned node stays if its handovers fail, and status says why.
func TestHandoversThatFailAreTold(t *testing.T) {
	w := started(t, 3, 1)
	w.ops[0].refuse = true
	w.pods["orders-1"].Cordoned = true
	w.run(30 * time.Second)
	if c := w.condition(v1alpha1.ConditionProgressing); c.Status != "True" || c.Reason != v1alpha1.ReasonHandoverFailed || !strings.Contains(c.Message, "handovers failed in a row") {
		t.Errorf("Progressing is %s %s: %s", c.Status, c.Reason, c.Message)
	}
}

// TestANewStoreIsCreatingUntilItBegins: the alert "no writes" (docs/metrics.md) ignores a store that is Creating and has no
// report. From its first leader on a store has a report, even if its record is lost and nobody answers.
func TestANewStoreIsCreatingUntilItBegins(t *testing.T) {
	left := func(w *world) bool {
		return w.ops[0].plan.State == decide.Creating && w.store.Status.LastFailover == nil
	}
	w := newWorld(t, 3, 1)
	for range 45 { // its last member takes that long to answer: its image is pulled, its volume is created
		w.run(time.Second, func() { w.cluster.Vanish("orders-3") })
		if !left(w) {
			t.Fatalf("a new store is %v, Available %s", w.ops[0].plan.State, w.condition(v1alpha1.ConditionAvailable).Reason)
		}
	}
	w.run(10*time.Second, w.kubelet)
	if r := w.store.Status.LastFailover; left(w) || w.condition(v1alpha1.ConditionAvailable).Status != "True" || r == nil || r.DetectedTime == nil {
		t.Fatalf("it is %v, with the report %+v", w.ops[0].plan.State, r)
	}
	w.record = ""
	for range 30 {
		w.run(time.Second, func() {
			for name := range w.pods {
				w.cluster.Vanish(name)
			}
		})
		if left(w) || w.condition(v1alpha1.ConditionAvailable).Status == "True" {
			t.Fatalf("a store that lost its record is %v, Available %s", w.ops[0].plan.State, w.condition(v1alpha1.ConditionAvailable).Reason)
		}
	}
}
