package decide_test

import (
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
	"github.com/replicatedstore/replicatedstore/controllers/nodeclient/fake"
)

const operatorA = fake.Operator + "a"

// TestUnknownIsNotDown checks that a leader that only the operator cannot reach keeps leading, even when its Lease expires.
func TestUnknownIsNotDown(t *testing.T) {
	w := started(t, 3, 1)
	w.cluster.Cut("orders-1", operatorA)
	w.run(5 * time.Second)
	if r := w.rec(); r.Epoch != 1 || w.ops[0].plan.State != decide.Suspecting {
		t.Fatalf("epoch %d, %v", r.Epoch, w.ops[0].plan.State)
	}
	if got := w.condition(v1alpha1.ConditionAvailable); got.Reason != v1alpha1.ReasonLeaderUnreachable {
		t.Fatalf("%+v", got)
	}
	for range 80 { // nobody renews any more
		w.cluster.Settle()
		w.ops[0].reconcile()
	}
	if r := w.rec(); r.Epoch != 1 {
		t.Fatalf("failed over to epoch %d although the voters hear the leader", r.Epoch)
	}
}

// TestDetection checks what makes a leader count as lost, and for which reason.
func TestDetection(t *testing.T) {
	for name, tc := range map[string]struct {
		fault  func(*world)
		reason string
	}{
		"its host is gone":    {func(w *world) { w.cluster.Vanish("orders-1") }, "LeaderSilent"},
		"its process is gone": {func(w *world) { w.cluster.Crash("orders-1") }, "LeaderRefused"},
		"it restarted":        {func(w *world) { w.cluster.Crash("orders-1"); w.kubelet() }, "LeaderRestarted"},
		"it lost its disk": {func(w *world) {
			w.cluster.Crash("orders-1")
			w.cluster.Wipe("orders-1")
			w.kubelet()
		}, "LeaderReborn"},
		"it is cut off from everybody": {func(w *world) {
			for _, h := range []string{operatorA, "orders-2", "orders-3"} {
				w.cluster.Cut("orders-1", h)
			}
		}, "LeaderSilent"},
	} {
		t.Run(name, func(t *testing.T) {
			w := started(t, 3, 1)
			tc.fault(w)
			w.until("another epoch", func() bool { return w.rec().Epoch == 2 && w.rec().Phase == decide.PhaseStable })
			r := w.rec()
			if r.Reason != tc.reason || r.WritesLost != v1alpha1.LostNone {
				t.Fatalf("reason %s, lost %s", r.Reason, r.WritesLost)
			}
			w.write()
		})
	}
}

// TestHungDiskCostsTheLease: the leader answers and its followers hear it, but it does not renew its Lease.
func TestHungDiskCostsTheLease(t *testing.T) {
	w := started(t, 3, 1)
	w.run(time.Second) // it has renewed
	for range 90 {     // 10 s without a renewal
		w.cluster.Settle()
		w.ops[0].reconcile()
	}
	if r := w.rec(); r.Epoch != 2 || r.Reason != "LeaseExpired" {
		t.Fatalf("record %+v", r)
	}
}

// TestLeaseAfterTheAPIServerWasDown: nobody could renew, and nobody could look either. The first thing seen is an expired
// Lease of a leader that answers; the leader gets time to renew it. (Soak, seed 11: leaders were replaced once the API
// server was back.)
func TestLeaseAfterTheAPIServerWasDown(t *testing.T) {
	w := started(t, 3, 1)
	for range 5 {
		w.run(time.Second)
		for range 100 { // 12 s
			w.cluster.Settle()
		}
		for range 20 { // 2 s until the leader's next attempt
			w.cluster.Settle()
			w.ops[0].reconcile()
		}
	}
	w.run(10 * time.Second)
	if r := w.rec(); r.Epoch != 1 {
		t.Fatalf("record %+v", r)
	}
}

// TestAShorterLeaseDurationDeposesNobody: the Lease is written first, and by its new duration the leader, which still uses
// the longer one, has not renewed for too long. The leader is told before any conclusion is drawn from that.
func TestAShorterLeaseDurationDeposesNobody(t *testing.T) {
	w := started(t, 3, 1)
	w.run(time.Second)
	op := w.ops[0]
	op.observe()
	op.seen.Lease.Duration, op.seen.Lease.UnchangedFor = 6*time.Second, 20*time.Second
	op.seen.Lease.Record.ConfigVersion++
	if op.decide(); len(op.plan.Actions) != 1 {
		t.Fatalf("%v: %v", op.plan.State, op.plan.Actions)
	}
	if _, ok := op.plan.Actions[0].(decide.ConfigureLeader); !ok {
		t.Fatalf("%v: %v", op.plan.State, op.plan.Actions)
	}
}

// TestNoLeaseNoFlapping checks that a leader that was never able to renew is not replaced for that: otherwise no leader
// would last.
func TestNoLeaseNoFlapping(t *testing.T) {
	w := newWorld(t, 3, 1)
	for range 200 {
		w.cluster.Settle()
		w.ops[0].reconcile()
	}
	if r := w.rec(); r.Epoch != 1 || r.Phase != decide.PhaseStable {
		t.Fatalf("record %+v", r)
	}
}

