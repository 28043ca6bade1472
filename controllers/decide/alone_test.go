package decide_test

import (
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/controllers/decide"
	"github.com/replicatedstore/replicatedstore/controllers/nodeclient/fake"
)

// TestCutOffOperatorDoesNotElectTheCutOffLeader: the elected operator is on the leader's side of a network cut, and acts
// between two steps of the other operator, which has begun to replace that leader.
func TestCutOffOperatorDoesNotElectTheCutOffLeader(t *testing.T) {
	w, elected, standby := withStandby(t)
	for _, far := range []string{"orders-2", "orders-3"} {
		w.cluster.Cut("orders-1", far)
		w.cluster.Cut(fake.Operator+elected.name, far)
	}
	w.cluster.Cut(fake.Operator+standby.name, "orders-1")
	for began := w.cluster.Now(); w.rec().Phase != decide.PhaseFencing; {
		if w.cluster.Now().Sub(began) > 5*time.Second {
			t.Fatalf("it plans %v\n%s", standby.plan.State, w.tail())
		}
		w.cluster.Settle()
		standby.pass = decide.Pass{}
		standby.observe()
		standby.decide()
		if err := standby.act(-1); err != nil {
			t.Fatal(err)
		}
	}
	elected.reconcile()
	w.ops = []*operator{standby}
	w.until("another leader", func() bool { return w.rec().Phase == decide.PhaseStable }, elected.reconcile)
	if r := w.rec(); r.Epoch != 2 || r.Leader.Member == "orders-1" {
		t.Fatalf("%s leads epoch %d\n%s", r.Leader.Member, r.Epoch, w.tail())
	}
	w.write()
}

// TestLeaderAloneIsElectedInTheEnd: both followers are lost, and the leader restarts. Nothing can be written until one of
// them is back, and then writes resume at once.
func TestLeaderAloneIsElectedInTheEnd(t *testing.T) {
	w := started(t, 3, 1)
	w.cluster.Vanish("orders-2")
	w.cluster.Vanish("orders-3")
	w.cluster.Crash("orders-1")
	w.cluster.Start("orders-1", "orders-1")
	w.until("it is to lead again", func() bool { return w.rec().Epoch == 2 && w.rec().Phase == decide.PhasePromoting })
	w.cluster.Start("orders-3", "orders-3")
	w.until("it can write", func() bool { return w.rec().Phase == decide.PhaseStable })
	w.write()
}

// TestCutOffOperatorDoesNotLeadClientsBack: the other operator, which sees that the leader's voters do not hear it, has
// routed clients to the member that is to lead next, but has not replaced the leader yet.
func TestCutOffOperatorDoesNotLeadClientsBack(t *testing.T) {
	w, elected, _ := withStandby(t)
	for _, far := range []string{"orders-2", "orders-3"} {
		w.cluster.Cut(fake.Operator+elected.name, far)
	}
	led := func() string {
		for name, p := range w.pods {
			if w.route != nil && *w.route == (decide.Route{UID: p.UID, IP: p.IP}) {
				return name
			}
		}
		return ""
	}
	w.run(time.Second)
	if at := led(); at != "orders-1" {
		t.Fatalf("clients are led to %q", at)
	}
	w.route = &decide.Route{UID: w.pods["orders-2"].UID, IP: w.pods["orders-2"].IP}
	w.run(2 * time.Second)
	if at := led(); at != "orders-2" {
		t.Fatalf("clients are led back to %q at once", at)
	}
	w.until("nothing came of it", func() bool { return led() == "orders-1" })
	w.route = &decide.Route{UID: w.pods["orders-2"].UID, IP: w.pods["orders-2"].IP}
	w.cluster.HealAll()
	w.run(time.Second)
	if at := led(); at != "orders-1" {
		t.Fatalf("an operator that sees everybody leaves clients at %q", at)
	}
}
