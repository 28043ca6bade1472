package decide_test

import (
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
	"github.com/replicatedstore/replicatedstore/controllers/nodeclient/fake"
	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// lagged is a store in which one follower is far behind when the other one, which kept up, is lost.
func lagged(t *testing.T, changes ...func(*v1alpha1.ReplicatedStoreSpec)) *world {
	w := started(t, 3, 1, changes...)
	w.lag("orders-2")
	if n := w.acknowledged(10 * time.Second); n == 0 {
		t.Fatal("no write is acknowledged beside the other follower")
	}
	w.cluster.Vanish("orders-3")
	return w
}

// TestWritesThatWaitForAVoterThatLagsAreTold: the leader hears as many voters as writes need, and acknowledges nothing.
func TestWritesThatWaitForAVoterThatLagsAreTold(t *testing.T) {
	for name, each := range map[string]func(*world) func(){
		"under writes": func(w *world) func() { return w.writing },
		"idle":         func(*world) func() { return func() {} },
		"the operator misses looks": func(w *world) func() {
			n := 0
			return func() {
				w.cluster.Heal(fake.Operator+"a", "orders-1")
				if n++; n%7 == 0 {
					w.cluster.Cut(fake.Operator+"a", "orders-1")
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := lagged(t)
			available := func() (string, string) {
				c := w.condition(v1alpha1.ConditionAvailable)
				return c.Reason, c.Message
			}
			w.run(4*time.Second, each(w))
			if reason, message := available(); reason != v1alpha1.ReasonWritable {
				t.Errorf("after 4 s Available is %s: %s", reason, message)
			}
			w.run(5*time.Second, each(w))
			w.cluster.Heal(fake.Operator+"a", "orders-1")
			w.run(500 * time.Millisecond)
			reason, message := available()
			for _, words := range []string{"orders-2 is behind", "orders-3 does not answer", "synchronous.number to 0"} {
				if reason != v1alpha1.ReasonVotersLagging || !strings.Contains(message, words) {
					t.Errorf("Available is %s, and %q is not said: %s", reason, words, message)
				}
			}
			if w.run(20*time.Second, w.writing); w.rec().Rules[0].K != 1 {
				t.Errorf("%+v", w.rec().Rules)
			}
			w.cluster.Hung = nil
			w.run(time.Second, w.writing)
			if reason, message := available(); reason != v1alpha1.ReasonWritable || w.acknowledged(time.Second) == 0 {
				t.Errorf("caught up, and Available is %s: %s", reason, message)
			}
		})
	}
}

// TestWritesGoOnWithoutAVoterThatLags: so they do with durability Preferred, after a while and whether or not there was a
// failover, until the voter has caught up.
func TestWritesGoOnWithoutAVoterThatLags(t *testing.T) {
	for name, tc := range map[string]struct {
		lose   string
		reason string
	}{
		"under the same leader": {"orders-3", v1alpha1.ReasonVotersLagging},
		"under the next leader": {"orders-1", v1alpha1.ReasonLeaderNotWritable},
	} {
		t.Run(name, func(t *testing.T) {
			w := started(t, 3, 1, preferred)
			w.cluster.Cut("orders-1", "orders-2")
			w.run(10*time.Second, w.writing)
			w.cluster.Vanish(tc.lose)
			w.until("it is led", func() bool { return tc.lose != w.rec().Leader.Member })
			w.cluster.HealAll()
			w.lag("orders-2") // it has promised, and is as far behind as before
			w.run(10*time.Second, w.writing)
			c := w.condition(v1alpha1.ConditionAvailable)
			if w.rec().Rules[0].K != 1 || c.Reason != tc.reason || !strings.Contains(c.Message, "orders-2 is behind") || !strings.Contains(c.Message, "Durability is Preferred") {
				t.Errorf("after 10 s %+v; Available is %s: %s", w.rec().Rules, c.Reason, c.Message)
			}
			w.run(7*time.Second, w.writing)
			if n := w.acknowledged(5 * time.Second); n == 0 || w.rec().Rules[0].K != 0 {
				t.Fatalf("%d writes are acknowledged: %+v; %v: %s", n, w.rec().Rules, w.ops[0].plan.State, w.ops[0].plan.Message)
			}
			w.tells(v1alpha1.ReasonDurabilityLowered)
			w.cluster.Hung = nil
			w.until("it counts again", func() bool { return len(w.rec().Rules) == 1 && w.rec().Rules[0].K == 1 }, w.writing)
		})
	}
}

// TestALeaderWithoutVotersTellsWhoIsMissing: nobody lags behind a leader that nobody follows.
func TestALeaderWithoutVotersTellsWhoIsMissing(t *testing.T) {
	restart := func(w *world) {
		w.cluster.Crash("orders-1")
		w.cluster.Start("orders-1", "orders-1")
	}
	for name, tc := range map[string]struct {
		lose func(*world)
		want string
	}{
		"it alone answered the fence": {func(w *world) {
			w.cluster.Vanish("orders-2")
			w.cluster.Vanish("orders-3")
			restart(w)
		}, "A write waits for 1 of the other members, but only 0 can acknowledge it so far; missing: orders-2 does not answer; orders-3 does not answer."},
		"its voter is lost after the fence": {func(w *world) {
			w.cluster.Vanish("orders-3")
			restart(w)
			w.stepTo(decide.PhasePromoting)
			w.cluster.Vanish("orders-2")
		}, "A write needs 1 of [orders-2], but only 0 of these answer; missing: orders-2 does not answer."},
	} {
		t.Run(name, func(t *testing.T) {
			w := started(t, 3, 1)
			tc.lose(w)
			w.run(15 * time.Second)
			c := w.condition(v1alpha1.ConditionAvailable)
			if w.rec().Leader.Member != "orders-1" || c.Reason != v1alpha1.ReasonLeaderNotWritable || !strings.Contains(c.Message, tc.want) ||
				!strings.Contains(c.Message, "Bring back as many as are needed") || strings.Contains(c.Message, "lag") {
				t.Errorf("record %s\nAvailable is %s: %s", w.record, c.Reason, c.Message)
			}
		})
	}
}

// TestVotersThatAreSlowAreNoStall: while anything is acknowledged, the store is available, and a moment's lag is not told.
func TestVotersThatAreSlowAreNoStall(t *testing.T) {
	for name, slow := range map[string]func(look int, s *wire.Status){
		"they never hold the newest writes": func(look int, s *wire.Status) { s.Commit += replication.Position(look / 20) },
		"they lag for moments": func(look int, s *wire.Status) {
			if look%40 == 0 {
				caughtUp(s, true)
			}
		},
		"nothing": nil,
	} {
		t.Run(name, func(t *testing.T) {
			w := started(t, 3, 1, preferred)
			op, stalls := w.ops[0], false
			for look := range 300 {
				w.cluster.Settle()
				w.renew()
				op.observe()
				s := op.seen.Members["orders-1"].Probe.Status
				caughtUp(s, false)
				if slow != nil {
					slow(look, s)
				}
				op.decide()
				stalls = stalls || !meta.IsStatusConditionTrue(op.plan.Status.Conditions, v1alpha1.ConditionAvailable)
				for _, a := range op.plan.Actions {
					if _, ok := a.(decide.WriteRecord); ok && slow != nil {
						t.Fatalf("%v: %s", op.plan.State, op.plan.Message)
					}
				}
			}
			if stalls != (slow == nil) {
				t.Errorf("told that writes wait: %t", stalls)
			}
		})
	}
}

// caughtUp makes a leader say of all its followers that they have, or have not.
func caughtUp(leader *wire.Status, yes bool) {
	for name, f := range leader.Followers {
		f.CaughtUp = yes
		leader.Followers[name] = f
	}
}
