package store

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"github.com/replicatedstore/replicatedstore/replication"
)

// counter remembers the last exact count and the position it is true for.
type counter struct {
	mu    sync.Mutex // held while counting, so that callers at the same time count once; nothing is locked under it
	known bool
	at    replication.Position
	keys  int
}

// Count returns the number of stored keys (DBSIZE), exactly, as of a position at or above Applied at the time of the
// call. Like Redis it includes keys whose expiry is due but which were not removed yet.
//
// It reads every key, about a second for a few million: writes are blind (a SET never looks whether its key is new), so
// nobody can keep a running count. The result is remembered until something is applied. Use Estimate where it is asked
// for often.
func (v View) Count(ctx context.Context) (int, error) {
	m := v.m
	if !m.gate.enter() {
		return 0, ErrClosed
	}
	defer m.gate.leave()
	if err := m.settle(); err != nil { // not one after the other, where that takes long
		return 0, fmt.Errorf("count keys: %w", err)
	}
	c := &m.count
	c.mu.Lock()
	defer c.mu.Unlock()
	// Read before the iterator is made: what the iterator sees may be newer, never older, so that a count remembered for
	// this position is true only if nothing was applied in between.
	at := m.Applied().Position
	if c.known && c.at == at {
		return c.keys, nil
	}
	keys, err := m.countKeys(ctx)
	if err != nil {
		return 0, err
	}
	c.known, c.at, c.keys = m.Ceiling().Position == at, at, keys
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
