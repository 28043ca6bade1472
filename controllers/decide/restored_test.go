package decide_test

import (
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
)

// TestRecordRestoredToTheFencingOfAnEpochThatIsLed: nobody has promised more than this older copy says, and yet its epoch
// has a leader already, whom it does not name. It must not be given a second one, nor other rules.
func TestRecordRestoredToTheFencingOfAnEpochThatIsLed(t *testing.T) {
	w := started(t, 3, 1)
	w.cluster.Crash("orders-1")
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
		w.cluster.Advance(50 * time.Millisecond)
	}
	old := w.record
	w.until("another leader", func() bool { return w.rec().Epoch == 2 && w.rec().Phase == decide.PhaseStable })
	leader := w.rec().Leader
	w.record = old
	w.version++
	op.pass = decide.Pass{}
	op.observe()
	op.decide()
	if op.plan.State != decide.RecordLost {
		t.Fatalf("%s leads epoch 2, and the record that says it is Fencing is believed: %v: %v", leader.Member, op.plan.State, op.plan.Actions)
	}
	w.run(time.Second)
	if r := w.rec(); r.Epoch != 2 || r.Leader != leader || r.Phase != decide.PhaseStable {
		t.Fatalf("record %+v", r)
	}
}

// The older copy counts on members that were scaled away since. Where their claims were deleted they will never answer, and
// are not waited for; where the claims were kept, they come back to say what they hold. (Simulation, seed 2503.)
func TestRecordRestoredFromBeforeMembersWereScaledAway(t *testing.T) {
	for _, kept := range []bool{true, false} {
		w := started(t, 4, 1, func(s *v1alpha1.ReplicatedStoreSpec) {
			if !kept {
				s.Storage.RetentionPolicy.WhenScaled = v1alpha1.DeleteClaim
			}
		})
		old := w.record
		w.store.Spec.Replicas = new(int32(2))
		w.until("two members are left", func() bool {
			return len(w.pods) == 2 && len(w.rec().Rules[0].Voters) == 1 && (kept || len(w.claims) == 2)
		})
		led := func() bool {
			return w.rec().Phase == decide.PhaseStable && w.rec().Epoch > 1 && len(w.rec().Rules[0].Voters) == 1
		}
		w.cluster.Crash(w.rec().Leader.Member)
		w.until("a later epoch", led, w.kubelet)
		w.cluster.Crash(w.rec().Leader.Member) // else the living leader is simply adopted
		w.record = old
		w.version++
		w.until("a leader", func() bool { return w.cluster.Writable() != "" && w.rec().Phase == decide.PhaseStable }, w.kubelet)
		w.write()
		w.until("two members again", func() bool { return len(w.pods) == 2 }, w.kubelet)
	}
}
