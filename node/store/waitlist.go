package store

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/replicatedstore/replicatedstore/replication"
)

// waiter is one goroutine that waits for a position.
type waiter struct {
	pos        replication.Position
	prev, next *waiter
	queued     bool       // in the list; guarded by the list's owner
	result     chan error // cap 1
}

// newWaiter returns a waiter for p. Waiters are not pooled: a pooled timer would be shared between synctest bubbles, and
// there is only one wait per pipeline.
func newWaiter(p replication.Position) *waiter { return &waiter{pos: p, result: make(chan error, 1)} }

// waitList keeps waiters in the order of their positions, so that they are woken in that order, each by a channel of its
// own. Its owner's lock guards it; waiters are woken after that lock has been released.
//
// New waiters nearly always have the largest position so far, so they are inserted from the back.
type waitList struct{ head, tail *waiter }

func (l *waitList) insert(w *waiter) {
	after := l.tail
	for after != nil && after.pos > w.pos {
		after = after.prev
	}
	w.prev, w.queued = after, true
	if after == nil {
		w.next, l.head = l.head, w
	} else {
		w.next, after.next = after.next, w
	}
	if w.next == nil {
		l.tail = w
	} else {
		w.next.prev = w
	}
}

func (l *waitList) remove(w *waiter) {
	if w.prev == nil {
		l.head = w.next
	} else {
		w.prev.next = w.next
	}
	if w.next == nil {
		l.tail = w.prev
	} else {
		w.next.prev = w.prev
	}
	w.prev, w.next, w.queued = nil, nil, false
}

// take unlinks every waiter at or below p and returns the first of them, linked by next.
func (l *waitList) take(p replication.Position) *waiter {
	first := l.head
	var last *waiter
	for w := first; w != nil && w.pos <= p; w = w.next {
		w.queued = false
		last = w
	}
	if last == nil {
		return nil
	}
	l.head = last.next
	if l.head == nil {
		l.tail = nil
	} else {
		l.head.prev = nil
	}
	last.next = nil
	return first
}

// takeAll unlinks every waiter.
func (l *waitList) takeAll() *waiter { return l.take(^replication.Position(0)) }

// wake sends err to w and those linked after it.
func (w *waiter) wake(err error) {
	for w != nil {
		next := w.next
		w.prev, w.next = nil, nil
		w.result <- err
		w = next
	}
}

var errWaitTimeout = errors.New("timed out")

// await returns w's result. If ctx ends or timeout passes first, it unlinks w from l and returns ctx's cause or
// errWaitTimeout. mu guards l. timeout counts only if ctx has no deadline; 0 is none.
func (w *waiter) await(ctx context.Context, mu *sync.Mutex, l *waitList, timeout time.Duration) error {
	var late <-chan time.Time
	if _, bounded := ctx.Deadline(); timeout > 0 && !bounded {
		timer := time.NewTimer(timeout)
		defer timer.Stop()
		late = timer.C
	}
	var gaveUp error
	select {
	case err := <-w.result:
		return err
	case <-ctx.Done():
		gaveUp = context.Cause(ctx)
	case <-late:
		gaveUp = errWaitTimeout
	}
	mu.Lock()
	queued := w.queued
	if queued {
		l.remove(w)
	}
	mu.Unlock()
	if !queued {
		return <-w.result // it was being woken at the same moment, and that result is the better answer
	}
	return gaveUp
}
