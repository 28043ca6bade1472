package store

import (
	"context"
	"fmt"
	"sync"

	"github.com/replicatedstore/replicatedstore/replication"
)

// appliedWaits are the sessions that wait until a member has applied what they have seen elsewhere.
type appliedWaits struct {
	mu      sync.Mutex // a leaf: nothing is locked under it
	reached replication.Position
	closed  bool
	list    waitList
}

// AwaitApplied returns nil once p is applied, ErrClosed when the Machine is closed before, or an error that wraps ctx's
// cause. It compares positions only; whether p's epoch is still part of the log is the caller's question.
func (m *Machine) AwaitApplied(ctx context.Context, p replication.Position) error {
	if m.Applied().Position >= p {
		return nil
	}
	a := &m.waits
	a.mu.Lock()
	switch {
	case a.reached >= p:
		a.mu.Unlock()
		return nil
	case a.closed:
		a.mu.Unlock()
		return ErrClosed
	}
	w := newWaiter(p)
	a.list.insert(w)
	a.mu.Unlock()
	if err := w.await(ctx, &a.mu, &a.list, 0); err != nil {
		return fmt.Errorf("wait until position %d is applied: %w", p, err)
	}
	return nil
}

func (a *appliedWaits) advance(p replication.Position) {
	a.mu.Lock()
	a.reached = p
	due := a.list.take(p)
	a.mu.Unlock()
	due.wake(nil)
}

func (a *appliedWaits) close() {
	a.mu.Lock()
	a.closed = true
	all := a.list.takeAll()
	a.mu.Unlock()
	all.wake(ErrClosed)
}
