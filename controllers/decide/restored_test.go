package decide_test

import (
	"testing"
	"time"

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
