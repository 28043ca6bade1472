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

// flushEvery is how long the log may wait for the state machine's memtable: what a restart replays.
const flushEvery = time.Minute

// retention prunes the log beside the role goroutine, one round at a time. A flush is not waited for by the rounds after it: it may wait for
// the room that pruning gives.
type retention struct {
	pruning   bool // role goroutine only, as all below
	flushing  bool
	prunedAt  time.Time
	flushedAt time.Time
}

// retain starts a round when one is due: the log keeps what followers may come back for (a size), and whatever the state
// machine has not on disk yet.
func (m *Member) retain(now time.Time) {
	rt := &m.retention
	every, flushing := m.opt.RetainEvery, flushEvery
	if m.space.Level == volume.Full || m.space.noRoom {
		// What was deleted is given back, and the log pruned, only after a flush.
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

// retainBy runs f, which is about c, beside the role goroutine; busy is set meanwhile.
func (m *Member) retainBy(busy *bool, c *Contents, f func() error) {
	*busy = true
	m.works.Background(f, func(err error) {
		*busy = false
		if m.Contents() == c { // what was replaced meanwhile may fail as it likes
			_ = m.final(err)
		}
	})
}

// goneFor is how long a follower may be gone that a full leader keeps its log for.
const goneFor = time.Minute

// pruneBound is up to where the log may be pruned; a damaged segment always may. The less room there is on the volume, the less is kept; but what a follower
// of this epoch lacks, and can use, goes only once the log itself has no room any more: else that one needs a snapshot, for which there is
// less room still.
//
// What no leader is known to have may be in this log only, as what an asynchronous leader has acknowledged that was deposed: it stays until
// it is known, or cut. Nothing is appended meanwhile.
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
		retain = 1 // the last segment stays
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

// needsLog tells whether the log is kept for f although there is little room. One that needs a snapshot has no use for it: what must follow
// on that is held where it is sent. Nor is it kept by a full leader for one that is gone for long, or for good: that may come to cost a
// snapshot, and to keep it costs the writes of all clients.
func (m *Member) needsLog(l *wal.Log, f replication.Follower) bool {
	return !f.Seeding && f.Durable+1 >= l.First() && (f.Live || m.space.Level != volume.Full || f.Silent < goneFor)
}

// prune prunes up to what is on disk in the state too.
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
