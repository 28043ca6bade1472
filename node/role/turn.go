package role

import (
	"context"
	"slices"
	"sync"
)

// turn is the turn in a member's role. Whoever has something to tell locks it; a Mutex, because it is taken for every record and
// acknowledgement, mostly while nobody else has it.
//
// Who waits no longer than a context lives stands in line: one goroutine at most waits for the Mutex in the name of all in the line, and
// hands it to whoever is first, so that those who give up, one after the other while a disk hangs, leave nothing behind.
type turn struct {
	sync.Mutex

	queue    sync.Mutex // a leaf; guards below
	line     []chan struct{}
	fetching bool // a goroutine waits for the Mutex
}

// lockWhile locks the turn as Lock does, unless ctx ends before; then it returns false.
func (t *turn) lockWhile(ctx context.Context) bool {
	if ctx.Done() == nil {
		t.Lock()
		return true
	}
	if t.TryLock() {
		return true
	}
	mine := make(chan struct{})
	t.queue.Lock()
	t.line = append(t.line, mine)
	if !t.fetching {
		t.fetching = true
		go t.fetch()
	}
	t.queue.Unlock()
	select {
	case <-mine:
		return true
	case <-ctx.Done():
		return !t.leave(mine)
	}
}

// fetch gives the turn to those in the line, one after the other: each unlocks it.
func (t *turn) fetch() {
	for {
		t.Lock()
		t.queue.Lock()
		if len(t.line) == 0 {
			t.fetching = false
			t.queue.Unlock()
			t.Unlock()
			return
		}
		close(t.line[0])
		t.line = slices.Delete(t.line, 0, 1)
		t.queue.Unlock()
	}
}

// leave takes c out of the line; false: it has been given the turn.
func (t *turn) leave(c chan struct{}) bool {
	t.queue.Lock()
	defer t.queue.Unlock()
	i := slices.Index(t.line, c)
	if i < 0 {
		return false
	}
	t.line = slices.Delete(t.line, i, i+1)
	return true
}
