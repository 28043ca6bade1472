package store

import (
	"container/list"
	"context"
	"fmt"
)

// entrance queues the batches that may not run yet, first come, first served. The Sequencer's mu guards it.
//
// Only one is woken at a time: the first, when there is room. It wakes the next when it leaves. So nobody is woken in
// vain, and latecomers do not overtake.
type entrance struct{ queue list.List } // of *arrival

type arrival struct {
	turn chan struct{} // cap 1
	err  error         // why it was refused: set before turn is signalled, and then it is no longer queued; guarded by mu
}

func (e *entrance) refuseAll(err error) {
	for el := e.queue.Front(); el != nil; el = e.queue.Front() {
		a := e.queue.Remove(el).(*arrival)
		a.err = err
		a.signal()
	}
}

func (a *arrival) signal() {
	select {
	case a.turn <- struct{}{}:
	default:
	}
}

// admits reports whether a batch may run now; mu is held.
func (s *Sequencer) admits() bool {
	return !s.held && s.bytes < s.opt.MaxBytes && s.flight.count < s.opt.MaxEntries
}

// admitNext wakes the first waiter, if it may run now; mu is held.
func (s *Sequencer) admitNext() {
	if el := s.entrance.queue.Front(); el != nil && s.admits() {
		el.Value.(*arrival).signal()
	}
}

// enter returns with mu held, or returns an error without holding it.
func (s *Sequencer) enter(ctx context.Context) error {
	s.mu.Lock()
	if s.err != nil {
		defer s.mu.Unlock()
		return s.err
	}
	if s.entrance.queue.Len() == 0 && s.admits() {
		return nil
	}
	a := &arrival{turn: make(chan struct{}, 1)}
	el := s.entrance.queue.PushBack(a)
	for {
		s.mu.Unlock()
		var cause error
		select {
		case <-a.turn:
		case <-ctx.Done():
			cause = fmt.Errorf("wait for room among the writes in flight: %w", context.Cause(ctx))
		}
		s.mu.Lock()
		switch {
		case a.err != nil:
			defer s.mu.Unlock()
			return a.err
		case cause != nil:
			s.entrance.queue.Remove(el)
			s.admitNext() // this one may have consumed the wake-up
			s.mu.Unlock()
			return cause
		case s.entrance.queue.Front() == el && s.admits():
			s.entrance.queue.Remove(el)
			return nil
		}
	}
}

// leave admits the next and releases mu.
func (s *Sequencer) leave() {
	s.admitNext()
	s.mu.Unlock()
}
