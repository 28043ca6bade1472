package decide_test

import (
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
	"github.com/replicatedstore/replicatedstore/replication"
)

// TestRecordRestoredToTheFencingOfAnEpochThatIsLed: nobody has promised more than this older copy says, yet its epoch
// already has a leader, which the copy does not name. The epoch must get neither a second leader nor other rules.
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
	if r := w.rec(); r.Epoch != 2 || r.Leader != leader || r.Phase != decide.PhaseStable || r.Since.Writable == nil {
		t.Fatalf("record %+v", r)
	}
}

// The older copy depends on members that have been scaled away since. Those whose claims were deleted will never answer, and
// are not waited for; those whose claims were kept come back to say what they hold. (Simulation, seed 2503.)
func TestRecordRestoredFromBeforeMembersWereScaledAway(t *testing.T) {
	for _, kept := range []bool{true, false} {
		w := started(t, 4, 1, func(s *v1alpha1.ReplicatedStoreSpec) {
			if !kept {
				s.Storage.RetentionPolicy.WhenScaled = v1alpha1.DeleteClaim
			}
		})
		old := w.record
		w.store.Spec.Replicas = new(int32(2))
		w.until("two members are left", func() bool {
			return len(w.pods) == 2 && len(w.rec().Rules[0].Voters) == 1 && (kept || len(w.claims) == 2)
		})
		led := func() bool {
			return w.rec().Phase == decide.PhaseStable && w.rec().Epoch > 1 && len(w.rec().Rules[0].Voters) == 1
		}
		w.cluster.Crash(w.rec().Leader.Member)
		w.until("a later epoch", led, w.kubelet)
		w.cluster.Crash(w.rec().Leader.Member) // otherwise the living leader would simply be adopted
		w.record = old
		w.version++
		w.until("a leader", func() bool { return w.cluster.Writable() != "" && w.rec().Phase == decide.PhaseStable }, w.kubelet)
		w.write()
		w.until("two members again", func() bool { return len(w.pods) == 2 }, w.kubelet)
	}
}

// TestRecordRestoredFromBeforeTheFirstVoters (simulation, seed 20659): according to such a copy nothing was ever
// acknowledged, and the members that know better do not answer. The one that answers is no voter in the copy, but it hears
// the leader.
func TestRecordRestoredFromBeforeTheFirstVoters(t *testing.T) {
	w := newWorld(t, 3, 1)
	w.until("a record", func() bool { return w.record != "" })
	w.untilState(decide.Stable)
	old := w.rec()
	old.Phase, old.ConfigVersion, old.Rules = decide.PhasePromoting, 1, []replication.Rule{{K: 1, Voters: []replication.Voter{}}}
	for range 5 {
		w.write()
	}
	w.record = old.Encode()
	w.version++
	w.cluster.Cut("orders-1", operatorA)
	w.cluster.Cut("orders-2", operatorA)
	w.run(5 * time.Second)
	if r := w.rec(); r.Epoch != 1 {
		t.Fatalf("failed over to epoch %d by an old record, although the leader is heard", r.Epoch)
	}
	w.cluster.HealAll()
	w.untilState(decide.Stable)
	if r := w.rec(); r.Epoch != 1 || len(r.Rules[0].Voters) != 2 {
		t.Fatalf("record %+v", r)
	}
	w.write()
}

// TestRecordRestoredToOlderRulesWhileTheLeaderIsCutOff (simulation, seed 1820): according to the older copy nothing was ever
// acknowledged in the epoch. The one member that answers is no voter in the copy and no longer hears any leader, but it has
// heard of the rules since.
func TestRecordRestoredToOlderRulesWhileTheLeaderIsCutOff(t *testing.T) {
	w := newWorld(t, 3, 1)
	w.until("a record", func() bool { return w.record != "" })
	w.untilState(decide.Stable)
	old := w.rec()
	old.Phase, old.ConfigVersion, old.Rules = decide.PhasePromoting, 1, []replication.Rule{{K: 1, Voters: []replication.Voter{}}}
	w.write() // orders-3 hears of it
	w.cluster.Cut("orders-1", "orders-3")
	w.cluster.Cut("orders-1", operatorA)
	w.cluster.Cut("orders-2", operatorA)
	for range 5 {
		w.write() // acknowledged by orders-1 and orders-2
	}
	w.record = old.Encode()
	w.version++
	w.run(20 * time.Second)
	if leader := w.cluster.Writable(); leader != "orders-1" {
		t.Fatalf("%q takes writes", leader)
	}
	if r := w.rec(); r.Phase != decide.PhasePromoting || r.Epoch != 1 {
		t.Fatalf("an old record was acted on: %+v", r)
	}
	w.cluster.HealAll()
	w.untilState(decide.Stable)
	w.write()
}

// Members are added only while a leader answers: if it turned out that the record was lost, new and empty members would be
// waited for like ones that have lost everything. (Simulation, seed 10570.)
func TestNoMembersAreMadeWithoutALeader(t *testing.T) {
	for name, sleeps := range map[string]bool{"as it was made": false, "once it has slept, which its record tells until the next change of leader": true} {
		t.Run(name, func(t *testing.T) {
			w := started(t, 2, 1)
			if sleeps {
				w.store.Spec.Hibernated = true
				w.untilState(decide.Hibernated)
				w.store.Spec.Hibernated = false
				w.untilState(decide.Stable, w.kubelet)
			}
			old, epoch := w.record, w.rec().Epoch
			later := func() bool { return w.rec().Epoch > epoch && w.rec().Phase == decide.PhaseStable }
			w.cluster.Crash("orders-1")
			w.until("another epoch", later, w.kubelet)
			w.untilState(decide.Stable)
			epoch = w.rec().Epoch
			w.cluster.Cut("orders-1", operatorA)
			w.cluster.Cut("orders-2", operatorA)
			w.record, w.version = old, w.version+1
			w.store.Spec.Replicas = new(int32(4))
			w.run(10 * time.Second)
			if len(w.pods) != 2 {
				t.Fatalf("%d pods", len(w.pods))
			}
			w.cluster.Crash(w.cluster.Writable()) // so that no leader's record can be taken up again
			w.cluster.HealAll()
			w.until("a leader", later, w.kubelet)
			w.write()
			w.until("four members", func() bool { return len(w.pods) == 4 }, w.kubelet)
		})
	}
}
