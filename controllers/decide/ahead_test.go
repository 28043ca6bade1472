package decide_test

import (
	"testing"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
)

// TestClientsAreLedAheadOfAFailover checks that clients are routed to the member that will be elected as soon as nobody
// hears the leader, before the leader is believed to be lost, and that they are routed back if it was there after all.
func TestClientsAreLedAheadOfAFailover(t *testing.T) {
	w := started(t, 3, 1)
	leadsTo := func() string {
		for name, p := range w.pods {
			if w.route != nil && p.IP == w.route.IP {
				return name
			}
		}
		return ""
	}
	cut := func() {
		for _, h := range []string{operatorA, "orders-2", "orders-3"} {
			w.cluster.Cut("orders-1", h)
		}
	}
	suspected := func(what string) {
		w.until(what, func() bool { return leadsTo() != "orders-1" })
		if r := w.rec(); r.Epoch != 1 || r.Phase != decide.PhaseStable || w.ops[0].plan.State != decide.Suspecting {
			t.Fatalf("%s: %v of epoch %d, %v", what, r.Phase, r.Epoch, w.ops[0].plan.State)
		}
	}
	w.until("clients are led to the leader", func() bool { return leadsTo() == "orders-1" })
	cut()
	suspected("clients are led elsewhere")
	w.cluster.HealAll()
	w.until("clients are led back", func() bool { return leadsTo() == "orders-1" })
	if r := w.rec(); r.Epoch != 1 {
		t.Fatalf("epoch %d", r.Epoch)
	}

	w.store.Spec.Failover.Mode = v1alpha1.FailoverManual
	cut()
	w.until("a failover that is not begun", func() bool { return w.ops[0].plan.State == decide.Blocked })
	if to := leadsTo(); to != "orders-1" {
		t.Fatalf("clients are led to %s, whom nobody may elect", to)
	}
	w.cluster.HealAll()
	w.untilState(decide.Stable)

	w.store.Spec.Failover.Mode = ""
	cut()
	suspected("clients are led elsewhere again")
	ahead := leadsTo()
	w.until("another leader", func() bool { return w.rec().Epoch == 2 && w.rec().Phase == decide.PhaseStable })
	if r := w.rec(); r.Leader.Member != ahead || leadsTo() != ahead {
		t.Fatalf("clients were led to %s and then to %s; %s was elected", ahead, leadsTo(), r.Leader.Member)
	}
	w.write()
}
