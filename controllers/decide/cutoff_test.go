package decide_test

import (
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
)

// cutOff cuts a member off from others, but not from the operator, and gives it the longest log.
func (w *world) cutOff(name string, others ...string) {
	for _, o := range others {
		w.cluster.Cut(name, o)
	}
	for range 5 {
		w.cluster.Write(name)
		w.cluster.Sync(name)
	}
}

// ledByAnother waits until a member that is not cut off leads and takes writes.
func (w *world) ledByAnother(than string) {
	w.t.Helper()
	w.until("another leads", func() bool {
		r := w.rec()
		return r.Phase == decide.PhaseStable && r.Leader.Member != than && r.Epoch > 1
	})
	if r := w.rec(); r.WritesLost != v1alpha1.LostNone || len(r.Aside) > 0 {
		w.t.Fatalf("lost %s, aside %v", r.WritesLost, r.Aside)
	}
	w.write()
}

// A leader that answers the operator but reaches none of its voters is replaced by one of them, although it holds the
// longest log: nobody was told that the end of it is written. If its successor is cut off as well, replacing that one helps
// nobody and is not tried again soon, only later.
func TestLeaderThatOnlyTheOperatorReaches(t *testing.T) {
	w := started(t, 3, 1)
	w.cutOff("orders-1", "orders-2", "orders-3")
	w.ledByAnother("orders-1")
	if r := w.rec(); r.Reason != "LeaderCutOff" || r.Epoch != 2 {
		t.Fatalf("%s, epoch %d", r.Reason, r.Epoch)
	}
	successor := w.rec().Leader.Member
	w.cluster.HealAll()
	w.untilState(decide.Stable)
	w.cutOff(successor, "orders-1", "orders-2", "orders-3")
	w.run(time.Minute)
	if r := w.rec(); r.Epoch != 2 {
		t.Fatalf("epoch %d: leadership goes round", r.Epoch)
	}
	w.cluster.HealAll()
	w.untilState(decide.Stable)
	w.run(10 * time.Minute)
	w.cutOff(successor, "orders-1", "orders-2", "orders-3")
	at := w.cluster.Now()
	w.ledByAnother(successor)
	if d := w.cluster.Now().Sub(at); d > 30*time.Second {
		t.Fatalf("ten minutes later it took %v", d)
	}
}

// Whatever else happens to a leader that is cut off, or to its successor, in the end a member leads that reaches the others.
func TestLeaderThatIsCutOffAndMore(t *testing.T) {
	for name, more := range map[string]func(*world){
		"its process restarts": func(w *world) {
			w.cutOff("orders-1", "orders-2", "orders-3", "orders-4")
			w.run(time.Second)
			w.cluster.Crash("orders-1")
			w.run(100 * time.Millisecond)
			w.kubelet()
		},
		"its successor restarts": func(w *world) {
			w.cutOff("orders-1", "orders-2", "orders-3", "orders-4")
			w.until("a successor", func() bool { return w.rec().Phase == decide.PhasePromoting })
			w.cluster.Crash(w.rec().Leader.Member)
			w.kubelet()
		},
		"a voter is gone, and comes back": func(w *world) {
			w.cluster.Vanish("orders-4")
			w.cutOff("orders-1", "orders-2", "orders-3", "orders-4")
			w.run(12 * time.Second)
			w.cluster.Start("orders-4", "orders-4")
		},
		"the operator is another one each second": func(w *world) {
			w.cutOff("orders-1", "orders-2", "orders-3", "orders-4")
			w.until("a change", func() bool { return w.rec().Phase != decide.PhaseStable })
			for range 3 {
				w.ops[0] = newOperator(w, "b")
				w.run(300 * time.Millisecond)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := started(t, 4, 1)
			more(w)
			w.ledByAnother("orders-1")
		})
	}
}

// A person who decides may name the member.
func TestLeaderThatIsCutOffInManualMode(t *testing.T) {
	w := started(t, 3, 1, manual)
	w.cutOff("orders-1", "orders-2", "orders-3")
	w.run(20 * time.Second)
	if r := w.rec(); r.Epoch != 1 {
		t.Fatalf("epoch %d", r.Epoch)
	}
	w.store.Annotations[v1alpha1.AnnotationFailover] = "orders-3"
	w.ledByAnother("orders-1")
	if r := w.rec(); r.Leader.Member != "orders-3" {
		t.Fatalf("%s leads", r.Leader.Member)
	}
}

// Nobody could do better: one voter is gone and the other is cut off from the leader, or nobody reaches anybody.
func TestLeaderWithoutVotersStaysWhereNobodyCouldDoBetter(t *testing.T) {
	t.Run("one voter is gone", func(t *testing.T) {
		w := started(t, 3, 1)
		w.cluster.Vanish("orders-3")
		w.cutOff("orders-1", "orders-2")
		w.run(time.Minute)
		if r := w.rec(); r.Epoch != 1 {
			t.Fatalf("epoch %d led by %s", r.Epoch, r.Leader.Member)
		}
	})
	t.Run("nobody reaches anybody", func(t *testing.T) {
		w := started(t, 3, 1)
		w.cutOff("orders-1", "orders-2", "orders-3")
		w.cutOff("orders-2", "orders-3")
		w.run(10 * time.Minute)
		if r := w.rec(); r.Epoch > 4 {
			t.Fatalf("epoch %d: leadership goes round", r.Epoch)
		}
		w.cluster.HealAll()
		w.untilState(decide.Stable)
		w.write()
	})
}
