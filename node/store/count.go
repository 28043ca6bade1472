package store

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"

	"github.com/replicatedstore/replicatedstore/replication"
)

// counter remembers the last exact count and the position for which it holds. Callers count one at a time. Those who wait
// share the first count that begins after they came, so nobody waits for more than two counts, however many callers there
// are.
type counter struct {
	begun atomic.Uint64 // how many counts have begun, which is the number of the newest
	turn  chan struct{} // cap 1: full while somebody counts, who owns the fields below
	last  uint64        // number of the last count that completed
	keys  int           // its result
	at    replication.Position
	known bool // nothing was applied during that count, so the result holds for at
}

// Count returns the exact number of stored keys (DBSIZE) as of a position at or above Applied at the time of the call. As
// in Redis, that includes keys whose expiry is due but which have not been removed yet.
//
// It reads every key, which takes about a second for a few million. Writes are blind (a SET never checks whether its key
// is new), so no running count can be kept. The result is remembered until something is applied. Where the count is
// needed often, use Estimate.
func (v View) Count(ctx context.Context) (int, error) {
	m, c := v.m, &v.m.count
	came := c.begun.Load()
	if !m.gate.enter() {
		return 0, ErrClosed
	}
	defer m.gate.leave()
	if err := m.settle(); err != nil { // before taking the turn, so that callers wait together if it takes long
		return 0, fmt.Errorf("count keys: %w", err)
	}
	select {
	case c.turn <- struct{}{}:
	case <-ctx.Done():
		return 0, fmt.Errorf("count keys: %w", context.Cause(ctx))
	}
	defer func() { <-c.turn }()
	// Read this before making the iterator. The iterator may see a newer state, but never an older one, so a count
	// remembered for this position holds only if nothing was applied in between.
	at := m.Applied().Position
	if c.last > came || c.known && c.at == at {
		return c.keys, nil
	}
	number := c.begun.Add(1)
	keys, err := m.countKeys(ctx)
	if err != nil {
		return 0, err
	}
	c.last, c.keys, c.at, c.known = number, keys, at, m.Ceiling().Position == at
	return keys, nil
}

func (m *Machine) countKeys(ctx context.Context) (n int, err error) {
	if err := m.settle(); err != nil {
		return 0, fmt.Errorf("count keys: %w", err)
	}
	lower, upper := spaceBounds(spaceData)
	it, err := m.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return 0, fmt.Errorf("count keys: %w", explain(err))
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for it.First(); it.Valid(); it.Next() {
		if n++; n%4096 == 0 {
			if cause := context.Cause(ctx); cause != nil {
				return 0, fmt.Errorf("count keys: %w", cause)
			}
			if m.gate.closed.Load() {
				return 0, ErrClosed
			}
		}
	}
	return n, it.Error()
}
