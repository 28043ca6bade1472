package decide_test

import (
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/controllers/decide"
	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// stall makes members that run a given template answer without storing anything.
func (w *world) stall(hash, problem string, names ...string) func() {
	return func() {
		w.cluster.Hung = map[string]string{}
		for _, n := range names {
			if p := w.pods[n]; p != nil && p.SpecHash == hash {
				w.cluster.Hung[n] = problem
			}
		}
	}
}

// TestAnUpdateReachesWhoGetsNowhere checks that a mended image reaches the members that need it, although they are not in
// order.
func TestAnUpdateReachesWhoGetsNowhere(t *testing.T) {
	for name, tc := range map[string]struct {
		problem string
		members []string
	}{
		"it says what is wrong": {wire.ProblemDiskStuck, []string{"orders-3"}},
		"it says nothing":       {"", []string{"orders-3"}},
		"both followers":        {"", []string{"orders-2", "orders-3"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := started(t, 3, 1)
			stall := w.stall("v1", tc.problem, tc.members...)
			w.run(20*time.Second, stall, w.writing)
			before := w.uids()
			w.hash = "v2"
			w.run(30*time.Second, stall, w.writing)
			for n, uid := range before {
				if w.pods[n] == nil || w.pods[n].UID != uid {
					t.Errorf("%s is restarted at once", n)
				}
			}
			w.run(150*time.Second, stall, w.writing)
			for n, p := range w.pods {
				if p.SpecHash != "v2" {
					t.Errorf("%s has %s: %s", n, p.SpecHash, w.ops[0].plan.Message)
				}
			}
			w.untilState(decide.Stable, stall)
			w.write()
		})
	}
}

// TestWhoGetsOnIsNotRestartedOutOfTurn: a member that lags but makes progress is waited for, and so is a missing member next
// to one that makes no progress.
func TestWhoGetsOnIsNotRestartedOutOfTurn(t *testing.T) {
	for name, tc := range map[string]struct {
		change    func(w *world, s *wire.Status, second int)
		restarted bool
	}{
		"it gets nowhere": {func(*world, *wire.Status, int) {}, true},
		"its log grows": {func(_ *world, s *wire.Status, second int) {
			s.Durable.Position += replication.Position(second)
		}, false},
		"its snapshot grows": {func(_ *world, s *wire.Status, second int) {
			s.Seeding = &wire.Seeding{From: "orders-1", ID: "s", DoneBytes: int64(second), TotalBytes: 1000}
		}, false},
		"another has been restarted": {func(w *world, _ *wire.Status, _ int) {
			w.pods["orders-2"].SpecHash = "v2"
			w.cluster.Hung["orders-2"] = ""
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := started(t, 3, 1)
			w.hash, w.cluster.Hung = "v2", map[string]string{"orders-3": ""}
			op, restarted := w.ops[0], false
			for second := range 120 {
				w.writing()
				w.cluster.Advance(time.Second)
				w.renew()
				w.cluster.Settle()
				op.observe()
				tc.change(w, op.seen.Members["orders-3"].Probe.Status, second)
				op.decide()
				restarted = restarted || restarts(op) != nil
			}
			if restarted != tc.restarted {
				t.Errorf("restarted: %t; %v: %s", restarted, op.plan.State, op.plan.Message)
			}
		})
	}
}
