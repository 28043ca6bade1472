package decide_test

import (
	"strings"
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
)

// lossy returns a world in which orders-1 was lost with three acknowledged writes that nobody else has, and was replaced.
func lossy(t *testing.T) *world {
	t.Helper()
	w := started(t, 3, 0, allow)
	for range 3 {
		w.cluster.Write("orders-1")
		w.cluster.Sync("orders-1")
	}
	w.cluster.Vanish("orders-1")
	w.until("another leader", func() bool { return w.rec().Epoch == 2 && w.rec().Phase == decide.PhaseStable })
	if r := w.rec(); r.WritesLost == v1alpha1.LostNone {
		t.Fatalf("nothing is lost: %+v", r)
	}
	return w
}

// handedOver performs a planned handover, which loses nothing, and returns with k = 1.
func (w *world) handedOver() {
	w.t.Helper()
	w.store.Spec.Replication.Synchronous.Number = new(int32(1))
	epoch := w.rec().Epoch
	w.store.Annotations[v1alpha1.AnnotationFailover] = v1alpha1.FailoverToAny
	w.until("another leader", func() bool {
		return w.rec().Epoch > epoch && w.rec().Phase == decide.PhaseStable && w.rec().Rules[0].K == 1
	})
	if r := w.rec(); r.WritesLost != v1alpha1.LostNone {
		w.t.Fatalf("record %+v", r)
	}
}

// rest lets time pass in long steps; during it only patience may run out.
func (w *world) rest(d time.Duration) {
	w.t.Helper()
	for end := w.cluster.Now().Add(d); w.cluster.Now().Before(end); {
		w.cluster.Advance(time.Second)
		w.cluster.Settle()
		w.renew()
		w.ops[0].reconcile()
	}
	w.check()
}

// tells asserts that Degraded says texts, for that reason.
func (w *world) tells(reason string, texts ...string) {
	w.t.Helper()
	c := w.condition(v1alpha1.ConditionDegraded)
	for _, text := range texts {
		if !strings.Contains(c.Message, text) {
			w.t.Errorf("Degraded does not say %q: %s %s: %s", text, c.Status, c.Reason, c.Message)
		}
	}
	if c.Status != "True" || c.Reason != reason {
		w.t.Errorf("Degraded is %s %s: %s", c.Status, c.Reason, c.Message)
	}
}

// TestALossIsToldUntilNobodyHasIt: the next planned handover lost nothing, but does not change what was lost before it.
func TestALossIsToldUntilNobodyHasIt(t *testing.T) {
	w := lossy(t)
	w.handedOver()
	w.tells(v1alpha1.ReasonMemberMissing, "orders-1 may have the only copy")
	w.cluster.Start("orders-1", "orders-1")
	w.until("it is cut", func() bool { return w.condition(v1alpha1.ConditionDegraded).Reason == v1alpha1.ReasonWritesQuarantined })
	w.handedOver()
	w.rest(6 * time.Minute)
	w.tells(v1alpha1.ReasonWritesQuarantined, "orders-1: 3", "/node quarantine list")
	if l := w.ops[0].plan.Lost; l == nil || l.Epoch != 2 {
		t.Errorf("the plan tells of %+v", l)
	}
	w.cluster.Discard("orders-1")
	w.rest(time.Minute)
	if c := w.condition(v1alpha1.ConditionDegraded); c.Status != "False" || w.rec().Lost == nil {
		t.Errorf("it was removed a minute ago: Degraded is %s: %s; %+v", c.Status, c.Message, w.rec().Lost)
	}
	w.rest(5 * time.Minute)
	if p := w.ops[0].plan; w.rec().Lost != nil || p.Lost != nil || p.State != decide.Stable {
		t.Errorf("nobody has it: %v, %+v", p.State, w.rec().Lost)
	}
}

// TestALossIsToldUntilItsVolumeIsGone: a member that was scaled away before it came back has the only copy, on its retained
// claim.
func TestALossIsToldUntilItsVolumeIsGone(t *testing.T) {
	w := lossy(t)
	w.store.Spec.Replicas = new(int32(2))
	w.until("two members", func() bool { return w.ops[0].plan.State == decide.Stable && w.pods["orders-1"] == nil })
	w.handedOver()
	w.rest(6 * time.Minute)
	w.tells(v1alpha1.ReasonWritesQuarantined, "orders-1 may have the only copy")
	w.deleteClaim("orders-1", w.claims["orders-1"].UID)
	w.rest(6 * time.Minute)
	if c := w.condition(v1alpha1.ConditionDegraded); c.Status != "False" || w.rec().Lost != nil {
		t.Errorf("Degraded is %s: %s; %+v", c.Status, c.Message, w.rec().Lost)
	}
}

