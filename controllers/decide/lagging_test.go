package decide_test

import (
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/controllers/decide"
)

// lag makes a member fall behind: it answers, and stores nothing new, but reports no problem.
func (w *world) lag(name string) { w.cluster.Hung = map[string]string{name: ""} }

// TestWritesDoNotComeToDependOnAVoterThatLags takes away the vote of the one follower that keeps up. It stays a voter until the other one
// has caught up, because each write would wait for the other one's whole backlog.
func TestWritesDoNotComeToDependOnAVoterThatLags(t *testing.T) {
	for name, change := range map[string]func(*world){
		"it is to be removed": func(w *world) { w.store.Spec.Replicas = new(int32(2)) },
		"it is fenced":        func(w *world) { w.pods["orders-3"].Fenced = true },
		"it is reseeded":      func(w *world) { w.pods["orders-3"].Reseed = true },
	} {
		t.Run(name, func(t *testing.T) {
			w := started(t, 3, 1)
			w.lag("orders-2")
			w.run(20*time.Second, w.writing)
			change(w)
			w.run(2*time.Second, w.writing)
			if n := w.acknowledged(10 * time.Second); n == 0 {
				t.Fatalf("no write is acknowledged: %+v; %v: %s", w.rec().Rules, w.ops[0].plan.State, w.ops[0].plan.Message)
			}
			refused := name == "it is reseeded"
			if w.pods["orders-3"].Reseed {
				t.Error("the request is not answered")
			}
			w.cluster.Hung = nil
			w.until("its vote is gone, unless the request was refused", func() bool {
				return len(w.rec().Rules) == 1 && (len(w.rec().Rules[0].Voters) == 2) == refused
			}, w.writing)
		})
	}
}

// TestDurabilityIsRaisedOnceTheFollowerHasCaughtUp brings a follower back that is far behind, with durability Preferred.
func TestDurabilityIsRaisedOnceTheFollowerHasCaughtUp(t *testing.T) {
	w := started(t, 2, 1, preferred)
	w.cluster.Cut("orders-1", "orders-2")
	w.until("writes go on without it", func() bool { return w.rec().Rules[0].K == 0 }, w.writing)
	w.lag("orders-2")
	w.cluster.HealAll()
	w.run(2*time.Second, w.writing)
	if n := w.acknowledged(10 * time.Second); n == 0 || w.rec().Rules[0].K != 0 {
		t.Fatalf("%d writes are acknowledged: %+v", n, w.rec().Rules)
	}
	w.cluster.Hung = nil
	w.until("it counts again", func() bool { return w.rec().Rules[0].K == 1 && w.ops[0].plan.State == decide.Stable }, w.writing)
}
