package fake

import (
	"time"

	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// Ship performs one exchange of the member's stream as a follower: it connects, or takes what the leader has next, syncs it
// and acknowledges it.
func (c *Cluster) Ship(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if m := c.find(name); m != nil && m.rep != nil {
		c.ship(m)
	}
}

func (c *Cluster) ship(m *member) {
	if m.rep.Role() != wire.RoleFollower {
		c.unlink(m)
		return
	}
	p := m.rep.Promises()
	to := c.members[hostOf(p.Address)]
	if m.link != nil && (m.link != to || !c.connected(m.host, to.host)) {
		c.unlink(m)
	}
	switch {
	case to == nil || to.gone || !c.connected(m.host, to.host):
		m.refused = false
		return
	case to.rep == nil:
		m.refused = true
		return
	case to.rep.Role() != wire.RoleLeader || to.rep.Promises().Epoch != p.Epoch:
		c.unlink(m)
		m.refused = false
		return
	}
	m.refused = false
	if m.link == nil && !c.hello(m, to) {
		return
	}
	c.exchange(m, to, p.Epoch)
}

// hello runs the handshake; a snapshot is installed in one step.
func (c *Cluster) hello(m, to *member) bool {
	_, _ = m.log.Sync()
	for range 64 {
		reply := to.rep.OnHello(m.rep.Hello(), c.now)
		step, err := m.rep.OnHelloReply(reply)
		if err != nil {
			panic(err)
		}
		cut, err := m.rep.FinishCut()
		if err != nil {
			panic(err)
		}
		m.quarantine += cut
		switch step {
		case replication.StepStream:
			m.link, m.heard = to, c.now
			return true
		case replication.StepAgain:
		case replication.StepSeed:
			c.seed(m, to)
		case replication.StepLeave, replication.StepRenew:
			return false
		}
	}
	panic("fake: the handshake does not end")
}

// seed installs a checkpoint of to, which ends where to's state machine is.
func (c *Cluster) seed(m, to *member) {
	m.log = copyOf(to.log, to.applied)
	m.applied = m.log.Last().Position
	if m.rep.Promises().NeedSeed {
		m.renew()
	}
	if err := m.rep.Seeded(m.log, m.log.Last(), m.self.Incarnation); err != nil {
		panic(err)
	}
}

func (c *Cluster) exchange(m, to *member, epoch replication.Epoch) {
	_, version := to.rep.Rules()
	a := replication.Append{Version: version, Epoch: epoch, Commit: to.rep.Commit(), Sent: c.now.UnixNano(), Records: to.log.after(m.log.Last().Position, 4)}
	if err := m.rep.OnAppend(a, c.now); err != nil {
		c.unlink(m)
		return
	}
	m.heard = c.now
	if !c.hung(m) {
		_, _ = m.log.Sync()
		m.rep.OnDurable(c.now)
	}
	to.rep.OnAck(m.self, m.rep.Ack(m.applied), c.now, c.now)
	c.note(to)
	c.note(m)
}

func (c *Cluster) unlink(m *member) {
	if m.link != nil && m.link.rep != nil {
		m.link.rep.OnStreamEnd(m.self)
	}
	m.link = nil
}

// Settle moves everything until nothing moves any more, without advancing the clock more than it must.
func (c *Cluster) Settle() {
	for range 6 {
		c.Advance(20 * time.Millisecond)
		for _, name := range c.Names() {
			c.Sync(name)
			c.Ship(name)
			c.Ship(name)
		}
	}
}
