package decide_test

import (
	"strings"
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
	"github.com/replicatedstore/replicatedstore/controllers/nodeclient/fake"
)

// writes appends n writes that only the leader has on disk.
func (w *world) writes(leader string, n int) {
	w.t.Helper()
	for range n {
		if !w.cluster.Write(leader) {
			w.t.Fatalf("%s takes no write", leader)
		}
	}
	w.cluster.Sync(leader)
}

// Writes of a leader that were lost earlier do not stand in for writes of the next leader: positions of two epochs are not
// compared.
func TestBoundedLossAcrossEpochs(t *testing.T) {
	for bound, want := range map[int64]string{20: "", 31: "31"} {
		w := started(t, 3, 0, bounded(bound))
		w.run(time.Second)
		w.writes("orders-1", 18)
		w.ops[0].reconcile()
		w.cluster.Vanish("orders-1")
		w.until("orders-2 leads", func() bool { return w.rec().Phase == decide.PhaseStable && w.rec().Leader.Member == "orders-2" })
		if r := w.rec(); r.WritesLost != "18" {
			t.Fatalf("lost %q", r.WritesLost)
		}
		w.run(time.Second)
		w.cluster.Vanish("orders-3")
		w.writes("orders-2", 30)
		w.run(time.Second)
		w.cluster.Vanish("orders-2")
		w.cluster.Start("orders-1", "orders-1") // with everything that was lost, and nothing of what came after: one barrier and 30 writes
		if want == "" {
			w.untilBlocked(v1alpha1.ReasonLossBoundExceeded)
			w.run(10 * time.Second)
			if r := w.rec(); r.Epoch != 2 {
				t.Fatalf("record %+v", r)
			}
			continue
		}
		w.until("orders-1 leads", func() bool { return w.rec().Phase == decide.PhaseStable && w.rec().Leader.Member == "orders-1" })
		if r := w.rec(); r.WritesLost != want {
			t.Fatalf("lost %q, want %s", r.WritesLost, want)
		}
	}
}

// Two leaders are lost in one change, each with writes of its own.
func TestBoundedLossOfOneChangeAddsUp(t *testing.T) {
	for bound, want := range map[int64]string{15: "", 16: "16"} {
		w := started(t, 3, 0, bounded(bound))
		w.writes("orders-1", 10)
		w.cluster.Ship("orders-2") // four of them, so that six are lost with orders-1
		w.cluster.Vanish("orders-1")
		w.until("orders-2 is elected", func() bool { return w.rec().Phase == decide.PhaseFencing || w.rec().Epoch == 2 })
		w.stepTo(decide.PhasePromoting)
		op := w.ops[0]
		for op.plan.State != decide.Opening { // until it has been told to lead
			op.observe()
			op.decide()
			if err := op.act(-1); err != nil {
				t.Fatal(err)
			}
		}
		w.cluster.Cut("orders-2", "orders-3")
		w.cluster.Settle()
		w.renew()
		w.writes("orders-2", 5)
		op.pass = decide.Pass{}
		op.observe() // it learns how far orders-2 is
		if r := w.rec(); r.Phase != decide.PhasePromoting || r.WritesLost != "6" {
			t.Fatalf("record %+v", r)
		}
		w.cluster.Vanish("orders-2") // with the four, a barrier and five writes that orders-3 does not hold
		if want == "" {
			w.untilBlocked(v1alpha1.ReasonLossBoundExceeded)
			if got := w.condition(v1alpha1.ConditionFailoverBlocked).Message; !strings.Contains(got, "10 writes ahead when last heard, and 6 were lost before it led") {
				t.Fatal(got)
			}
			continue
		}
		w.until("orders-3 leads", func() bool { return w.rec().Phase == decide.PhaseStable && w.rec().Leader.Member == "orders-3" })
		if r := w.rec(); r.WritesLost != want {
			t.Fatalf("lost %q, want %s", r.WritesLost, want)
		}
	}
}

