package decide_test

import (
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
)

func TestBootstrap(t *testing.T) {
	w := started(t, 3, 1)
	r := w.rec()
	if r.Epoch != 1 || r.Leader.Member != "orders-1" || len(r.Rules) != 1 || len(r.Rules[0].Voters) != 2 || r.Rules[0].K != 1 {
		t.Fatalf("record %+v", r)
	}
	if got := w.condition(v1alpha1.ConditionReady); got.Status != "True" {
		t.Fatalf("Ready: %+v", got)
	}
	if w.store.Status.Phase != v1alpha1.PhaseReady {
		t.Fatalf("phase %s", w.store.Status.Phase)
	}
}

func TestLeaderHostVanishes(t *testing.T) {
	w := started(t, 3, 1)
	w.cluster.Vanish("orders-1")
	w.until("another leader", func() bool { return w.rec().Epoch == 2 && w.rec().Phase == decide.PhaseStable })
	r := w.store.Status.LastFailover
	if r == nil || r.WritesLost != v1alpha1.LostNone || r.From != "orders-1" || r.Result != v1alpha1.ResultSucceeded || r.Durations.Total == nil {
		t.Fatalf("report %+v", r)
	}
	w.write()
}

func TestLeaderProcessDies(t *testing.T) {
	w := started(t, 3, 1)
	w.cluster.Crash("orders-1")
	w.cluster.Ship("orders-2") // its dial is refused too
	w.run(300 * time.Millisecond)
	if r := w.rec(); r.Epoch != 2 || r.Leader.Member == "orders-1" {
		t.Fatalf("a refused connection is acted on at once: %+v", r)
	}
	w.kubelet()
	w.run(time.Second)
	w.untilState(decide.Stable)
	if n := len(w.rec().Rules[0].Voters); n != 2 {
		t.Fatalf("%d voters", n)
	}
}
