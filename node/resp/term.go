package resp

import (
	"context"
	"sync"
	"time"
)

// terms hands out the contexts that bound how long writes wait for their commit. Writes of a shard that begin within 1/termShare of the
// limit share one context, which therefore may end early by as much. A context for each write took 3 % of a SET's time, at 50
// connections.
type terms [termShards]struct {
	mu    sync.Mutex // guards the fields below; a leaf lock
	ctx   context.Context
	limit time.Duration
	stale time.Time // from then on, ctx is replaced
}

const (
	termShards = 64
	termShare  = 16
)

// take returns a context that ends within limit, or when ctx does. The connection's ID selects the shard, so that connections do not all
// contend for one lock.
func (t *terms) take(ctx context.Context, connection int64, limit time.Duration, now time.Time) context.Context {
	s := &t[uint64(connection)%termShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx == nil || s.limit != limit || !now.Before(s.stale) {
		fresh, cancel := context.WithTimeoutCause(ctx, limit, notInTime(limit))
		context.AfterFunc(fresh, cancel)
		s.ctx, s.limit, s.stale = fresh, limit, now.Add(limit/termShare)
	}
	return s.ctx
}