// A follower that lost the leader's stream long before the others does not know how far the leader got.
func TestBoundedLossAfterOneFollowerLostTheLeader(t *testing.T) {
	w := started(t, 3, 0, bounded(5))
	w.run(time.Second)
	w.cluster.Cut("orders-1", "orders-3")
	for range 100 {
		w.cluster.Write("orders-1")
		w.cluster.Settle()
		w.renew()
	}
	w.run(20 * time.Second)
	w.cluster.Vanish("orders-1")
	w.cluster.Vanish("orders-2")
	w.ops[0].die() // its successor has heard from neither
	w.untilBlocked(v1alpha1.ReasonLossBoundExceeded)
	w.run(time.Minute)
	if r := w.rec(); r.Epoch != 1 {
		t.Fatalf("record %+v", r)
	}
	w.cluster.Start("orders-2", "orders-2")
	w.store.Spec.Failover.DataLoss, w.store.Spec.Failover.MaxLostWrites = v1alpha1.DataLossAllow, nil
	w.until("orders-2 leads", func() bool { return w.rec().Phase == decide.PhaseStable && w.rec().Leader.Member == "orders-2" })
}

// Neither does an operator that last heard the leader long before.
func TestBoundedLossAfterTheOperatorLostTheLeader(t *testing.T) {
	w := started(t, 3, 0, bounded(5))
	w.run(time.Second)
	w.cluster.Cut("orders-1", fake.Operator+"a")
	for range 10 {
		w.cluster.Write("orders-1")
	}
	w.run(20 * time.Second) // the others report it
	if r := w.rec(); r.Epoch != 1 {
		t.Fatalf("record %+v", r)
	}
	w.cluster.Cut("orders-1", "orders-2")
	w.cluster.Cut("orders-1", "orders-3")
	for _, m := range []string{"orders-2", "orders-3"} {
		w.cluster.Crash(m) // and they forget what they were told
		w.cluster.Start(m, m)
		delete(w.ops[0].memory.Contacts, m)
	}
	w.cluster.Vanish("orders-1")
	w.untilBlocked(v1alpha1.ReasonLossBoundExceeded)
	w.run(30 * time.Second)
	if r := w.rec(); r.Epoch != 1 {
		t.Fatalf("record %+v", r)
	}
}

// alone cuts orders-1, the leader, off from the other two, and runs until done reports true of the record, and no further.
func (w *world) alone(done func(decide.Record) bool) {
	w.t.Helper()
	w.cluster.Cut("orders-1", "orders-2")
	w.cluster.Cut("orders-1", "orders-3")
	w.stepUntil(func() bool { r := w.rec(); return r.Epoch == 1 && done(r) }, w.anotherPass)
}

// A record that is changing to ask for no voters does not bind a leader that was not told of it: the leader goes on without
// its Lease, with a voter that it reaches again.
func TestBoundedLossWhileTheLeaderGoesByTheOlderRule(t *testing.T) {
	for name, told := range map[string]bool{"it is not told": false, "it is told": true} {
		t.Run(name, func(t *testing.T) {
			w := started(t, 3, 1, preferred, bounded(5))
			w.run(time.Second)
			w.alone(func(r decide.Record) bool { return r.Rules[len(r.Rules)-1].K == 0 && (!told || len(r.Rules) == 1) })
			// From here on, orders-1 and orders-2 are on one side; the operator, the API server and orders-3 on the other.
			w.strand("orders-1")
			w.cluster.Cut("orders-1", fake.Operator+"a")
			w.cluster.Cut("orders-2", fake.Operator+"a")
			w.cluster.Cut("orders-2", "orders-3")
			w.cluster.Heal("orders-1", "orders-2")
			before := w.cluster.Acknowledged()
			w.run(30*time.Second, func() { w.cluster.Write("orders-1") })
			r := w.rec()
			switch acknowledged := w.cluster.Acknowledged() - before; {
			case told && (r.Epoch == 1 || r.Phase != decide.PhaseStable):
				t.Errorf("it has stopped, and nobody leads in its place: %s", w.record)
			case !told && (r.Epoch != 1 || acknowledged == 0):
				t.Errorf("it acknowledged %d writes, and another one leads: %s", acknowledged, w.record)
			}
		})
	}
}

// If nobody else is there, durability Preferred goes down to zero after its delay.
func TestPreferredGoesDownToNone(t *testing.T) {
	w := started(t, 3, 1, preferred)
	w.run(time.Second)
	w.cluster.Vanish("orders-2")
	w.cluster.Vanish("orders-3")
	before := w.cluster.Acknowledged()
	w.run(6*time.Second, func() { w.cluster.Write("orders-1") })
	if r := w.rec(); r.Epoch != 1 || len(r.Rules) != 1 || r.Rules[0].K != 0 || w.cluster.Acknowledged() == before {
		t.Fatalf("%d writes are acknowledged; record %s", w.cluster.Acknowledged()-before, w.record)
	}
}
