package role

import "sync"

// broadcast wakes everybody who asked for its channel since the last signal; a signal nobody waits for costs a lock.
type broadcast struct {
	mu sync.Mutex
	ch chan struct{} // guarded by mu; nil until somebody asks
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

func (b *broadcast) signal() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ch != nil {
		close(b.ch)
		b.ch = nil
	}
}
