package role

import "sync"

// broadcast wakes everyone who called next since the last signal. A signal that nobody waits for costs only a lock.
type broadcast struct {
	mu sync.Mutex
	ch chan struct{} // guarded by mu; nil until next is called
}

// next returns a channel that the next signal closes.
func (b *broadcast) next() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ch == nil {
		b.ch = make(chan struct{})
	}
	return b.ch
}

// signal closes the channel that next gave out, if any.
func (b *broadcast) signal() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ch != nil {
		close(b.ch)
		b.ch = nil
	}
}
