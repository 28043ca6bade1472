package decide_test

import (
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
	"github.com/replicatedstore/replicatedstore/controllers/nodeclient/fake"
)

// strand keeps members from reaching the API server.
func (w *world) strand(members ...string) {
	w.stranded = map[string]bool{}
	for _, m := range members {
		w.stranded[m] = true
	}
}

// With k = 0, a leader that is the only one not to reach the API server acknowledges nothing. Another member leads, once it
// holds the same. When all have been tried, leadership does not go round in circles, and the way out is reported.
func TestAsynchronousLeaderThatCannotRenew(t *testing.T) {
	t.Run("another one leads", func(t *testing.T) {
		w := started(t, 3, 0)
		w.cluster.Write("orders-1")
		w.cluster.Sync("orders-1")
		w.strand("orders-1")
		w.ledByAnother("orders-1")
		if r := w.rec(); r.Reason != "LeaseExpired" || r.Epoch != 3 {
			t.Fatalf("%s, epoch %d", r.Reason, r.Epoch)
		}
	})
	t.Run("two of them", func(t *testing.T) {
		w := started(t, 3, 0)
		w.strand("orders-1", "orders-2")
		w.ledByAnother("orders-1")
		if r := w.rec(); r.Leader.Member != "orders-3" || r.Epoch != 4 {
			t.Fatalf("%s, epoch %d", r.Leader.Member, r.Epoch)
		}
	})
	t.Run("nobody else holds as much", func(t *testing.T) {
		w := started(t, 3, 0)
		w.strand("orders-1")
		w.cluster.Cut("orders-1", "orders-2")
		w.cluster.Cut("orders-1", "orders-3")
		w.until("it is told", func() bool {
			return w.condition(v1alpha1.ConditionFailoverBlocked).Reason == v1alpha1.ReasonLeaderUnfit
		})
		w.run(time.Minute)
		if r := w.rec(); r.Epoch != 2 {
			t.Fatalf("epoch %d: leadership goes round", r.Epoch)
		}
		w.cluster.HealAll()
		w.ledByAnother("orders-1")
	})
	t.Run("all of them, until one reaches it again", func(t *testing.T) {
		w := started(t, 3, 0)
		w.strand("orders-1", "orders-2", "orders-3")
		w.until("it is told", func() bool {
			return w.condition(v1alpha1.ConditionFailoverBlocked).Reason == v1alpha1.ReasonLeaderUnfit
		})
		w.run(time.Minute)
		if r := w.rec(); r.Epoch != 4 {
			t.Fatalf("epoch %d: leadership goes round", r.Epoch)
		}
		w.stranded = map[string]bool{"orders-2": true, "orders-3": true}
		w.run(time.Minute)
		w.store.Annotations[v1alpha1.AnnotationFailover] = "orders-1" // orders-3 was tried last
		w.until("orders-1 leads", func() bool { return w.rec().Phase == decide.PhaseStable && w.rec().Leader.Member == "orders-1" })
		w.untilState(decide.Stable)
		if got := w.store.Status.FailoverRequest; got == nil || got.Result != v1alpha1.ResultSucceeded {
			t.Fatalf("%+v", got)
		}
	})
	t.Run("in mode Manual a person says so", func(t *testing.T) {
		w := started(t, 3, 0, manual)
		w.strand("orders-1")
		w.untilBlocked(v1alpha1.ReasonManualMode)
		w.run(time.Minute)
		if r := w.rec(); r.Epoch != 2 || r.Leader.Member != "orders-1" {
			t.Fatalf("%s, epoch %d", r.Leader.Member, r.Epoch)
		}
		w.store.Annotations[v1alpha1.AnnotationFailover] = "orders-3"
		w.ledByAnother("orders-1")
		if r := w.rec(); r.Leader.Member != "orders-3" {
			t.Fatal(r.Leader.Member)
		}
	})
	t.Run("who is asked for cannot", func(t *testing.T) {
		w := started(t, 3, 0)
		w.strand("orders-2")
		w.store.Annotations[v1alpha1.AnnotationFailover] = "orders-2"
		w.until("an answer", func() bool { return w.store.Status.FailoverRequest != nil })
		w.ledByAnother("orders-2")
		w.run(time.Minute)
		if got, r := w.store.Status.FailoverRequest, w.rec(); got.Result != v1alpha1.ResultFailed || r.Epoch != 3 {
			t.Fatalf("%+v, epoch %d", got, r.Epoch)
		}
	})
}

