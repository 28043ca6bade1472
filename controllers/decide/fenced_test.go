package decide_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
)

// takesWrites fails unless a write is acknowledged within five seconds, with the given number of followers.
func (w *world) takesWrites(number int32) {
	w.t.Helper()
	before := w.cluster.Acknowledged()
	w.run(5*time.Second, func() { w.cluster.Write(w.cluster.Writable()) })
	if got := w.store.Status.Replication.Number; w.cluster.Acknowledged() == before || got != number {
		w.t.Fatalf("%d writes are acknowledged, with %d followers; %v: %s\nrecord: %s\n%v\n%s", w.cluster.Acknowledged()-before, got,
			w.ops[0].plan.State, w.ops[0].plan.Message, w.record, w.store.Status.Conditions, w.tail())
	}
}

// TestTakenOutMembersVoteWhereOthersAreTooFew: a member whose pod is fenced follows and holds everything, so writes must
// neither wait although it is there nor be acknowledged with fewer followers. The same holds for a member that is to be
// reseeded, as long as its data is not about to go.
func TestTakenOutMembersVoteWhereOthersAreTooFew(t *testing.T) {
	fence := func(w *world, name string) { w.pods[name].Fenced = true; w.run(30 * time.Second) }
	for name, tc := range map[string]struct {
		replicas int
		happens  func(*world)
		leader   string
	}{
		"the leader of two":                     {2, func(w *world) { w.pods["orders-1"].Fenced = true }, "orders-2"},
		"a follower, and the leader is lost":    {3, func(w *world) { fence(w, "orders-3"); w.cluster.Vanish("orders-1") }, "orders-2"},
		"a follower, and the other one is lost": {3, func(w *world) { fence(w, "orders-3"); w.cluster.Vanish("orders-2") }, "orders-1"},
		"a follower, and the leader restarts": {2, func(w *world) {
			fence(w, "orders-2")
			w.cluster.Crash("orders-1")
			w.kubelet()
		}, "orders-1"},
		"a follower that was away": {2, func(w *world) {
			w.cluster.Vanish("orders-2")
			w.run(30 * time.Second)
			w.pods["orders-2"].Fenced = true
			w.kubelet()
		}, "orders-1"},
		"one to be reseeded, while nobody leads": {3, func(w *world) {
			w.cluster.Vanish("orders-1")
			w.run(300 * time.Millisecond)
			w.pods["orders-3"].Reseed = true
		}, "orders-2"},
		"one to be reseeded, and the elected one loses its only voter": {4, func(w *world) {
			w.pods["orders-3"].Reseed, w.pods["orders-4"].Fenced = true, true
			w.cluster.Vanish("orders-1")
			w.stepTo(decide.PhasePromoting)
			w.cluster.Vanish("orders-4")
		}, "orders-2"},
	} {
		for _, durability := range []v1alpha1.Durability{v1alpha1.DurabilityRequired, v1alpha1.DurabilityPreferred} {
			t.Run(fmt.Sprintf("%s, %s", name, durability), func(t *testing.T) {
				w := started(t, tc.replicas, 1, func(s *v1alpha1.ReplicatedStoreSpec) { s.Replication.Synchronous.Durability = durability })
				w.run(time.Second)
				tc.happens(w)
				w.run(time.Minute)
				w.takesWrites(1)
				if got := w.rec().Leader.Member; got != tc.leader {
					t.Errorf("%s leads", got)
				}
			})
		}
	}
}

// TestTakenOutMembersVoteNoMoreOnceOthersDo: their votes are a last resort, and end without anybody being asked again.
func TestTakenOutMembersVoteNoMoreOnceOthersDo(t *testing.T) {
	w := started(t, 3, 1)
	w.pods["orders-3"].Fenced = true
	w.cluster.Vanish("orders-2")
	w.run(30 * time.Second)
	if _, votes := w.rec().Voter("orders-2"); votes {
		t.Errorf("one that is gone for long votes beside one that is fenced: %s", w.record)
	}
	w.takesWrites(1)
	w.kubelet()
	w.untilState(decide.Stable)
	if _, votes := w.rec().Voter("orders-3"); votes {
		t.Errorf("it votes although another one does: %s", w.record)
	}
	w.takesWrites(1)
}

// TestAReseedThatWasBegunEndsBesideAnElectedLeader: what a member holds whose claim is deleted is about to go, so it votes
// only once it has come back, and a leader that waits for a voter lets it come back.
func TestAReseedThatWasBegunEndsBesideAnElectedLeader(t *testing.T) {
	w := started(t, 3, 1)
	w.run(time.Second)
	w.beginReseed("orders-3")
	w.cluster.Vanish("orders-1")
	votes := false
	w.until("it is made anew", func() bool { return !w.claims["orders-3"].Deleting }, func() {
		_, v := w.rec().Voter("orders-3")
		votes = votes || v && w.claims["orders-3"].Deleting
	})
	if votes {
		t.Error("it votes with data that is about to go")
	}
	w.takesWrites(1)
}

