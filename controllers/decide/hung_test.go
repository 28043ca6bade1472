package decide_test

import (
	"strings"
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// hang makes fsyncs of a member's disk never return, which the member reports. It still answers the leader's heartbeats.
func (w *world) hang(name string) { w.cluster.Hung = map[string]string{name: wire.ProblemDiskStuck} }

// writing keeps offering writes, whether they are acknowledged or not.
func (w *world) writing() { w.cluster.Write(w.cluster.Writable()) }

// acknowledged returns how many writes are acknowledged within d.
func (w *world) acknowledged(d time.Duration) int {
	before := w.cluster.Acknowledged()
	w.run(d, w.writing)
	return w.cluster.Acknowledged() - before
}

// TestAVoterWhoseDiskHangsLeaves: such a voter answers but holds nothing new, so the next failure must not need it.
func TestAVoterWhoseDiskHangsLeaves(t *testing.T) {
	w := started(t, 3, 1)
	w.hang("orders-3")
	w.run(10*time.Second, w.writing)
	if len(w.rec().Rules[0].Voters) != 2 {
		t.Fatal("no patience with a disk that is slow")
	}
	w.run(20*time.Second, w.writing)
	if r := w.rec().Rules; len(r) != 1 || len(r[0].Voters) != 1 || r[0].Voters[0].Member != "orders-2" {
		t.Fatalf("the voters are %+v\n%s", r, w.tail())
	}
	w.cluster.Vanish("orders-1")
	w.until("another leads", func() bool { return w.rec().Leader.Member == "orders-2" })
	w.cluster.Start("orders-1", "orders-1")
	w.until("writes go on", func() bool { w.writing(); return w.condition(v1alpha1.ConditionAvailable).Status == "True" })
	w.cluster.Hung = nil
	w.until("it votes again", func() bool { return w.ops[0].plan.State == decide.Stable && len(w.rec().Rules[0].Voters) == 2 })
}

// TestAnIdleVoterWhoseDiskHangsStaysAway: while there is nothing to write, the leader cannot tell it from the others.
func TestAnIdleVoterWhoseDiskHangsStaysAway(t *testing.T) {
	w := started(t, 3, 1)
	w.hang("orders-3")
	w.run(20 * time.Second)
	version := w.rec().ConfigVersion
	if w.run(time.Minute); w.rec().ConfigVersion != version || len(w.rec().Rules[0].Voters) != 1 {
		t.Fatalf("%+v, version %d before\n%s", w.rec(), version, w.tail())
	}
}

// TestNoFailoverOnTheWordOfAHungDisk checks that a member that would not promise is not counted on before an epoch is given
// up for it.
func TestNoFailoverOnTheWordOfAHungDisk(t *testing.T) {
	w := started(t, 3, 1)
	w.hang("orders-3")
	w.cluster.Vanish("orders-1")
	w.untilState(decide.Blocked)
	if r := w.rec(); r.Phase != decide.PhaseStable || w.ops[0].plan.Reason != v1alpha1.ReasonFenceQuorumMissing {
		t.Fatalf("%s: %s", r.Phase, w.ops[0].plan.Message)
	}
	w.store.Annotations[v1alpha1.AnnotationFailover] = "orders-3"
	w.run(time.Second)
	if o := w.store.Status.FailoverRequest; o == nil || !strings.Contains(o.Message, "disk") {
		t.Fatalf("%+v", o)
	}
	w.cluster.Start("orders-1", "orders-1")
	w.until("it goes on", func() bool { return w.rec().Phase == decide.PhaseStable && w.cluster.Writable() != "" })
}

// TestADiskThatHangsIsNoVoterOfWrites checks that writes that need such a voter are not acknowledged, that this is reported,
// and that the rule is weakened if that is allowed.
func TestADiskThatHangsIsNoVoterOfWrites(t *testing.T) {
	t.Run("Required", func(t *testing.T) {
		w := started(t, 2, 1)
		w.hang("orders-2")
		w.run(time.Second, w.writing)
		if c := w.condition(v1alpha1.ConditionAvailable); c.Reason != v1alpha1.ReasonVotersMissing {
			t.Errorf("Available is %s %s: %s", c.Status, c.Reason, c.Message)
		}
		if w.run(time.Minute, w.writing); w.rec().Rules[0].K != 1 {
			t.Errorf("%+v", w.rec().Rules)
		}
	})
	t.Run("Preferred", func(t *testing.T) {
		w := started(t, 2, 1, preferred)
		w.hang("orders-2")
		w.run(5*time.Second, w.writing)
		if n := w.acknowledged(time.Second); n == 0 {
			t.Fatalf("no write is acknowledged: %+v", w.rec().Rules)
		}
		w.cluster.Hung = nil
		w.until("it counts again", func() bool { return w.rec().Rules[0].K == 1 && w.ops[0].plan.State == decide.Stable })
	})
}

// TestRulesChangeBesideAHungDisk checks that a hung disk makes no change of the rules stop writes.
func TestRulesChangeBesideAHungDisk(t *testing.T) {
	for name, tc := range map[string]struct {
		number int32
		change func(*world)
	}{
		"fewer members": {1, func(w *world) { w.store.Spec.Replicas = new(int32(2)) }},
		"fewer members, and all were needed": {2, func(w *world) {
			w.store.Spec.Replicas, w.store.Spec.Replication.Synchronous.Number = new(int32(2)), new(int32(1))
		}},
		"more followers to ask": {1, func(w *world) { w.store.Spec.Replication.Synchronous.Number = new(int32(2)) }},
	} {
		t.Run(name, func(t *testing.T) {
			w := started(t, 3, tc.number)
			w.hang("orders-2")
			w.run(20*time.Second, w.writing)
			tc.change(w)
			w.run(20*time.Second, w.writing)
			if n := w.acknowledged(10 * time.Second); n == 0 {
				t.Fatalf("no write is acknowledged: %+v; %v: %s", w.rec().Rules, w.ops[0].plan.State, w.ops[0].plan.Message)
			}
			if *w.store.Spec.Replicas == 2 && w.podNames() != "orders-1 orders-3" {
				t.Error(w.podNames())
			}
		})
	}
	changing := func(t *testing.T) *world {
		w := started(t, 3, 1)
		w.hang("orders-2")
		w.cluster.Hung["orders-2"] = "" // it does not report it yet
		w.run(time.Second, w.writing)
		r := w.rec()
		r.Rules = append(r.Rules, replication.Rule{K: 2, Voters: r.Rules[0].Voters}) // it was caught up a moment before
		r.ConfigVersion++
		w.record = r.Encode()
		w.version++
		w.store.Spec.Replication.Synchronous.Number = new(int32(2))
		w.run(time.Second, w.writing)
		if len(w.rec().Rules) != 2 {
			t.Fatalf("the rules are %+v", w.rec().Rules)
		}
		return w
	}
	for name, next := range map[string]func(*world){
		"it begins to hang in between, and tells":       func(w *world) { w.hang("orders-2"); w.run(time.Second, w.writing) },
		"it begins to hang in between, and never tells": func(w *world) { w.run(6*time.Second, w.writing) },
		"a member gets nowhere, and the spec is put back": func(w *world) {
			w.store.Spec.Replication.Synchronous.Number = new(int32(1))
			w.run(time.Second, w.writing)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := changing(t)
			next(w)
			if n := w.acknowledged(time.Second); n == 0 || len(w.rec().Rules) != 1 {
				t.Fatalf("%d writes are acknowledged: %+v", n, w.rec().Rules)
			}
		})
	}
}