// TestRebornEmpty checks that a leader that comes back with an empty disk is never elected, and wipes nobody.
func TestRebornEmpty(t *testing.T) {
	w := started(t, 3, 1)
	acked := w.cluster.Acknowledged()
	w.cluster.Crash("orders-1")
	w.cluster.Wipe("orders-1")
	w.kubelet()
	w.until("another epoch", func() bool { return w.rec().Epoch == 2 })
	w.untilState(decide.Stable)
	if r := w.rec(); r.Leader.Member == "orders-1" {
		t.Fatalf("record %+v", r)
	}
	if n := w.cluster.Acknowledged(); n < acked {
		t.Fatalf("%d of %d left", n, acked)
	}
	for _, m := range w.cluster.Names() {
		if missing := w.cluster.Missing(m); len(missing) > 0 {
			t.Fatalf("%s lacks %v", m, missing)
		}
	}
}

// TestManual checks that nothing happens without a person, except that a leader that merely restarted leads again.
func TestManual(t *testing.T) {
	t.Run("waits and says who could lead", func(t *testing.T) {
		w := started(t, 3, 1, manual)
		w.cluster.Vanish("orders-1")
		w.run(10 * time.Second)
		got := w.condition(v1alpha1.ConditionFailoverBlocked)
		if w.rec().Epoch != 1 || got.Reason != v1alpha1.ReasonManualMode {
			t.Fatalf("epoch %d, %+v", w.rec().Epoch, got)
		}
		w.store.Annotations[v1alpha1.AnnotationFailover] = "orders-3"
		w.until("orders-3 leads", func() bool { return w.rec().Leader.Member == "orders-3" && w.rec().Phase == decide.PhaseStable })
		if o := w.store.Status.FailoverRequest; o == nil || o.Result != v1alpha1.ResultSucceeded || o.Target != "orders-3" {
			t.Fatalf("%+v", o)
		}
		if _, still := w.store.Annotations[v1alpha1.AnnotationFailover]; still {
			t.Fatal("the annotation is still there")
		}
	})
	t.Run("a restarted leader leads on", func(t *testing.T) {
		w := started(t, 3, 1, manual)
		w.cluster.Crash("orders-1")
		w.kubelet()
		w.until("another epoch", func() bool { return w.rec().Epoch == 2 })
		w.untilState(decide.Stable)
		if r := w.rec(); r.Epoch != 2 || r.Leader.Member != "orders-1" {
			t.Fatalf("record %+v", r)
		}
	})
	t.Run("a restarted leader leads on that another would be preferred to", func(t *testing.T) {
		w := started(t, 3, 1, manual)
		w.store.Annotations[v1alpha1.AnnotationFailover] = "orders-2"
		w.until("orders-2 leads", func() bool { return w.rec().Leader.Member == "orders-2" && w.rec().Phase == decide.PhaseStable })
		w.untilState(decide.Stable)
		epoch := w.rec().Epoch
		w.cluster.Crash("orders-2")
		w.kubelet()
		w.until("another epoch", func() bool { return w.rec().Epoch == epoch+1 })
		w.untilState(decide.Stable)
		if r := w.rec(); r.Epoch != epoch+1 || r.Leader.Member != "orders-2" {
			t.Fatalf("record %+v", r)
		}
	})
	for _, phase := range []decide.Phase{decide.PhaseFencing, decide.PhasePromoting} {
		t.Run("nor does another lead once it has begun to come back, and was lost while "+string(phase), func(t *testing.T) {
			w := started(t, 3, 1, manual)
			w.cluster.Crash("orders-1")
			w.kubelet()
			for op := w.ops[0]; w.rec().Phase != phase; {
				w.cluster.Settle()
				op.observe()
				op.decide()
				if err := op.act(-1); err != nil {
					t.Fatal(err)
				}
			}
			w.cluster.Vanish("orders-1")
			w.run(10 * time.Second)
			if r, got := w.rec(), w.condition(v1alpha1.ConditionFailoverBlocked); r.Phase == decide.PhaseStable || got.Reason != v1alpha1.ReasonManualMode {
				t.Fatalf("record %+v, %+v", r, got)
			}
			w.store.Annotations[v1alpha1.AnnotationFailover] = "orders-1"
			w.until("that one is refused", func() bool { return w.store.Status.FailoverRequest != nil })
			if o := w.store.Status.FailoverRequest; o.Result != v1alpha1.ResultRefused || w.rec().Phase == decide.PhaseStable {
				t.Fatalf("%+v, record %+v", o, w.rec())
			}
			w.store.Annotations[v1alpha1.AnnotationFailover] = v1alpha1.FailoverToAny
			w.until("another leads", func() bool { return w.rec().Phase == decide.PhaseStable })
			epoch := w.rec().Epoch
			w.run(5 * time.Second)
			if r, o := w.rec(), w.store.Status.FailoverRequest; r.Epoch != epoch || r.Leader.Member == "orders-1" || o.Result != v1alpha1.ResultSucceeded {
				t.Fatalf("record %+v, %+v", r, o)
			}
		})
	}
	t.Run("a target that lacks writes is refused", func(t *testing.T) {
		w := started(t, 3, 1, manual)
		for range 3 {
			w.cluster.Write("orders-1")
			w.cluster.Sync("orders-1")
			w.cluster.Ship("orders-2")
		}
		w.cluster.Vanish("orders-1")
		w.store.Annotations[v1alpha1.AnnotationFailover] = "orders-3"
		w.until("an answer", func() bool { return w.store.Status.FailoverRequest != nil })
		if o := w.store.Status.FailoverRequest; o.Result != v1alpha1.ResultRefused || w.rec().Epoch != 1 {
			t.Fatalf("%+v, epoch %d", o, w.rec().Epoch)
		}
	})
}
