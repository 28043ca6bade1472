package decide_test

import (
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
)

// withStandby returns a store with an elected operator and one on standby.
func withStandby(t *testing.T) (w *world, elected, standby *operator) {
	w = started(t, 3, 1)
	standby = newOperator(w, "b")
	standby.standby = true
	return w, w.ops[0], standby
}

// TestStandbyLeavesFailoversToTheElected: while the elected operator takes its steps, the other does nothing at all.
func TestStandbyLeavesFailoversToTheElected(t *testing.T) {
	w, _, standby := withStandby(t)
	w.cluster.Vanish("orders-1")
	w.until("another leader", func() bool { return w.rec().Epoch == 2 && w.rec().Phase == decide.PhaseStable }, standby.reconcile)
	w.run(3*time.Second, standby.reconcile)
	if len(standby.acted) > 0 || !standby.plan.Standby {
		t.Fatalf("it did %q", standby.acted)
	}
}

// TestStandbyStandsIn: the elected operator is lost together with the leader. The other replaces the leader, and does
// nothing else.
func TestStandbyStandsIn(t *testing.T) {
	w, elected, standby := withStandby(t)
	w.ops = []*operator{standby}
	w.cluster.Vanish("orders-1")
	w.store.Spec.Replicas = new(int32(4))
	lost := w.cluster.Now()
	w.until("another leader", func() bool { return w.rec().Epoch == 2 && w.rec().Phase == decide.PhaseStable })
	if took := w.cluster.Now().Sub(lost); took > 3*time.Second {
		t.Fatalf("it took %v", took)
	}
	w.until("clients are led to it", func() bool {
		p := w.pods[w.rec().Leader.Member]
		return p != nil && p.Role == "leader" && w.route.IP == p.IP
	})
	w.write()
	w.run(2 * time.Second)
	if len(w.pods) != 3 {
		t.Fatalf("pods %s: it made one", w.podNames())
	}
	w.ops = []*operator{elected}
	w.until("a fourth member", func() bool { return len(w.pods) == 4 })
}

// TestStandingInEndsWithTheFailover: having stood in does not entitle an operator to the next failover in the same epoch,
// nor to what is due much later.
func TestStandingInEndsWithTheFailover(t *testing.T) {
	w, elected, standby := withStandby(t)
	w.ops = []*operator{standby}
	w.cluster.Vanish("orders-1")
	w.until("another leader", func() bool { return w.rec().Epoch == 2 && w.rec().Phase == decide.PhaseStable })
	w.until("nothing is due any more", func() bool { return standby.plan.Standby })
	w.ops = []*operator{elected}
	w.until("the store is whole", func() bool { return elected.plan.State == decide.Stable }, w.kubelet, standby.reconcile)
	standby.acted = nil
	w.cluster.Crash(w.rec().Leader.Member)
	w.until("a third leader", func() bool { return w.rec().Epoch == 3 && w.rec().Phase == decide.PhaseStable }, w.kubelet, standby.reconcile)
	if len(standby.acted) > 0 {
		t.Fatalf("it did %q at once, although the elected operator is there", standby.acted)
	}
}

// TestStandbyFinishesWhatTheElectedBegan checks that, whichever step the elected operator stopped at.
func TestStandbyFinishesWhatTheElectedBegan(t *testing.T) {
	for steps := 1; steps < 6; steps++ {
		w, elected, standby := withStandby(t)
		w.cluster.Vanish("orders-1")
		elected.pass, elected.plan = decide.Pass{}, decide.Plan{}
		for range 60 { // until the next step is its first one
			w.cluster.Settle()
			w.cluster.Advance(100 * time.Millisecond)
			if elected.observe(); elected.plan.State != decide.Fencing {
				elected.decide()
			}
		}
		if elected.plan.State != decide.Fencing {
			t.Fatalf("it decides %v", elected.plan.State)
		}
		for range steps {
			if err := elected.act(-1); err != nil {
				t.Fatal(err)
			}
			elected.observe()
			elected.decide()
		}
		w.ops = []*operator{standby}
		w.until("another leader", func() bool { return w.rec().Epoch == 2 && w.rec().Phase == decide.PhaseStable })
		w.write()
	}
}

// TestStandbyMakesNoStores: what can wait for the election does.
func TestStandbyMakesNoStores(t *testing.T) {
	w := newWorld(t, 3, 1)
	w.ops[0].standby = true
	w.run(5 * time.Second)
	if len(w.pods) > 0 || w.record != "" {
		t.Fatalf("pods %s, record %q", w.podNames(), w.record)
	}
}

// TestStandbyGoesOnWithAMemberThatWasWaitedForTooLong: the elected member's volume has no room, and nobody else can lead.
// That is reported, and once there is room the member leads.
func TestStandbyGoesOnWithAMemberThatWasWaitedForTooLong(t *testing.T) {
	w, _, standby := withStandby(t)
	w.ops = []*operator{standby}
	w.cluster.Write("orders-1")
	w.cluster.Sync("orders-1")
	w.cluster.Ship("orders-2")
	w.cluster.Fill("orders-2", true)
	w.cluster.Vanish("orders-1")
	w.until("it is waited for too long", func() bool { return w.rec().Phase == decide.PhasePromoting && standby.plan.State == decide.Blocked })
	w.run(20 * time.Second)
	w.cluster.Fill("orders-2", false)
	w.until("orders-2 leads", func() bool { return w.rec().Epoch == 2 && w.rec().Phase == decide.PhaseStable })
}

// TestStandbyRefusesRequests: a request for a member that may not lead is refused even if the elected operator is lost
// together with the leader.
func TestStandbyRefusesRequests(t *testing.T) {
	w, _, standby := withStandby(t)
	w.ops = []*operator{standby}
	w.cluster.Vanish("orders-1")
	w.cluster.Vanish("orders-3")
	w.store.Spec.Failover.DataLoss = "Allow"
	w.store.Annotations[v1alpha1.AnnotationFailover] = "orders-3"
	w.until("a refusal", func() bool {
		r := w.store.Status.FailoverRequest
		return r != nil && r.Result == v1alpha1.ResultRefused
	})
	w.until("orders-2 leads", func() bool { return w.rec().Epoch == 2 && w.rec().Leader.Member == "orders-2" })
}
