package decide_test

import (
	"strings"
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
	"github.com/replicatedstore/replicatedstore/controllers/nodeclient/fake"
)

// unreached is a store whose leader answers everybody but the operator.
func unreached(t *testing.T, synchronous int32, changes ...func(*v1alpha1.ReplicatedStoreSpec)) *world {
	w := started(t, 3, synchronous, changes...)
	w.cluster.Cut(fake.Operator+w.ops[0].name, "orders-1")
	w.run(10 * time.Second)
	if r := w.rec(); r.Epoch != 1 || r.Phase != decide.PhaseStable {
		t.Fatalf("record %+v", r)
	}
	return w
}

// A person may replace a leader that only the operator does not reach: nobody else would ever do so.
func TestRequestToReplaceAnUnreachedLeader(t *testing.T) {
	for name, change := range map[string]func(*v1alpha1.ReplicatedStoreSpec){"Automatic": func(*v1alpha1.ReplicatedStoreSpec) {}, "Manual": manual} {
		for _, to := range []string{"orders-3", v1alpha1.FailoverToAny} {
			t.Run(name+" "+to, func(t *testing.T) {
				w := unreached(t, 1, change)
				w.write()
				w.ask(to)
				if got := w.untilAnswered(); got.Result != v1alpha1.ResultSucceeded {
					t.Fatalf("%+v", got)
				}
				r := w.rec()
				if r.Leader.Member == "orders-1" || to != v1alpha1.FailoverToAny && r.Leader.Member != to {
					t.Errorf("record %+v", r)
				}
				w.write()
			})
		}
	}
}

// Followers take writes until each of them is fenced, so the one asked for may come to hold less than another. In mode Manual, too,
// a store that took writes must not be left without a leader for that.
func TestRequestWhileTheUnreachedLeaderWrites(t *testing.T) {
	for name, change := range map[string]func(*v1alpha1.ReplicatedStoreSpec){"Automatic": func(*v1alpha1.ReplicatedStoreSpec) {}, "Manual": manual} {
		t.Run(name, func(t *testing.T) {
			w := unreached(t, 1, change)
			w.ask("orders-2")
			w.stepTo(decide.PhaseFencing)
			w.cluster.Cut("orders-1", "orders-2")
			w.write()
			if got := w.untilAnswered(); got.Result != v1alpha1.ResultFailed || w.rec().Leader.Member != "orders-3" {
				t.Fatalf("%+v; %+v", got, w.rec())
			}
			w.until("orders-3 leads", func() bool { return w.rec().Phase == decide.PhaseStable })
			w.write()
		})
	}
}

// An operator may reach the leader again just before it fences the members. The leader then has the longest log, and is not to be
// elected for that.
func TestRequestToReplaceALeaderThatIsReachedAgain(t *testing.T) {
	// fenced: the leader, which has written more than it replicated, answered the fence.
	fenced := func(t *testing.T, members int, to string, before func(*world)) *world {
		w := started(t, members, 1)
		op := w.ops[0]
		w.cluster.Cut(fake.Operator+op.name, "orders-1")
		w.run(10 * time.Second)
		w.ask(to)
		w.stepTo(decide.PhaseFencing)
		w.cluster.HealAll()
		before(w)
		if !w.cluster.Write("orders-1") {
			t.Fatal("it takes no write")
		}
		w.cluster.Sync("orders-1")
		op.observe()
		op.decide()
		if err := op.act(-1); err != nil || op.pass.Fences["orders-1"].Last != w.cluster.Last("orders-1") {
			t.Fatalf("%v: %+v", err, op.pass.Fences)
		}
		return w
	}
	nothing := func(*world) {}
	for _, to := range []string{"orders-3", v1alpha1.FailoverToAny} {
		t.Run("asked for "+to, func(t *testing.T) {
			w := fenced(t, 3, to, nothing)
			w.stepTo(decide.PhasePromoting)
			if r := w.rec(); len(r.Rules[0].Voters) != 2 {
				t.Errorf("the former leader is no voter: %+v", r.Rules)
			}
			if got := w.untilAnswered(); got.Result != v1alpha1.ResultSucceeded {
				t.Fatalf("%+v", got)
			}
			if r := w.rec(); r.Leader.Member == "orders-1" || to != v1alpha1.FailoverToAny && r.Leader.Member != to {
				t.Errorf("record %+v", r)
			}
			w.write()
		})
		t.Run("its answer is needed, asked for "+to, func(t *testing.T) {
			w := fenced(t, 3, to, func(w *world) { w.cluster.Vanish("orders-3") })
			if got := w.untilAnswered(); got.Result != v1alpha1.ResultFailed || w.rec().Leader.Member != "orders-1" || !strings.Contains(got.Message, "leads epoch 2 again") {
				t.Fatalf("%+v; %+v", got, w.rec())
			}
		})
	}
	t.Run("the one elected proves useless", func(t *testing.T) {
		w := fenced(t, 2, v1alpha1.FailoverToAny, nothing)
		w.stepTo(decide.PhasePromoting)
		w.lag("orders-2")
		w.until("another is elected", func() bool { return w.rec().Epoch > 2 })
		w.cluster.Hung = nil
		w.until("it leads", func() bool { return w.rec().Phase == decide.PhaseStable && w.rec().Leader.Member == "orders-1" })
		w.write()
	})
}

