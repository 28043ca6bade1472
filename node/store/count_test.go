package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"
)

// Callers that come while others count share the next count, also where its result is true for no position that could be remembered.
func TestCountsAreShared(t *testing.T) {
	const callers, keys = 40, 100
	m := filled(t, keys, plainName)
	if err := m.pour(); err != nil {
		t.Fatal(err)
	}
	next := *m.applied.Load() // a batch that is being applied all the time
	next.mark.Position++
	m.ceiling.Store(&next)
	m.poured.Store(&next)
	m.count.turn <- struct{}{} // somebody counts
	var counting sync.WaitGroup
	for range callers {
		counting.Go(func() {
			if n, err := m.View(0).Count(t.Context()); err != nil || n != keys {
				t.Errorf("counted %d, %v", n, err)
			}
		})
	}
	for m.gate.users.Load() < callers { // until all have come
		time.Sleep(time.Millisecond)
	}
	<-m.count.turn
	counting.Wait()
	if n := m.count.begun.Load(); n > callers/4 {
		t.Errorf("%d callers at a time took %d counts", callers, n)
	}
}

// A count is not older than its caller: what was written before the call is counted, even if another count was in progress.
func TestSharedCountIsNotOlderThanItsCaller(t *testing.T) {
	m := filled(t, 100, plainName)
	for want := 101; want < 400; want++ {
		applyEntries(t, m, entryOf(putOf(fmt.Sprint("more", want), "", 0)))
		var counting sync.WaitGroup
		for range 4 {
			counting.Go(func() {
				if n, err := m.View(0).Count(t.Context()); err != nil || n != want {
					t.Errorf("counted %d (%v), want %d", n, err, want)
				}
			})
		}
		counting.Wait()
	}
}

// A caller that has gone does not wait for its turn to count.
func TestCountEndsWithItsCaller(t *testing.T) {
	m := filled(t, 10, plainName)
	m.count.turn <- struct{}{} // somebody counts
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := m.View(0).Count(ctx)
		done <- err
	}()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	<-m.count.turn
}
