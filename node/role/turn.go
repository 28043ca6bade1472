package role

import (
	"context"
	"slices"
	"sync"
)

// turn is the right to act in a member's role. It is a Mutex because it is taken for every record and acknowledgement,
// and rarely contended.
//
// Callers that wait only as long as a context lives queue up in line. At most one goroutine waits for the Mutex on behalf
// of the whole line and hands it to the first in it. So callers that give up one after another, as while a disk hangs,
// leave no goroutines behind.
type turn struct {
	sync.Mutex

	queue    sync.Mutex // a leaf; guards what follows
	line     []chan struct{}
	fetching bool // a goroutine waits for the Mutex
}

// lockWhile locks the turn like Lock, unless ctx ends first; then it returns false.
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

// fetch hands the turn to those in line, one after another. Each of them unlocks it.
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

// leave removes c from the line. It returns false if c has already been handed the turn.
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
