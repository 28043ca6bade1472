package resp

import (
	"context"
	"sync"
	"time"
)

// terms hands out contexts that end when writes that begin now are to be given up. Those that begin within a sixteenth of that time
// share one, which so ends up to as much early: a context for each write took 3 % of a SET's time, at 50 connections.
type terms [termShards]struct {
	mu    sync.Mutex // guards below; a leaf
	ctx   context.Context
	limit time.Duration
	stale time.Time // a new one is made from then on
}

const (
	termShards = 64
	termShare  = 16
)

// take returns what ends within limit, or when ctx does. Connections take by their numbers, so that not all wait for one lock.
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
