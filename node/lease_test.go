package node

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/go-logr/logr"

	"github.com/replicatedstore/replicatedstore/node/role"
	"github.com/replicatedstore/replicatedstore/node/store"
	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// switchLease is a Lease that the test can take away.
type switchLease struct{ valid, held atomic.Bool }

func (l *switchLease) Hold(replication.Epoch, time.Duration, func(replication.Epoch)) {
	l.held.Store(true)
}
func (l *switchLease) Release()             { l.held.Store(false) }
func (l *switchLease) Valid(time.Time) bool { return l.valid.Load() }

// An asynchronous leader is protected by its Lease alone. It acknowledges nothing before it holds the Lease, and nothing
// after it has lost it; to lead again it needs a new epoch.
func TestAsynchronousLeaderStopsWithoutItsLease(t *testing.T) {
	l := &switchLease{}
	r, err := role.Start(t.Context(), role.Options{FS: vfs.NewMem(), Dir: "d", Store: "s", Member: "m", Log: logr.Discard(), Lease: l, Memory: 32 << 20, LogRetain: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	lead := func(e replication.Epoch) {
		t.Helper()
		f, err := r.Fence(t.Context(), wire.FenceRequest{Epoch: e})
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Promote(t.Context(), wire.PromoteRequest{
			Epoch: e, ConfigVersion: 1, Rules: []replication.Rule{{K: 0}}, Start: f.Last, LeaseDurationMillis: 6000,
		}); err != nil {
			t.Fatal(err)
		}
	}
	until := func(what string, ok func() bool) {
		t.Helper()
		for deadline := time.Now().Add(2 * time.Minute); !ok(); time.Sleep(2 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("not in time: %s", what)
			}
		}
	}
	write := func() error {
		seq := r.Generation().Seq
		ticket, err := seq.Run(t.Context(), func(b *store.Batch) {
			b.Begin().Put([]byte("k"), store.Value{Type: store.TypeString, Data: []byte("v")})
			if err := b.End(); err != nil {
				t.Error(err)
			}
		})
		if err != nil {
			return err
		}
		return seq.Wait(t.Context(), ticket)
	}
	lead(1)
	if !l.held.Load() {
		t.Fatal("the leader does not hold its Lease")
	}
	if write() == nil {
		t.Fatal("a write was acknowledged before the Lease was held")
	}
	l.valid.Store(true)
	until("the leader opens", r.Open)
	if err := write(); err != nil {
		t.Fatal(err)
	}
	l.valid.Store(false)
	until("the leader resigns", func() bool { return r.Role() == replication.RoleWaiting })
	if write() == nil || l.held.Load() {
		t.Fatal("it goes on after its Lease is gone")
	}
	l.valid.Store(true)
	lead(2)
	until("it leads again", r.Open)
	if err := write(); err != nil {
		t.Fatal(err)
	}
}