// With k >= 1 the leader keeps acknowledging, but its Lease shows nothing any more: another member leads that may be able to
// renew it, or people are told.
func TestLeaderThatCannotRenew(t *testing.T) {
	t.Run("another one leads", func(t *testing.T) {
		w := started(t, 3, 1)
		w.strand("orders-1")
		w.ledByAnother("orders-1")
		w.run(time.Minute)
		if r, c := w.rec(), w.condition(v1alpha1.ConditionDegraded); r.Reason != "LeaseExpired" || r.Epoch != 2 || c.Status != "False" {
			t.Errorf("%s, epoch %d; Degraded is %s %s: %s", r.Reason, r.Epoch, c.Status, c.Reason, c.Message)
		}
	})
	t.Run("nobody else can", func(t *testing.T) {
		w := started(t, 3, 1)
		w.strand("orders-1", "orders-2", "orders-3")
		w.run(2 * time.Minute)
		w.tells(v1alpha1.ReasonLeaseNotRenewed, w.rec().Leader.Member+" leads", "reach the API server")
		w.takesWrites(1)
		if r := w.rec(); r.Epoch != 2 {
			t.Errorf("epoch %d: leadership goes round", r.Epoch)
		}
		w.strand()
		w.run(5 * time.Second)
		if c := w.condition(v1alpha1.ConditionDegraded); c.Status != "False" {
			t.Errorf("Degraded is %s %s: %s", c.Status, c.Reason, c.Message)
		}
	})
}

func (w *world) untilBlocked(reason string) {
	w.t.Helper()
	w.until("blocked: "+reason, func() bool { return w.condition(v1alpha1.ConditionFailoverBlocked).Reason == reason })
}

// A member whose volume has no room for the barrier is not elected again and again: another one that holds as much leads, or
// the member is asked again until there is room.
func TestElectedMemberHasNoRoom(t *testing.T) {
	t.Run("another one leads", func(t *testing.T) {
		w := started(t, 3, 1)
		w.cluster.Fill("orders-2", true)
		w.cluster.Vanish("orders-1")
		w.ledByAnother("orders-1")
		if r := w.rec(); r.Leader.Member != "orders-3" || r.Reason != "PromotionRefused" || r.Epoch != 3 {
			t.Fatalf("%s, %s, epoch %d", r.Leader.Member, r.Reason, r.Epoch)
		}
	})
	t.Run("nobody else holds as much", func(t *testing.T) {
		w := started(t, 3, 1)
		w.cluster.Write("orders-1")
		w.cluster.Sync("orders-1")
		w.cluster.Ship("orders-2")
		w.cluster.Fill("orders-2", true)
		w.cluster.Vanish("orders-1")
		w.until("it is told", func() bool {
			return w.condition(v1alpha1.ConditionFailoverBlocked).Reason == v1alpha1.ReasonLeaderUnfit
		})
		w.run(time.Minute)
		if r := w.rec(); r.Epoch != 2 || r.Leader.Member != "orders-2" {
			t.Fatalf("%s, epoch %d", r.Leader.Member, r.Epoch)
		}
		w.cluster.Fill("orders-2", false)
		w.ledByAnother("orders-1")
		if r := w.rec(); r.Epoch != 2 || r.Leader.Member != "orders-2" {
			t.Fatalf("%s, epoch %d", r.Leader.Member, r.Epoch)
		}
	})
}

