package role

import (
	"context"
	"fmt"
	"time"

	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/durable"
	"github.com/replicatedstore/replicatedstore/replication/volume"
	"github.com/replicatedstore/replicatedstore/replication/wal"
)

// flushEvery bounds how long applied records stay in the state machine's memory only, and so how much log a restart
// replays.
const flushEvery = time.Minute

// retention is the state of retain, which prunes the log beside the role goroutine, one round at a time. Later rounds do
// not wait for a flush: it may be waiting for the room that pruning gives.
type retention struct {
	pruning   bool // role goroutine only, as all below
	flushing  bool
	prunedAt  time.Time
	flushedAt time.Time
}

// retain starts a round when one is due. The log keeps what followers may come back for (a size), and whatever the state
// machine does not have on disk yet.
func (m *Member) retain(now time.Time) {
	rt := &m.retention
	every, flushing := m.opt.RetainEvery, flushEvery
	if m.space.Level == volume.Full || m.space.noRoom {
		// Deleted data is reclaimed, and the log pruned, only after a flush.
		every, flushing = min(every, lookEvery), lookEvery
	}
	if rt.pruning || now.Sub(rt.prunedAt) < every {
		return
	}
	rt.prunedAt = now
	m.spareVolume()
	c := m.Contents()
	bound := m.pruneBound(c.Log, now)
	if bound >= c.Log.First() {
		m.retainBy(&rt.pruning, c, func() error { return prune(c, bound) })
	}
	due := bound > c.State.Durable().Position ||
		now.Sub(rt.flushedAt) >= flushing && c.State.Applied() != c.State.Durable()
	if due && !rt.flushing {
		rt.flushedAt = now
		m.retainBy(&rt.flushing, c, func() error { return flushAndPrune(c, bound) })
	}
}

// retainBy runs f, which works on c, beside the role goroutine, and sets busy meanwhile.
func (m *Member) retainBy(busy *bool, c *Contents, f func() error) {
	*busy = true
	m.works.Background(f, func(err error) {
		*busy = false
		if m.Contents() == c { // errors of contents that were replaced meanwhile do not matter
			_ = m.final(err)
		}
	})
}

// goneFor is how long a leader whose volume is full keeps its log for a follower that is gone.
const goneFor = time.Minute

// pruneBound returns up to where the log may be pruned. A damaged segment may always go. The less room the volume has,
// the less is kept. But what a follower of this epoch lacks and can use goes only once the log itself has no room any
// more: otherwise that follower would need a snapshot, for which there is even less room.
//
// Entries that no leader is known to have may exist in this log only, such as those that a deposed asynchronous leader
// has acknowledged. They stay until a leader is known to have them, or they are cut. Nothing is appended meanwhile.
func (m *Member) pruneBound(l *wal.Log, now time.Time) replication.Position {
	if m.leader == nil && !m.core.Covered() && !m.space.noRoom {
		return 0
	}
	_, damaged := m.damage()
	bound := max(l.PruneBound(m.opt.LogRetain), damaged)
	if m.space.Level == volume.Ample && !m.space.noRoom {
		return bound
	}
	retain := m.opt.LogRetain / 4
	if m.space.Level == volume.Full || m.space.noRoom {
		retain = 1 // only the last segment stays
	}
	short := l.PruneBound(retain)
	if !m.space.noRoom {
		for _, f := range m.core.Followers(now) {
			if m.needsLog(l, f) {
				short = min(short, f.Durable)
			}
		}
	}
	return max(bound, short)
}

// needsLog reports whether the log is kept for f although there is little room. A follower that needs a snapshot has no
// use for it: the log that must follow the snapshot is held by the sender. A full leader does not keep it for one that is
// gone for long either, perhaps for good. That may cost a snapshot later; keeping the log would cost all clients' writes.
func (m *Member) needsLog(l *wal.Log, f replication.Follower) bool {
	return !f.Seeding && f.Durable+1 >= l.First() && (f.Live || m.space.Level != volume.Full || f.Silent < goneFor)
}

// prune prunes up to bound, but not beyond what the state machine has on disk.
func prune(c *Contents, bound replication.Position) error {
	return c.Log.Prune(min(bound, c.State.Durable().Position))
}

func flushAndPrune(c *Contents, bound replication.Position) error {
	if _, err := c.State.Flush(context.Background()); durable.IsNoSpace(err) {
		return fmt.Errorf("%w: %w", replication.ErrNoSpace, err)
	} else if err != nil {
		return err
	}
	return prune(c, bound)
}
