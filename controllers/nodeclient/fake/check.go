package fake

import (
	"fmt"
	"maps"
	"slices"

	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// note records what the member acknowledges now, and checks the protocol's invariants. c.mu is held.
func (c *Cluster) note(m *member) {
	if m.rep == nil {
		return
	}
	commit := min(m.rep.Commit(), m.log.Durable().Position)
	m.applied = max(m.applied, commit)
	if m.rep.Role() != wire.RoleLeader {
		return
	}
	epoch := m.rep.Promises().Epoch
	if other, ok := c.leaders[epoch]; ok && other != m.self.String() {
		c.breaks("epoch %d is led by %s and by %s", epoch, other, m.self)
	}
	c.leaders[epoch] = m.self.String()
	if !m.rep.Writable() || !m.mayAcknowledge(c.now) {
		return
	}
	for i := range m.log.recs {
		r := &m.log.recs[i]
		if r.Last() > commit {
			break
		}
		was, ok := c.acked[r.Last()]
		if ok && was.Mark != r.Mark() {
			c.forked = append(c.forked, fmt.Sprintf("%s commits %v (checksum %08x) where %s acknowledged %v (checksum %08x)", m.name, r.Mark(), r.Chain, was.By, was.Mark, was.Mark.Chain))
		}
		if !ok || was.Mark != r.Mark() {
			c.acked[r.Last()] = Acked{Mark: r.Mark(), By: m.name}
		}
	}
}

func (c *Cluster) breaks(format string, args ...any) {
	c.broken = append(c.broken, fmt.Sprintf(format, args...))
}

// Broken lists the invariants found broken so far: two leaders in one epoch and, unless loss was accepted, a commit at a
// position where something else was acknowledged.
func (c *Cluster) Broken(lossAccepted bool) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if lossAccepted {
		return slices.Clone(c.broken)
	}
	return slices.Concat(c.broken, c.forked)
}

// Missing lists the acknowledged writes that the member does not hold.
func (c *Cluster) Missing(name string) []Acked {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := c.find(name)
	var out []Acked
	for p, a := range c.acked {
		if m == nil || p <= m.log.base.Position {
			continue
		}
		if got, ok := m.log.MarkAt(p); !ok || got != a.Mark {
			out = append(out, a)
		}
	}
	slices.SortFunc(out, func(a, b Acked) int { return a.Mark.Compare(b.Mark) })
	return out
}

// Acknowledged returns how many positions were acknowledged, barriers included.
func (c *Cluster) Acknowledged() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.acked)
}

// Leaderships returns how many epochs had a leader.
func (c *Cluster) Leaderships() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.leaders)
}

// Names returns the names of the members, sorted.
func (c *Cluster) Names() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []string
	for m := range maps.Values(c.members) {
		out = append(out, m.name)
	}
	slices.Sort(out)
	return out
}

// Writable returns the member that takes writes in the highest epoch; "" if there is none.
func (c *Cluster) Writable() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var best string
	var epoch replication.Epoch
	for _, m := range c.members {
		if m.rep != nil && m.rep.Writable() && m.rep.Promises().Epoch >= epoch {
			best, epoch = m.name, m.rep.Promises().Epoch
		}
	}
	return best
}
