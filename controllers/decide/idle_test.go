package decide_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/controllers/decide"
	"github.com/replicatedstore/replicatedstore/controllers/nodeclient"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// cannotApply makes members report what a member reports whose state machine has no room to write to: its barrier is on disk
// and committed, but it does not apply it.
type cannotApply struct {
	nodeclient.Client
	members string
	full    bool // its full volume is the cause
}

func (c cannotApply) Status(ctx context.Context, t nodeclient.Target) (wire.Status, error) {
	s, err := c.Client.Status(ctx, t)
	if s.Member != "" && strings.Contains(c.members, s.Member) {
		s.Applied, s.Writable = 1, false
		if c.full {
			s.Disk.Level = wire.DiskFull
		}
	}
	return s, err
}

// Leadership moves from a cordoned node. It does not go to a member whose volume is full, and a member that commits its
// barrier but never takes writes is replaced by one that does.
func TestALeaderThatNeverTakesWritesIsReplaced(t *testing.T) {
	for name, tc := range map[string]struct {
		full  bool
		epoch uint64
	}{"which its volume tells": {true, 2}, "which nothing tells": {false, 3}} {
		t.Run(name, func(t *testing.T) {
			w := started(t, 3, 1)
			o := w.ops[0]
			o.node = cannotApply{o.node, "orders-2", tc.full}
			w.pods["orders-1"].Cordoned = true
			w.until("orders-3 leads", func() bool {
				r := w.rec()
				return r.Leader.Member == "orders-3" && r.Phase == decide.PhaseStable
			})
			if got := uint64(w.rec().Epoch); got != tc.epoch {
				t.Errorf("in epoch %d, want %d", got, tc.epoch)
			}
		})
	}
}

// If nobody can apply anything, each member is tried once, and then they are left alone.
func TestLeadersThatNeverTakeWritesAreTriedOnce(t *testing.T) {
	w := started(t, 3, 1)
	o := w.ops[0]
	o.node = cannotApply{o.node, "orders-1 orders-2 orders-3", false}
	w.pods["orders-1"].Cordoned = true
	w.run(30 * time.Minute)
	if e := w.rec().Epoch; e > 6 {
		t.Errorf("epoch %d after half an hour", e)
	}
	if m := o.plan.Message; !strings.Contains(m, "has applied its log") {
		t.Errorf("what it waits for is not told: %s", m)
	}
}

// The leader's machine is gone for good. orders-2 and orders-3 both hold everything and answer every fence, but orders-2
// dies each time it leads, as soon as its barrier is committed, as it would when applying a damaged record.
func TestWhoDiesEachTimeItLeadsIsNotElectedForEver(t *testing.T) {
	w := started(t, 3, 1)
	w.cluster.Vanish("orders-1")
	deaths, down := 0, time.Time{}
	stable := func() bool {
		r := w.rec()
		return r.Phase == decide.PhaseStable && r.Leader.Member == "orders-3"
	}
	for end := w.cluster.Now().Add(10 * time.Minute); w.cluster.Now().Before(end) && !stable(); {
		w.cluster.Settle()
		if w.cluster.Writable() == "orders-2" {
			w.cluster.Crash("orders-2")
			deaths, down = deaths+1, w.cluster.Now()
		}
		if !w.cluster.Running("orders-2") && w.cluster.Now().Sub(down) > 10*time.Second { // kubelet's back-off
			w.cluster.Start("orders-2", "orders-2")
		}
		w.renew()
		w.ops[0].reconcile()
	}
	w.check()
	if !stable() {
		t.Fatalf("after %d deaths: %+v\n%v %s\n%s", deaths, w.rec(), w.ops[0].plan.State, w.ops[0].plan.Message, w.tail())
	}
}