func TestRequestForTheUnreachedLeader(t *testing.T) {
	w := unreached(t, 1)
	w.ask("orders-1")
	if got := w.untilAnswered(); got.Result != v1alpha1.ResultRefused || !strings.Contains(got.Message, "does not answer") || w.rec().Epoch != 1 {
		t.Fatalf("%+v, epoch %d", got, w.rec().Epoch)
	}
}

// Without voters only the Lease protects what the leader acknowledges, and it renews that.
func TestRequestToReplaceAnUnreachedLeaderWithoutVoters(t *testing.T) {
	w := unreached(t, 0)
	w.ask("orders-3")
	w.run(5 * time.Second)
	c := w.condition(v1alpha1.ConditionFailoverBlocked)
	if w.rec().Epoch != 1 || c.Status != "True" {
		t.Fatalf("epoch %d; FailoverBlocked is %s %s: %s", w.rec().Epoch, c.Status, c.Reason, c.Message)
	}
	t.Log(c.Message)
	w.cluster.HealAll()
	if got := w.untilAnswered(); got.Result != v1alpha1.ResultSucceeded || w.rec().Leader.Member != "orders-3" {
		t.Fatalf("%+v", got)
	}
}

// The pod of a member whose kubelet died cannot be deleted, although the member still answers.
func TestMemberWithoutKubelet(t *testing.T) {
	w := started(t, 3, 1)
	p := w.pods["orders-3"]
	p.Deleting, p.NodeTrouble = true, "its node worker-2 is not ready"
	w.run(2 * time.Second)
	w.tells(v1alpha1.ReasonMemberMissing, "orders-3 answers, but its pod is being deleted and stays: its node worker-2 is not ready")
}

// What followers hold grows while they hear the leader, so one that is a little behind is not refused for that. In mode Manual
// nobody else may lead, so it must not begin.
func TestRequestForAMemberBehindAnother(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*v1alpha1.ReplicatedStoreSpec)
		result v1alpha1.FailoverResult
		leader string
	}{
		"Automatic": {func(*v1alpha1.ReplicatedStoreSpec) {}, v1alpha1.ResultFailed, "orders-2"},
		"Manual":    {manual, v1alpha1.ResultRefused, "orders-1"},
	} {
		t.Run(name, func(t *testing.T) {
			w := unreached(t, 1, tc.change)
			w.cluster.Cut("orders-1", "orders-3")
			w.write()
			w.run(time.Second)
			w.ask("orders-3")
			if got := w.untilAnswered(); got.Result != tc.result || w.rec().Leader.Member != tc.leader {
				t.Fatalf("%+v; %+v", got, w.rec())
			}
		})
	}
}

// An operator that reaches nobody knows nothing of the member asked for, and leaves the request to one that does.
func TestRequestToAnOperatorThatReachesNobody(t *testing.T) {
	w := started(t, 3, 1)
	for _, m := range w.cluster.Names() {
		w.cluster.Cut(fake.Operator+w.ops[0].name, m)
	}
	w.run(3 * time.Second)
	w.ask("orders-3")
	w.run(3 * time.Second)
	if w.rec().Epoch != 1 || w.store.Status.FailoverRequest != nil || w.store.Annotations[v1alpha1.AnnotationFailover] == "" {
		t.Fatalf("epoch %d, answered %+v", w.rec().Epoch, w.store.Status.FailoverRequest)
	}
	w.cluster.HealAll()
	if got := w.untilAnswered(); got.Result != v1alpha1.ResultSucceeded {
		t.Fatalf("%+v", got)
	}
}
