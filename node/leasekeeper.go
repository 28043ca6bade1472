package node

import (
	"context"
	"sync"
	"time"

	"github.com/replicatedstore/replicatedstore/node/lease"
	"github.com/replicatedstore/replicatedstore/replication"
)

// leaseKeeper runs a lease.Holder for the role goroutine. Only that goroutine calls Hold and Release.
type leaseKeeper struct {
	holder *lease.Holder
	epoch  replication.Epoch
	cancel context.CancelFunc // nil while nothing is held
	held   sync.WaitGroup
}

func newLeaseKeeper(n *Node) *leaseKeeper {
	return &leaseKeeper{holder: lease.New(lease.Options{
		Client: n.opt.LeaseClient, Name: n.opt.LeaseName, Self: n.opt.Member, Log: n.opt.Log, Wall: wallClock,
		Probe: func(ctx context.Context) error { return n.probe.Check(ctx) },
	})}
}

// Hold implements role.Lease.
func (k *leaseKeeper) Hold(epoch replication.Epoch, d time.Duration, deposed func(replication.Epoch)) {
	if k.cancel != nil && k.epoch == epoch {
		k.holder.SetDuration(d)
		return
	}
	k.Release()
	ctx, cancel := context.WithCancel(context.Background())
	k.epoch, k.cancel = epoch, cancel
	k.held.Go(func() {
		// Hold ends after Release, or after it has called deposed.
		_ = k.holder.Hold(ctx, epoch, d, lease.Callbacks{Deposed: deposed})
	})
}

// Release implements role.Lease.
func (k *leaseKeeper) Release() {
	if k.cancel == nil {
		return
	}
	k.cancel()
	k.cancel = nil
	k.held.Wait()
}

// Valid implements role.Lease.
func (k *leaseKeeper) Valid(now time.Time) bool { return k.holder.Valid(now) }
