package role

import (
	"context"
	"sync"

	"github.com/replicatedstore/replicatedstore/replication"
)

// held publishes how far each follower's log is durable, for readers that must not wait for the role's turn.
type held struct {
	mu        sync.Mutex // a leaf
	positions []replication.Position
}

// publishHeld runs before a commit is published, so that whoever has seen the commit also finds the acknowledgements that
// made it.
func (m *Member) publishHeld() {
	h := &m.held
	h.mu.Lock()
	defer h.mu.Unlock()
	h.positions = m.core.Held(h.positions[:0])
}

// Acknowledged reports whether p is durable here, and on how many followers. It never waits and may be called by any
// goroutine.
func (m *Member) Acknowledged(p replication.Position) (local bool, followers int) {
	h := &m.held
	h.mu.Lock()
	for _, durable := range h.positions {
		if durable >= p {
			followers++
		}
	}
	h.mu.Unlock()
	return m.Contents().Log.Durable().Position >= p, followers
}

// WaitAcknowledged waits until p is durable on that many followers (and here, if local is set), ctx ends, or this member
// no longer leads. It returns what Acknowledged does then.
func (m *Member) WaitAcknowledged(ctx context.Context, p replication.Position, local bool, followers int) (bool, int) {
	_ = m.works.Do(ctx, func() {
		if m.leader != nil {
			m.leader.shipAll() // commits may need fewer followers, so the others may not have been sent p yet
		}
	})
	for {
		next := m.acks.next()
		l, f := m.Acknowledged(p)
		if (f >= followers && (l || !local)) || m.Role() != replication.RoleLeader {
			return l, f
		}
		select {
		case <-next:
		case <-ctx.Done():
			return l, f
		case <-m.ended:
			return l, f
		}
	}
}
