package store

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/replicatedstore/replicatedstore/replication"
)

func TestWaitListOrder(t *testing.T) {
	rng := newRand(t, 0)
	var l waitList
	var in []*waiter
	for range 500 {
		w := &waiter{pos: replication.Position(rng.IntN(100)), result: make(chan error, 1)}
		l.insert(w)
		in = append(in, w)
		if rng.IntN(3) == 0 {
			i := rng.IntN(len(in))
			l.remove(in[i])
			in = slices.Delete(in, i, i+1)
		}
	}
	count := func(w *waiter, upTo replication.Position) (n int) {
		for last := replication.Position(0); w != nil; w = w.next {
			if w.pos < last || w.pos > upTo || w.queued {
				t.Fatalf("waiter of %d after one of %d", w.pos, last)
			}
			last, n = w.pos, n+1
		}
		return n
	}
	low := 0
	for _, w := range in {
		if w.pos <= 50 {
			low++
		}
	}
	if got := count(l.take(50), 50); got != low {
		t.Errorf("took %d of %d waiters", got, low)
	}
	if got := count(l.takeAll(), 100); got != len(in)-low || l.head != nil || l.tail != nil {
		t.Errorf("took %d of %d waiters in the end", got, len(in)-low)
	}
}

// TestWaitOutcomes has no database, so that all its goroutines block durably as synctest needs.
func TestWaitOutcomes(t *testing.T) {
	deposed := errors.New("deposed")
	at := func(e replication.Epoch, p replication.Position) Ticket { return Ticket{Epoch: e, Position: p} }
	synctest.Test(t, func(t *testing.T) {
		c := &commitWaits{err: ErrNotOpen}
		c.open(3, 10)
		results := map[string]error{}
		var mu sync.Mutex
		start := func(name string, ctx context.Context, ticket Ticket) {
			go func() {
				err := c.wait(ctx, ticket, time.Second)
				mu.Lock()
				defer mu.Unlock()
				results[name] = err
			}()
			synctest.Wait()
		}
		check := func(name string, want error) {
			t.Helper()
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			if err, done := results[name]; !done || !errors.Is(err, want) || (want == nil) != (err == nil) {
				t.Errorf("%s: %v (done %t), want %v", name, err, done, want)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		start("applied before", ctx, at(3, 10))
		check("applied before", nil)
		start("twelve", t.Context(), at(3, 12))
		start("eleven", t.Context(), at(3, 11))
		start("cancelled", ctx, at(3, 13))
		cancel()
		check("cancelled", context.Canceled)
		check("cancelled", ErrOutcomeUnknown)
		c.advance(11)
		check("eleven", nil)
		mu.Lock()
		if _, done := results["twelve"]; done {
			t.Error("position 12 was answered when 11 was applied")
		}
		mu.Unlock()
		time.Sleep(2 * time.Second)
		check("twelve", ErrOutcomeUnknown)
		check("twelve", errWaitTimeout)

		start("deposed", t.Context(), at(3, 14))
		c.close(deposed)
		check("deposed", deposed)
		check("deposed", ErrOutcomeUnknown)
		start("late, applied", t.Context(), at(3, 11))
		check("late, applied", nil)
		start("late, not applied", t.Context(), at(3, 12))
		check("late, not applied", ErrOutcomeUnknown)
		c.advance(20) // positions of the next leader's entries, applied as a follower
		start("late, position of another's write", t.Context(), at(3, 12))
		check("late, position of another's write", ErrOutcomeUnknown)

		c.open(5, 20)
		c.advance(25)
		start("old epoch, position reused", t.Context(), at(3, 12))
		check("old epoch, position reused", ErrOutcomeUnknown)
		start("old epoch, applied then", t.Context(), at(3, 11))
		check("old epoch, applied then", nil)
		c.close(nil)
		c.open(6, 30)
		start("older epoch", t.Context(), at(3, 11))
		check("older epoch", ErrOutcomeUnknown)
	})
}

func TestWaitsWakeInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &commitWaits{}
		c.open(1, 0)
		var got []replication.Position
		for _, p := range []replication.Position{5, 1, 4, 2, 3} {
			go func() {
				if err := c.wait(t.Context(), Ticket{Epoch: 1, Position: p}, time.Hour); err == nil {
					got = append(got, p)
				}
			}()
			synctest.Wait()
		}
		for p := range replication.Position(5) {
			c.advance(p + 1)
			synctest.Wait()
		}
		if !slices.Equal(got, []replication.Position{1, 2, 3, 4, 5}) {
			t.Errorf("woken in the order %v", got)
		}
	})
}

