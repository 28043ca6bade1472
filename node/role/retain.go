package role

import (
	"context"
	"time"

	"github.com/replicatedstore/replicatedstore/replication"
)

// flushEvery is how long the log may wait for the state machine's memtable: what a restart replays.
const flushEvery = time.Minute

// retention prunes the log beside the role goroutine, one round at a time.
type retention struct {
	busy      bool // role goroutine only, as all below
	prunedAt  time.Time
	flushedAt time.Time
}

// retain starts a round when one is due: the log keeps what followers may come back for (a size), and whatever the state
// machine has not on disk yet.
func (m *Member) retain(now time.Time) {
	rt := &m.retention
	if rt.busy || now.Sub(rt.prunedAt) < m.opt.RetainEvery {
		return
	}
	m.spareVolume()
	c := m.Contents()
	bound := c.Log.PruneBound(m.opt.LogRetain)
	flush := bound > c.State.Durable().Position ||
		now.Sub(rt.flushedAt) >= flushEvery && c.State.Applied() != c.State.Durable()
	if bound < c.Log.First() && !flush {
		rt.prunedAt = now
		return
	}
	rt.busy, rt.prunedAt = true, now
	if flush {
		rt.flushedAt = now
	}
	m.works.Background(func() error { return prune(c, bound, flush) }, func(err error) {
		rt.busy = false
		if m.Contents() == c { // what was replaced meanwhile may fail as it likes
			_ = m.final(err)
		}
	})
}

func prune(c *Contents, bound replication.Position, flush bool) error {
	if flush {
		if _, err := c.State.Flush(context.Background()); err != nil {
			return err
		}
	}
	return c.Log.Prune(min(bound, c.State.Durable().Position))
}