// TestALossOutlivesTheRecord: nobody can tell any more whether what is in quarantine was acknowledged, so it is reported.
func TestALossOutlivesTheRecord(t *testing.T) {
	w := lossy(t)
	w.cluster.Start("orders-1", "orders-1")
	w.until("it is cut", func() bool { return w.condition(v1alpha1.ConditionDegraded).Reason == v1alpha1.ReasonWritesQuarantined })
	w.handedOver()
	lose(w)
	w.until("there is a record again", func() bool { return w.record != "" && w.ops[0].plan.State == decide.Stable })
	w.tells(v1alpha1.ReasonWritesQuarantined, "orders-1: 3")
}

// TestNothingIsToldOfWhatWasNotAcknowledged: every crash of a leader leaves a tail that nobody else has.
func TestNothingIsToldOfWhatWasNotAcknowledged(t *testing.T) {
	w := started(t, 3, 1)
	w.cluster.Write("orders-1")
	w.cluster.Sync("orders-1")
	w.cluster.Vanish("orders-1")
	w.until("another leader", func() bool { return w.rec().Epoch == 2 && w.rec().Phase == decide.PhaseStable })
	w.cluster.Start("orders-1", "orders-1")
	w.untilState(decide.Stable)
	if m := w.store.Status.Members[0]; m.Quarantined != 1 {
		t.Fatalf("%+v", m)
	}
	if c := w.condition(v1alpha1.ConditionDegraded); c.Status != "False" || w.rec().Lost != nil {
		t.Errorf("Degraded is %s: %s; %+v", c.Status, c.Message, w.rec().Lost)
	}
}

// TestALossOfASynchronousStore: a person allowed loss, so orders-3 leads alone without what orders-1 and orders-2
// acknowledged together. Each of them may have the only copy, until both are back.
func TestALossOfASynchronousStore(t *testing.T) {
	w := started(t, 3, 1, preferred)
	for range 3 {
		w.cluster.Write("orders-1")
		w.cluster.Sync("orders-1")
		w.cluster.Ship("orders-2")
	}
	acked := w.cluster.Acknowledged()
	w.cluster.Vanish("orders-1")
	w.cluster.Vanish("orders-2")
	w.run(20 * time.Second)
	if c := w.condition(v1alpha1.ConditionFailoverBlocked); c.Reason != v1alpha1.ReasonFenceQuorumMissing || w.rec().Epoch != 1 {
		t.Fatalf("it is not asked first: %+v, %+v", c, w.rec())
	}
	w.lossy = true
	allow(&w.store.Spec)
	w.until("orders-3 leads", func() bool { return w.rec().Leader.Member == "orders-3" && w.rec().Phase == decide.PhaseStable })
	if r := w.rec(); r.WritesLost != v1alpha1.LostUnknown || r.Lost == nil || strings.Join(r.Lost.Members, " ") != "orders-1 orders-2" || acked < 3 {
		t.Fatalf("%d were acknowledged; record %+v, lost %+v", acked, r, r.Lost)
	}
	w.tells(v1alpha1.ReasonDurabilityLowered, "orders-1 or orders-2 may have the only copy")
	w.cluster.Start("orders-2", "orders-2")
	w.until("it is cut", func() bool { return w.store.Status.Members[1].Quarantined == 3 })
	w.rest(time.Minute)
	w.tells(v1alpha1.ReasonMemberMissing, "orders-1 may have the only copy")
	w.cluster.Start("orders-1", "orders-1")
	w.until("it is cut, too", func() bool { return w.condition(v1alpha1.ConditionDegraded).Reason == v1alpha1.ReasonWritesQuarantined })
	w.tells(v1alpha1.ReasonWritesQuarantined, "orders-1: 3, orders-2: 3")
	w.handedOver()
	w.cluster.Discard("orders-1")
	w.rest(6 * time.Minute)
	w.tells(v1alpha1.ReasonWritesQuarantined, "orders-2: 3")
	w.cluster.Discard("orders-2")
	w.rest(6 * time.Minute)
	if c := w.condition(v1alpha1.ConditionDegraded); c.Status != "False" || w.rec().Lost != nil {
		t.Errorf("nobody has it: Degraded is %s: %s; %+v", c.Status, c.Message, w.rec().Lost)
	}
}

func claimsGo(s *v1alpha1.ReplicatedStoreSpec) {
	s.Storage.RetentionPolicy.WhenScaled = v1alpha1.DeleteClaim
}