// TestAFencedMemberIsNoSuccessor: if only a fenced member would surely hold what was acknowledged, people are told while
// there still is a leader.
func TestAFencedMemberIsNoSuccessor(t *testing.T) {
	for name, tc := range map[string]struct {
		replicas int
		fenced   []string
		told     bool
	}{
		"the only follower": {2, []string{"orders-2"}, true},
		"every follower":    {3, []string{"orders-2", "orders-3"}, true},
		"one of two":        {3, []string{"orders-2"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := started(t, tc.replicas, 1)
			for _, f := range tc.fenced {
				w.pods[f].Fenced = true
			}
			w.run(10 * time.Second)
			c := w.condition(v1alpha1.ConditionDegraded)
			if got := c.Reason == v1alpha1.ReasonNoFailoverTarget && strings.Contains(c.Message, "only "+strings.Join(tc.fenced, ", ")+" would be sure"); got != tc.told {
				t.Errorf("%s: %s", c.Reason, c.Message)
			}
			w.pods["orders-2"].Fenced = false
			w.run(30 * time.Second)
			if c := w.condition(v1alpha1.ConditionDegraded); c.Status != "False" {
				t.Errorf("one is not fenced any more: %s: %s", c.Reason, c.Message)
			}
		})
	}
}

// beginReseed stops between the deletion of the member's claim and that of its pod.
func (w *world) beginReseed(name string) {
	w.t.Helper()
	w.pods[name].Reseed = true
	w.stepUntil(func() bool { return w.claims[name].Deleting }, w.anotherPass)
}

// TestAFencedMemberBlocksNoElection: a fenced member must not block an election by entries that it alone has on disk and
// that were never acknowledged, nor slow down a handover away from it.
func TestAFencedMemberBlocksNoElection(t *testing.T) {
	t.Run("Automatic", func(t *testing.T) {
		w := started(t, 3, 1)
		w.writes("orders-1", 1)
		w.cluster.Crash("orders-1")
		w.pods["orders-1"].Fenced = true
		w.kubelet()
		w.ledByAnother("orders-1")
		if r := w.rec(); r.WritesLost != v1alpha1.LostNone {
			t.Errorf("lost %s", r.WritesLost)
		}
		w.takesWrites(1)
	})
	t.Run("Manual, as advised", func(t *testing.T) {
		w := started(t, 3, 1, manual)
		w.writes("orders-1", 1)
		w.cluster.Crash("orders-1")
		w.pods["orders-1"].Fenced = true
		w.kubelet()
		w.untilBlocked(v1alpha1.ReasonManualMode)
		w.ask("orders-2")
		if got := w.untilAnswered(); got.Result != v1alpha1.ResultSucceeded {
			t.Errorf("%+v", got)
		}
	})
	t.Run("where it is needed it does", func(t *testing.T) {
		w := started(t, 3, 1)
		w.writes("orders-1", 1)
		w.cluster.Vanish("orders-3")
		w.cluster.Crash("orders-1")
		w.pods["orders-1"].Fenced = true
		w.cluster.Start("orders-1", "orders-1")
		w.untilBlocked(v1alpha1.ReasonTargetUnfit)
	})
	t.Run("it hands over, and votes at once", func(t *testing.T) {
		w := started(t, 2, 1)
		w.pods["orders-1"].Fenced = true
		w.stepTo(decide.PhasePromoting)
		if r := w.rec(); r.GrantWaitMillis != 0 || len(r.Rules[0].Voters) != 1 {
			t.Errorf("record %s", w.record)
		}
	})
}

// TestAMemberIsNotElectedWhileItIsReseeded checks that such a member is not elected if another one holds as much: its volume
// goes with its pod.
func TestAMemberIsNotElectedWhileItIsReseeded(t *testing.T) {
	for name, begin := range map[string]func(*world){
		"its claim is deleted for it": func(w *world) { w.beginReseed("orders-2") },
		"it is asked for":             func(w *world) { w.pods["orders-2"].Reseed = true },
		"its claim was deleted":       func(w *world) { w.lose("orders-2") },
	} {
		t.Run(name, func(t *testing.T) {
			w := started(t, 4, 1)
			w.run(time.Second)
			begin(w)
			w.cluster.Vanish("orders-1")
			w.ledByAnother("orders-1")
			if got := w.rec().Leader.Member; got == "orders-2" {
				t.Errorf("%s leads", got)
			}
		})
	}
}
