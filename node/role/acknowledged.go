package role

import (
	"context"
	"sync"

	"github.com/replicatedstore/replicatedstore/replication"
)

// held is how far the logs of this leader's followers are durable, for readers that must not wait for the role's turn.
type held struct {
	mu        sync.Mutex // a leaf
	positions []replication.Position
}

// publishHeld runs before a commit is made known: who has seen that finds here the acknowledgements that made it.
func (m *Member) publishHeld() {
	h := &m.held
	h.mu.Lock()
	defer h.mu.Unlock()
	h.positions = m.core.Held(h.positions[:0])
}

// Acknowledged returns whether p is durable here, and on how many followers it is. It never waits, and may be called from anywhere.
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

// WaitAcknowledged waits until p is on that many followers (and durable here, if local is set), ctx ends, or this member
// no longer leads.
func (m *Member) WaitAcknowledged(ctx context.Context, p replication.Position, local bool, followers int) (bool, int) {
	_ = m.works.Do(ctx, func() {
		if m.leader != nil {
			m.leader.shipAll() // commits may wait for fewer
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
