package decide_test

import (
	"strings"
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
)

// stick makes a member lose its pod while its claim is being deleted but does not go.
func (w *world) stick(name string) {
	w.claims[name].Deleting, w.claims[name].Finalizers = true, []string{"snapshots.example/in-use"}
	w.cluster.Vanish(name)
	delete(w.pods, name)
}

// TestStuckClaim checks that a claim that does not go keeps its ordinal, and that the store goes on with another member.
func TestStuckClaim(t *testing.T) {
	for name, tc := range map[string]struct {
		replicas int
		want     string
	}{
		"of three":                              {3, "orders-1 orders-3 orders-4"},
		"of two, and no write without a second": {2, "orders-1 orders-3"},
	} {
		t.Run(name, func(t *testing.T) {
			w := started(t, tc.replicas, 1)
			w.stick("orders-2")
			w.run(10 * time.Second)
			if strings.Contains(w.podNames(), "orders-4") || tc.replicas == 2 && w.podNames() != "orders-1" {
				t.Fatalf("no patience with the claim: %s", w.podNames())
			}
			w.until("another one stands in", func() bool {
				r := w.rec()
				return w.podNames() == tc.want && len(r.Rules) == 1 && len(r.Rules[0].Voters) == tc.replicas-1
			})
			w.write()
			c := w.condition(v1alpha1.ConditionDegraded)
			if c.Reason != v1alpha1.ReasonClaimStuck || !strings.Contains(c.Message, "snapshots.example/in-use") || !strings.Contains(c.Message, "orders-2") {
				t.Fatalf("%s: %s", c.Reason, c.Message)
			}
			delete(w.claims, "orders-2")
			w.until("nothing is missing", func() bool {
				return w.condition(v1alpha1.ConditionDegraded).Status == "False" && w.podNames() == tc.want && w.ops[0].plan.State == decide.Stable
			})
		})
	}
	t.Run("scaling up takes another ordinal", func(t *testing.T) {
		w := started(t, 3, 1)
		w.store.Spec.Replicas = new(int32(2))
		w.until("two", func() bool { return len(w.pods) == 2 })
		w.claims["orders-3"].Deleting, w.claims["orders-3"].Finalizers = true, []string{"x"}
		w.store.Spec.Replicas = new(int32(3))
		w.until("three", func() bool { return w.podNames() == "orders-1 orders-2 orders-4" })
	})
	t.Run("a new store does not wait for it", func(t *testing.T) {
		w := newWorld(t, 3, 1)
		w.claims["orders-1"] = &decide.Claim{UID: "old", Deleting: true, Finalizers: []string{"x"}}
		w.untilState(decide.Stable)
		if w.podNames() != "orders-2 orders-3 orders-4" {
			t.Fatal(w.podNames())
		}
	})
}

// TestAPodWhoseClaimIsGoneIsMadeAnew: the pod waits for a node; a claim that only such pods use goes at once when a person
// deletes it.
func TestAPodWhoseClaimIsGoneIsMadeAnew(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*world)
		anew   bool
	}{
		"it waits for a node":  {func(*world) {}, true},
		"it has a node":        {func(w *world) { w.pods["orders-3"].Node = "a" }, false},
		"its claim comes late": {func(w *world) { w.claims["orders-3"] = &decide.Claim{UID: "another"} }, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := started(t, 3, 1)
			w.cluster.Vanish("orders-3")
			w.cluster.Wipe("orders-3")
			w.pods["orders-3"].Ready, w.pods["orders-3"].Trouble = false, "Unschedulable: no node"
			delete(w.claims, "orders-3")
			before := w.pods["orders-3"].UID
			w.run(time.Second)
			if w.pods["orders-3"].UID != before {
				t.Fatal("no patience: the claim may be seen late")
			}
			tc.change(w)
			w.run(20 * time.Second)
			if anew := w.pods["orders-3"].UID != before; anew != tc.anew {
				t.Fatalf("made anew: %t\n%s", anew, w.tail())
			}
			if tc.anew && (w.claims["orders-3"] == nil || w.ops[0].plan.State != decide.Stable) {
				t.Fatalf("%v: %s", w.ops[0].plan.State, w.ops[0].plan.Message)
			}
		})
	}
	t.Run("by the newest list", func(t *testing.T) {
		w := started(t, 3, 1)
		delete(w.claims, "orders-3")
		op := w.ops[0]
		op.observe()
		op.seen.Cached.Members = true
		op.seen.Held["no claim for "+string(w.pods["orders-3"].UID)] = time.Minute
		if op.decide(); !op.plan.Reread.Members {
			t.Fatalf("%v rests on a cache", op.plan.Actions)
		}
	})
}

// TestFailingHandoversRest: a failed handover held writes in vain, so the next one waits, longer each time.
func TestFailingHandoversRest(t *testing.T) {
	for name, begin := range map[string]func(*world){
		"of an update":       func(w *world) { w.hash = "v2" },
		"of a fenced leader": func(w *world) { w.pods["orders-1"].Fenced = true },
	} {
		t.Run(name, func(t *testing.T) {
			w := started(t, 3, 1)
			w.ops[0].refuse = true
			begin(w)
			w.until("a handover fails", func() bool { return w.ops[0].seen.Handovers.InARow > 0 })
			w.run(3 * time.Minute)
			if n := w.ops[0].hands; n > 8 {
				t.Fatalf("%d handovers in three minutes", n)
			}
			if r := w.ops[0].plan; r.Reason != v1alpha1.ReasonHandoverFailed || !strings.Contains(r.Message, "next attempt in") {
				t.Fatalf("%v (%s): %s", r.State, r.Reason, r.Message)
			}
			w.ops[0].refuse = false
			w.run(3 * time.Minute)
			w.until("it goes on by itself", func() bool { return w.rec().Leader.Member != "orders-1" && w.rec().Phase == decide.PhaseStable })
		})
	}
}