// Neither a person's request nor a member that only seems able to lead in its place gets it elected forever.
func TestElectedMemberHasNoRoomAndMore(t *testing.T) {
	t.Run("in mode Manual a person asked for it", func(t *testing.T) {
		w := started(t, 3, 1, manual)
		w.cluster.Fill("orders-2", true)
		w.cluster.Vanish("orders-1")
		w.untilBlocked(v1alpha1.ReasonManualMode)
		w.store.Annotations[v1alpha1.AnnotationFailover] = "orders-2"
		w.until("an answer", func() bool { return w.store.Status.FailoverRequest != nil })
		w.run(20 * time.Second)
		if got, r := w.store.Status.FailoverRequest, w.rec(); got.Result != v1alpha1.ResultFailed || r.Epoch != 2 || r.Phase == decide.PhaseStable {
			t.Fatalf("%+v, record %+v", got, r)
		}
		w.untilBlocked(v1alpha1.ReasonManualMode)
		w.store.Annotations[v1alpha1.AnnotationFailover] = "orders-3"
		w.ledByAnother("orders-2")
	})
	t.Run("in mode Manual it was to take over, and who led before leads on", func(t *testing.T) {
		w := started(t, 3, 1, manual)
		w.store.Annotations[v1alpha1.AnnotationFailover] = "orders-3"
		w.until("orders-3 leads", func() bool { return w.rec().Leader.Member == "orders-3" && w.rec().Phase == decide.PhaseStable })
		w.untilState(decide.Stable)
		w.cluster.Fill("orders-2", true)
		w.store.Status.FailoverRequest = nil
		w.store.Annotations[v1alpha1.AnnotationFailover] = "orders-2"
		w.until("an answer", func() bool { return w.store.Status.FailoverRequest != nil })
		w.untilState(decide.Stable)
		if got, r := w.store.Status.FailoverRequest, w.rec(); got.Result != v1alpha1.ResultFailed || r.Leader.Member != "orders-3" {
			t.Fatalf("%+v, record %+v", got, r)
		}
	})
	t.Run("who could lead instead makes no promise", func(t *testing.T) {
		w := started(t, 4, 2)
		w.cluster.Cut("orders-1", "orders-4")
		w.cluster.Write("orders-1")
		w.cluster.Sync("orders-1")
		w.cluster.Ship("orders-2")
		w.cluster.Ship("orders-3")
		w.cluster.Fill("orders-2", true)
		w.ops[0].mute = "orders-3"
		w.cluster.Vanish("orders-1")
		w.untilBlocked(v1alpha1.ReasonLeaderUnfit)
		w.run(time.Minute)
		if r := w.rec(); r.Epoch > 15 {
			t.Fatalf("epoch %d: leadership goes round", r.Epoch)
		}
		w.ops[0].mute = ""
		w.ledByAnother("orders-2")
	})
	t.Run("where loss is allowed", func(t *testing.T) {
		w := started(t, 3, 0, allow)
		w.cluster.Fill("orders-2", true)
		w.cluster.Vanish("orders-1")
		w.until("orders-3 leads", func() bool { return w.rec().Phase == decide.PhaseStable && w.rec().Leader.Member == "orders-3" })
	})
}

// What an election has cost is reported by the change that continues with another election, whoever has come back meanwhile.
func TestLossOfAnElectionBefore(t *testing.T) {
	for _, back := range []bool{false, true} {
		w := started(t, 3, 0, bounded(100))
		for range 10 {
			w.cluster.Write("orders-1")
		}
		w.cluster.Sync("orders-1")
		w.cluster.Ship("orders-2") // four of them
		w.strand("orders-2")
		w.cluster.Vanish("orders-1")
		w.until("orders-2 is elected", func() bool { return w.rec().Epoch == 2 && w.rec().Phase == decide.PhasePromoting })
		if back {
			w.cluster.Start("orders-1", "orders-1")
		}
		w.until("another leads", func() bool { return w.rec().Epoch == 3 && w.rec().Phase == decide.PhaseStable })
		if r := w.rec(); r.WritesLost != "6" {
			t.Fatalf("back %v: lost %q", back, r.WritesLost)
		}
	}
}

// What a member reported before it was lost counts for the bound too.
func TestLostMembersToldHowFarTheLeaderWas(t *testing.T) {
	w := started(t, 3, 0, bounded(0))
	w.cluster.Cut("orders-1", "orders-3")
	w.cluster.Cut("orders-1", fake.Operator+"a")
	for range 10 {
		w.cluster.Write("orders-1")
	}
	w.cluster.Sync("orders-1")
	w.cluster.Ship("orders-2")
	w.ops[0].reconcile()
	w.cluster.Vanish("orders-1")
	w.cluster.Vanish("orders-2")
	w.untilBlocked(v1alpha1.ReasonLossBoundExceeded)
}

// stepTo stops in the middle of a pass, once the record has reached a phase.
func (w *world) stepTo(phase decide.Phase) {
	w.t.Helper()
	w.stepUntil(func() bool { return w.rec().Phase == phase })
}

