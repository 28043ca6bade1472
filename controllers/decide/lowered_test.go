package decide_test

import (
	"strings"
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
)

// lowering returns a store that had one synchronous follower and is now asked for none: the record names both rules.
func lowering(t *testing.T) *world {
	t.Helper()
	w := started(t, 3, 1)
	w.run(2 * time.Second)
	w.synchronous(0)
	for n := 0; len(w.rec().Rules) != 2; n++ {
		if n == 50 {
			t.Fatalf("never two rules: %s", w.record)
		}
		w.step()
	}
	return w
}

// synchronous asks for the given number of synchronous followers.
func (w *world) synchronous(number int32) {
	w.store.Spec.Replication.Synchronous.Number = new(number)
	w.store.Generation++
}

// step takes one look and acts on it.
func (w *world) step() {
	w.cluster.Settle()
	w.renew()
	o := w.ops[0]
	o.pass = decide.Pass{}
	o.observe()
	o.decide()
	_ = o.act(-1)
}

// The number is lowered by mistake, and restored or raised while both rules are recorded and the voters are there. The
// leader must never go by the weaker rule.
func TestANumberThatIsPutBackIsNotLowered(t *testing.T) {
	for _, number := range []int32{1, 2} {
		w := lowering(t)
		w.synchronous(number)
		for range 30 {
			w.step()
			if r := w.rec(); len(r.Rules) == 1 && r.Rules[0].K == 0 {
				t.Fatalf("%d asked for: %v: %s", number, r.Rules, w.ops[0].plan.Message)
			}
		}
		if r := w.rec(); len(r.Rules) != 1 || r.Rules[0].K != int(number) {
			t.Errorf("%d asked for, and in the end %v", number, r.Rules)
		}
	}
}

// The leader is lost while both rules are recorded. The report must be true: the leader had synchronous followers.
func TestLeaderLostWhileItsNumberIsLowered(t *testing.T) {
	w := lowering(t)
	w.cluster.Vanish("orders-1")
	w.run(2 * time.Minute)
	b := w.condition(v1alpha1.ConditionFailoverBlocked)
	if b.Reason != v1alpha1.ReasonDataLossForbidden || !strings.Contains(b.Message, "was being told to continue without synchronous followers") {
		t.Errorf("%s: %s", b.Reason, b.Message)
	}
}

// TestANumberThatIsPutBackAfterItsLeaderWasLost: the leader is lost while both rules are recorded, the number is put back,
// and the leader returns and is elected again. It must not begin with the weaker rule.
func TestANumberThatIsPutBackAfterItsLeaderWasLost(t *testing.T) {
	w := lowering(t)
	w.cluster.Vanish("orders-1")
	w.run(30 * time.Second)
	w.synchronous(1)
	w.run(5 * time.Second)
	for _, o := range []string{"orders-2", "orders-3"} {
		w.cluster.Cut("orders-1", o)
		w.cluster.Cut(o, "orders-1")
	}
	w.cluster.Start("orders-1", "orders-1")
	w.until("another epoch", func() bool { return w.rec().Epoch > 1 && w.rec().Phase != decide.PhaseFencing })
	before := w.cluster.Acknowledged()
	w.run(5*time.Second, w.writing)
	if r := w.rec(); len(r.Rules) != 1 || r.Rules[0].K != 1 || w.cluster.Acknowledged() != before {
		t.Errorf("%s leads epoch %d by %v, and acknowledged %d writes alone", r.Leader.Member, r.Epoch, r.Rules, w.cluster.Acknowledged()-before)
	}
	w.cluster.HealAll()
	w.untilState(decide.Stable)
	w.write()
}
