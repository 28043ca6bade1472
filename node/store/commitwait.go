package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/replicatedstore/replicatedstore/replication"
)

// commitWaits holds the replies that wait for their position to be committed and applied.
type commitWaits struct {
	mu      sync.Mutex // a leaf: nothing is locked under it
	err     error      // why the leadership of epoch has ended; nil while it is open
	epoch   replication.Epoch
	reached replication.Position // applied in epoch
	list    waitList

	// The leadership before epoch: a connection may still come with one of its tickets.
	lastEpoch   replication.Epoch
	lastReached replication.Position
}

func (c *commitWaits) open(e replication.Epoch, reached replication.Position) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lastEpoch, c.lastReached = c.epoch, c.reached
	c.err, c.epoch, c.reached = nil, e, reached
}

func (c *commitWaits) close(err error) {
	c.mu.Lock()
	c.err = err
	all := c.list.takeAll()
	c.mu.Unlock()
	all.wake(unknown(err))
}

func (c *commitWaits) advance(p replication.Position) {
	c.mu.Lock()
	if c.err != nil || p <= c.reached {
		c.mu.Unlock()
		return
	}
	c.reached = p
	due := c.list.take(p)
	c.mu.Unlock()
	due.wake(nil)
}

func (c *commitWaits) wait(ctx context.Context, t Ticket, timeout time.Duration) error {
	c.mu.Lock()
	if done, err := c.settled(t); done {
		c.mu.Unlock()
		return err
	}
	w := newWaiter(t.Position)
	c.list.insert(w)
	c.mu.Unlock()
	err := w.await(ctx, &c.mu, &c.list, timeout)
	if err == nil || errors.Is(err, ErrOutcomeUnknown) {
		return err
	}
	return unknown(err)
}

func unknown(why error) error { return fmt.Errorf("%w: %w", ErrOutcomeUnknown, why) }

// settled returns the answer for t, if there is one already; mu is held.
func (c *commitWaits) settled(t Ticket) (bool, error) {
	switch {
	case t.Epoch == c.epoch && t.Position <= c.reached:
		return true, nil
	case t.Epoch == c.epoch && c.err == nil:
		return false, nil
	case t.Epoch == c.epoch:
		return true, unknown(c.err)
	case t.Epoch == c.lastEpoch && t.Position <= c.lastReached:
		return true, nil
	default:
		return true, unknown(fmt.Errorf("the leadership of epoch %d is over", t.Epoch))
	}
}