// stepUntil carries out one plan after another, and stops right after the one that makes done true.
func (w *world) stepUntil(done func() bool, before ...func()) {
	w.t.Helper()
	op := w.ops[0]
	for range 400 {
		if done() {
			return
		}
		for _, f := range before {
			f()
		}
		w.cluster.Settle()
		op.observe()
		op.decide()
		if err := op.act(-1); err != nil {
			w.t.Fatal(err)
		}
	}
	w.t.Fatalf("record %s\n%s", w.record, w.tail())
}

// anotherPass begins a new pass, and renews the Lease.
func (w *world) anotherPass() {
	w.ops[0].pass = decide.Pass{}
	w.renew()
}

// In mode Manual, if others hold the same, one of those leads that may.
func TestManualElectsWhoMayLead(t *testing.T) {
	led := func(t *testing.T, member string) *world { // a member whose ordinal is not the lowest
		w := started(t, 5, 2, manual)
		w.store.Annotations[v1alpha1.AnnotationFailover] = member
		w.until(member+" leads", func() bool { return w.rec().Leader.Member == member && w.rec().Phase == decide.PhaseStable })
		w.untilState(decide.Stable)
		w.store.Status.FailoverRequest = nil
		return w
	}
	t.Run("who led before, when the heir of a handover is lost", func(t *testing.T) {
		w := led(t, "orders-4")
		w.pods["orders-4"].Fenced = true // so that it hands over
		w.stepTo(decide.PhaseFencing)
		heir := w.rec().Target
		w.cluster.Vanish(heir)
		w.until("somebody leads", func() bool { return w.rec().Phase == decide.PhaseStable }, func() { w.pods["orders-4"].Fenced = false })
		if r := w.rec(); r.Leader.Member != "orders-4" {
			t.Fatalf("heir %s, record %+v", heir, r)
		}
	})
	t.Run("nobody else, when who was asked for is lost", func(t *testing.T) {
		w := led(t, "orders-4")
		w.cluster.Vanish("orders-4")
		w.untilBlocked(v1alpha1.ReasonManualMode)
		w.store.Annotations[v1alpha1.AnnotationFailover] = "orders-3"
		w.stepTo(decide.PhaseFencing)
		w.cluster.Vanish("orders-3")
		w.run(10 * time.Second)
		if r := w.rec(); r.Phase == decide.PhaseStable {
			t.Fatalf("record %+v", r)
		}
		w.store.Annotations[v1alpha1.AnnotationFailover] = "orders-2"
		w.until("orders-2 leads", func() bool { return w.rec().Phase == decide.PhaseStable && w.rec().Leader.Member == "orders-2" })
	})
}

// The bound covers what is known of the leader, and how far a follower is does not say that.
func TestNobodyToldHowFarTheLeaderWas(t *testing.T) {
	w := started(t, 3, 0, bounded(5))
	for range 10 {
		w.cluster.Write("orders-1")
	}
	w.cluster.Sync("orders-1")
	w.cluster.Vanish("orders-1")
	for _, m := range []string{"orders-2", "orders-3"} {
		w.cluster.Crash(m)
	}
	w.ops[0].die()
	w.kubelet()
	w.cluster.Vanish("orders-1")
	w.untilBlocked(v1alpha1.ReasonLossBoundExceeded)
}

// A person is told about an elected member whose disk hangs.
func TestElectedMemberHasNoBarrierAndIsAlone(t *testing.T) {
	w := started(t, 3, 1, manual)
	w.cluster.Vanish("orders-1")
	w.untilBlocked(v1alpha1.ReasonManualMode)
	w.ops[0].deaf = "orders-2" // no order to lead gets through
	w.store.Annotations[v1alpha1.AnnotationFailover] = "orders-2"
	w.until("an answer", func() bool { return w.store.Status.FailoverRequest != nil })
	w.untilBlocked(v1alpha1.ReasonManualMode)
	if r := w.rec(); r.Phase == decide.PhaseStable || w.store.Status.FailoverRequest.Result != v1alpha1.ResultFailed {
		t.Fatalf("record %+v, %+v", r, w.store.Status.FailoverRequest)
	}
	w.store.Annotations[v1alpha1.AnnotationFailover] = "orders-3"
	w.ledByAnother("orders-2")
}
