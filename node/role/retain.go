package role

import (
	"context"
	"time"

	"github.com/replicatedstore/replicatedstore/replication"
)

const (
	// retainEvery is how often the log is pruned.
	retainEvery = 5 * time.Second
	// flushAfter is how much log, in positions or time, may wait for the state machine's memtable: what a restart replays.
	flushEvery = time.Minute
)

// retention prunes the log beside the role goroutine, one round at a time.
type retention struct {
	busy      bool // role goroutine only, as all below
	prunedAt  time.Time
	flushedAt time.Time
}

// retain starts a round when one is due: the log keeps what followers may come back for (a size), and whatever the state
// machine has not on disk yet.
func (r *Runner) retain(now time.Time) {
	rt := &r.retention
	if rt.busy || now.Sub(rt.prunedAt) < retainEvery {
		return
	}
	g := r.gen.Load()
	bound := g.Log.PruneBound(r.opt.LogRetain)
	flush := bound > g.Machine.Durable().Position ||
		now.Sub(rt.flushedAt) >= flushEvery && g.Machine.Applied() != g.Machine.Durable()
	if bound < g.Log.First() && !flush {
		rt.prunedAt = now
		return
	}
	rt.busy, rt.prunedAt = true, now
	if flush {
		rt.flushedAt = now
	}
	go func() {
		err := prune(g, bound, flush)
		r.post(func() {
			rt.busy = false
			if r.gen.Load() == g { // a generation that was replaced meanwhile may fail as it likes
				_ = r.final(err)
			}
		})
	}()
}

func prune(g *Generation, bound replication.Position, flush bool) error {
	if flush {
		if _, err := g.Machine.Flush(context.Background()); err != nil {
			return err
		}
	}
	return g.Log.Prune(min(bound, g.Machine.Durable().Position))
}
