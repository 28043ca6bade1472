package decide_test

import (
	"strings"
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
)

// electWithout lets a store go on from a lost record without orders-1. orders-3 lacks most of what is acknowledged;
// orders-2 has it all and answers, but not the fences for which misses says so.
func electWithout(t *testing.T, misses func(fence int) bool, each func(*world)) *world {
	t.Helper()
	w := started(t, 3, 1, allow)
	w.behind()
	w.cluster.Vanish("orders-1")
	lose(w)
	w.cluster.HealAll()
	w.lossy = true
	op, fence := w.ops[0], 0
	for n := 0; w.record == "" || w.rec().Phase == decide.PhaseFencing; n++ {
		if n == 2000 {
			t.Fatalf("nobody is elected: %v: %s", op.plan.State, op.plan.Message)
		}
		w.cluster.Advance(500 * time.Millisecond)
		w.cluster.Settle()
		op.pass = decide.Pass{}
		for range 12 {
			op.observe()
			op.seen.Lease.UnchangedFor = time.Hour // neither a missing record nor Fencing restarts it
			op.decide()
			op.mute = ""
			for _, a := range op.plan.Actions {
				if _, ok := a.(decide.FenceMembers); ok {
					if misses(fence) {
						op.mute = "orders-2"
					}
					fence++
				}
			}
			if op.act(-1) != nil || !op.plan.Risky() {
				break
			}
		}
		op.publish()
		each(w)
	}
	return w
}

// TestALostRecordWaitsForWhoMissedAFence: a slow disk made the answer to one fence come too late. What the member holds is
// not given up for that, even if loss is allowed.
func TestALostRecordWaitsForWhoMissedAFence(t *testing.T) {
	for _, missed := range []int{1, 20} {
		w := electWithout(t, func(fence int) bool { return fence < missed }, func(*world) {})
		if r := w.rec(); r.Leader.Member != "orders-2" {
			t.Errorf("%d missed: %s leads epoch %d without %d writes", missed, r.Leader.Member, r.Epoch, len(w.cluster.Missing(r.Leader.Member)))
		}
	}
}

// TestALostRecordGoesOnWithoutWhoNeverPromises: a member that answers but can never be fenced is named for as long as it is
// waited for, which has a bound.
func TestALostRecordGoesOnWithoutWhoNeverPromises(t *testing.T) {
	waits := false
	w := electWithout(t, func(int) bool { return true }, func(w *world) {
		if w.record != "" && w.rec().Phase == decide.PhaseFencing {
			waits = true
			c := w.condition(v1alpha1.ConditionFailoverBlocked)
			if c.Reason != v1alpha1.ReasonRecordLost || !strings.Contains(c.Message, "waiting for orders-1, orders-2") {
				t.Fatalf("%s: %s", c.Reason, c.Message)
			}
		}
	})
	if r := w.rec(); r.Leader.Member != "orders-3" || r.WritesLost != v1alpha1.LostUnknown || !waits {
		t.Errorf("%s leads epoch %d, and %s are told", r.Leader.Member, r.Epoch, r.WritesLost)
	}
}