// tryRun starts a Run and returns a channel that receives its error.
func tryRun(ctx context.Context, s *Sequencer, ran func()) <-chan error {
	done := make(chan error, 1)
	go func() {
		_, err := s.Run(ctx, func(b *Batch) {
			ran()
			b.Begin().Put([]byte("k"), str("v", 0))
			_ = b.End()
		})
		done <- err
	}()
	return done
}

// blocked waits until n batches wait at the entrance.
func blocked(t *testing.T, s *Sequencer, n int) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		s.mu.Lock()
		got := s.entrance.queue.Len()
		s.mu.Unlock()
		if got == n {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d batches wait, want %d", got, n)
		}
	}
}

func TestRunBlocksWhenFull(t *testing.T) {
	for name, o := range map[string]SequencerOptions{
		"entries": {MaxEntries: 3},
		"bytes":   {MaxBytes: 3 * entryOverhead},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLeader(t, o)
			for range 3 {
				l.put("k", "v", 0)
			}
			var mu sync.Mutex
			var order []int
			var done []<-chan error
			for i := range 6 {
				done = append(done, tryRun(t.Context(), l.s, func() {
					mu.Lock()
					defer mu.Unlock()
					order = append(order, i)
				}))
				blocked(t, l.s, i+1)
			}
			ctx, cancel := context.WithCancel(t.Context())
			given := tryRun(ctx, l.s, func() { t.Error("ran although it gave up") })
			blocked(t, l.s, 7)
			cancel()
			if err := <-given; !errors.Is(err, context.Canceled) {
				t.Errorf("gave up with %v", err)
			}
			l.settle()
			for i := range 3 { // room for three
				if err := <-done[i]; err != nil {
					t.Error(err)
				}
			}
			blocked(t, l.s, 3)
			l.settle()
			for i := 3; i < 6; i++ {
				if err := <-done[i]; err != nil {
					t.Error(err)
				}
			}
			if !slices.Equal(order, []int{0, 1, 2, 3, 4, 5}) {
				t.Errorf("ran in the order %v", order)
			}
		})
	}
}

func TestHoldAndClose(t *testing.T) {
	l := newLeader(t, SequencerOptions{})
	ticket := l.put("k", "v", 0)
	if tail := l.s.Hold(); tail != ticket.Position {
		t.Errorf("held at %d, the tail is %d", tail, ticket.Position)
	}
	one := tryRun(t.Context(), l.s, func() {})
	blocked(t, l.s, 1)
	two := tryRun(t.Context(), l.s, func() {})
	blocked(t, l.s, 2)
	l.settle() // frees room, but the hold still blocks
	blocked(t, l.s, 2)
	l.s.Release()
	if err := errors.Join(<-one, <-two); err != nil {
		t.Error(err)
	}
	l.s.Hold()
	refused := tryRun(t.Context(), l.s, func() { t.Error("ran after Close") })
	blocked(t, l.s, 1)
	deposed := errors.New("deposed")
	l.deposed(deposed)
	if err := <-refused; !errors.Is(err, deposed) {
		t.Errorf("refused with %v", err)
	}
	l.lead()
	if got := l.get("k"); got != "v" {
		t.Errorf("the next epoch is held, or lost %q", got)
	}
}