// TestAClaimWithTheOnlyCopyIsNotDeleted: claims of members that are scaled away are deleted, except those that may hold
// acknowledged writes that nobody else has, in a log or in quarantine, until a person gives these up.
func TestAClaimWithTheOnlyCopyIsNotDeleted(t *testing.T) {
	for name, tc := range map[string]struct {
		before   func(*world)
		replicas int32
		kept     string
	}{
		"in its log": {func(w *world) { w.run(20 * time.Second) }, 2, "orders-1"},
		"in quarantine": {func(w *world) {
			w.cluster.Start("orders-1", "orders-1")
			w.until("it is cut", func() bool { return w.condition(v1alpha1.ConditionDegraded).Reason == v1alpha1.ReasonWritesQuarantined })
			w.store.Annotations[v1alpha1.AnnotationFailover] = "orders-3"
			w.until("orders-3 leads", func() bool { return w.rec().Leader.Member == "orders-3" && w.ops[0].plan.State == decide.Stable })
		}, 1, "orders-1"},
		"in quarantine of one more": {func(w *world) {
			w.handedOver()
			leader := w.rec().Leader.Member
			w.cluster.Write(leader)
			w.cluster.Sync(leader)
			w.cluster.Vanish(leader)
			w.cluster.Start("orders-1", "orders-1")
			w.until("another leader", func() bool { return w.rec().Leader.Member != leader && w.rec().Phase == decide.PhaseStable })
			w.cluster.Start(leader, leader)
			w.store.Spec.Replication.Synchronous.Number = new(int32(0))
			w.until("both are cut", func() bool {
				return w.ops[0].plan.State == decide.Stable && strings.Contains(w.condition(v1alpha1.ConditionDegraded).Message, leader+": 1")
			})
			if w.rec().Lost == nil || len(w.rec().Lost.Members) != 1 {
				w.t.Fatalf("%+v", w.rec().Lost)
			}
		}, 1, "two"},
	} {
		t.Run(name, func(t *testing.T) {
			w := lossy(t)
			claimsGo(&w.store.Spec)
			tc.before(w)
			w.store.Spec.Replicas = new(tc.replicas)
			w.until("fewer members", func() bool { return len(w.pods) == int(tc.replicas) })
			w.ops[0].die()
			w.rest(6 * time.Minute)
			var kept []string
			for name := range w.claims {
				if w.pods[name] == nil {
					kept = append(kept, name)
				}
			}
			if got := strings.Join(kept, " "); got != tc.kept && (tc.kept != "two" || len(kept) != 2) {
				t.Fatalf("the claims of %q are kept, want those of %s\n%s", got, tc.kept, w.tail())
			}
			w.tells(v1alpha1.ReasonWritesQuarantined, "orders-1", "although spec.storage.retentionPolicy.whenScaled is Delete", "spec.replicas")
			for _, name := range kept {
				w.deleteClaim(name, w.claims[name].UID)
			}
			w.rest(6 * time.Minute)
			if c := w.condition(v1alpha1.ConditionDegraded); c.Status != "False" || w.rec().Lost != nil {
				t.Errorf("Degraded is %s: %s; %+v", c.Status, c.Message, w.rec().Lost)
			}
		})
	}
}

// TestAClaimGoesOnceNobodyHasWhatWasLost: what a person removed from quarantine keeps no claim.
func TestAClaimGoesOnceNobodyHasWhatWasLost(t *testing.T) {
	w := lossy(t)
	claimsGo(&w.store.Spec)
	w.cluster.Start("orders-1", "orders-1")
	w.until("it is cut", func() bool { return w.condition(v1alpha1.ConditionDegraded).Reason == v1alpha1.ReasonWritesQuarantined })
	w.cluster.Discard("orders-1")
	w.rest(6 * time.Minute)
	w.store.Annotations[v1alpha1.AnnotationFailover] = "orders-3"
	w.until("orders-3 leads", func() bool { return w.rec().Leader.Member == "orders-3" && w.ops[0].plan.State == decide.Stable })
	w.store.Spec.Replicas = new(int32(1))
	w.until("one is left, with its claim", func() bool { return len(w.pods) == 1 && len(w.claims) == 1 })
}

// TestALossIsToldBesideAMissingMember: what is in quarantine is told although another member, or the one that has it, is
// missing: it may be the only copy, too.
func TestALossIsToldBesideAMissingMember(t *testing.T) {
	for _, missing := range []string{"orders-3", "orders-1"} {
		t.Run(missing, func(t *testing.T) {
			w := lossy(t)
			w.cluster.Start("orders-1", "orders-1")
			w.until("it is cut", func() bool { return w.condition(v1alpha1.ConditionDegraded).Reason == v1alpha1.ReasonWritesQuarantined })
			w.store.Annotations[v1alpha1.AnnotationFailover] = "orders-2"
			w.until("orders-2 leads", func() bool { return w.rec().Leader.Member == "orders-2" && w.ops[0].plan.State == decide.Stable })
			w.cluster.Vanish(missing)
			w.run(5 * time.Second)
			w.tells(v1alpha1.ReasonMemberMissing, missing+" does not answer", "orders-1: 3", "/node quarantine list")
		})
	}
}
