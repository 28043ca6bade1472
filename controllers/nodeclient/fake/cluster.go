package fake

import (
	"encoding/binary"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// Operator is the host name of operators, for Cut.
const Operator = "operator"

// silence is how long a leader must be unheard before a follower considers it lost.
const silence = 500 * time.Millisecond

// Cluster holds the members of one store. Its methods are safe for concurrent use.
type Cluster struct {
	store string

	mu      sync.Mutex
	now     time.Time
	members map[string]*member // by host
	cut     map[[2]string]bool
	// Hung holds the members whose fsyncs do not return, with the problem reason that they report.
	Hung    map[string]string
	written uint64
	acked   map[replication.Position]Acked
	leaders map[replication.Epoch]string
	broken  []string // invariants found broken
	forked  []string // two contents at one position
}

// Acked is a write that some leader acknowledged.
type Acked struct {
	Mark replication.Mark
	By   string
}

type member struct {
	name, host string
	self       replication.Voter
	log        *memLog
	stable     *stable
	rep        *replication.Replica // nil while the process is down
	gone       bool                 // its host is gone too: nobody answers, not even to refuse
	applied    replication.Position
	incarnated int
	quarantine uint64

	// as a follower
	link  *member
	heard time.Time
	// refused: the last dial reached a host on which the process does not run.
	refused bool
	// as a leader
	heldUntil  time.Time
	leaseUntil time.Time // with K = 0 it acknowledges nothing after this
	open       bool      // in this leadership it has acknowledged, or could have
	leaseFor   time.Duration
	config     wire.PromoteRequest
}

// NewCluster returns a store without members, at a fixed time.
func NewCluster(store string) *Cluster {
	return &Cluster{
		store: store, now: time.Unix(1_000_000, 0), members: map[string]*member{}, cut: map[[2]string]bool{},
		acked: map[replication.Position]Acked{}, leaders: map[replication.Epoch]string{},
	}
}

// Start starts a member's process on host, with the data directory that the member of this name left behind, or a new one.
func (c *Cluster) Start(name, host string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := c.find(name)
	if m == nil {
		m = &member{name: name}
		m.format()
	} else {
		delete(c.members, m.host)
	}
	m.host, m.gone, m.link = host, false, nil
	c.members[host] = m
	rep, err := replication.NewReplica(replication.ReplicaOptions{Store: c.store, Self: m.self}, m.log, m.stable, m.stable.p, m.applied, c.now)
	if err != nil {
		panic(err)
	}
	m.rep = rep
}

// format gives the member a new, empty data directory.
func (m *member) format() {
	m.renew()
	m.log, m.stable, m.applied, m.quarantine = &memLog{}, &stable{}, 0, 0
}

// renew gives the member a new incarnation.
func (m *member) renew() {
	m.incarnated++
	m.self = replication.Voter{Member: m.name, Incarnation: fmt.Sprintf("%s-data-%d", m.name, m.incarnated)}
}

func (c *Cluster) find(name string) *member {
	for _, m := range c.members {
		if m.name == name {
			return m
		}
	}
	return nil
}

// Crash kills the member's process; its host refuses connections. Whatever was not synced is lost.
func (c *Cluster) Crash(name string) { c.stop(name, false) }

// Rewind kills the member's process and starts another one, whose state machine is as it was last flushed, at p or before.
func (c *Cluster) Rewind(name string, p replication.Position) {
	c.stop(name, false)
	c.mu.Lock()
	m := c.find(name)
	m.applied = copyOf(m.log, p).Last().Position
	host := m.host
	c.mu.Unlock()
	c.Start(name, host)
}

// Last returns the end of the member's log.
func (c *Cluster) Last(name string) replication.Mark {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.find(name).log.Last()
}

// Vanish removes the member together with its host: nobody answers any more.
func (c *Cluster) Vanish(name string) { c.stop(name, true) }

func (c *Cluster) stop(name string, gone bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := c.find(name)
	if m == nil {
		return
	}
	m.gone = gone
	if m.rep == nil {
		return
	}
	m.log.crash()
	m.rep = nil
	c.unlink(m)
	for _, o := range c.members {
		if o.link == m {
			o.link = nil
		}
	}
}

// Wipe replaces a stopped member's data directory with an empty one.
func (c *Cluster) Wipe(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if m := c.find(name); m != nil && m.rep == nil {
		m.format()
	}
}

// Discard empties the member's quarantine, as a person would.
func (c *Cluster) Discard(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if m := c.find(name); m != nil {
		m.quarantine = 0
	}
}

// Fill leaves no room for a barrier on the member's volume, or frees it again.
func (c *Cluster) Fill(name string, full bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if m := c.find(name); m != nil {
		m.log.full = full
	}
}

// Cut breaks the network between two hosts.
func (c *Cluster) Cut(a, b string) { c.setCut(a, b, true) }

// Heal restores what Cut broke.
func (c *Cluster) Heal(a, b string) { c.setCut(a, b, false) }

func (c *Cluster) setCut(a, b string, cut bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut[[2]string{min(a, b), max(a, b)}] = cut
}

// HealAll restores the whole network.
func (c *Cluster) HealAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.cut)
}

func (c *Cluster) connected(a, b string) bool { return !c.cut[[2]string{min(a, b), max(a, b)}] }

// Running reports whether the member's process runs.
func (c *Cluster) Running(name string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := c.find(name)
	return m != nil && m.rep != nil
}

// Now returns the cluster's time.
func (c *Cluster) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Advance moves the clock and lets leaders tick.
func (c *Cluster) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
	for _, m := range c.members {
		if m.rep != nil {
			m.rep.Tick(c.now)
			m.openOrResign(c.now)
		}
	}
}

// Write lets the member append one client write if it takes writes. The write is not synced yet.
func (c *Cluster) Write(name string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := c.find(name)
	if m == nil || m.rep == nil || !m.rep.Writable() || c.now.Before(m.heldUntil) || !m.mayAcknowledge(c.now) {
		return false
	}
	c.written++
	payload := binary.BigEndian.AppendUint64([]byte{8}, c.written)
	if err := m.rep.Extend(m.log.Last().Position+1, 1, payload, c.now.UnixMilli()); err != nil {
		panic(err)
	}
	return true
}

// Sync makes the member's log durable.
func (c *Cluster) Sync(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if m := c.find(name); m != nil && m.rep != nil {
		c.sync(m)
	}
}

func (c *Cluster) hung(m *member) bool {
	_, hung := c.Hung[m.name]
	return hung
}

func (c *Cluster) sync(m *member) {
	if c.hung(m) {
		return
	}
	_, _ = m.log.Sync()
	m.rep.OnDurable(c.now)
	c.note(m)
}

// mayAcknowledge reports whether a leader may acknowledge writes. With K = 0 it stops at its own deadline.
func (m *member) mayAcknowledge(now time.Time) bool {
	rules, _ := m.rep.Rules()
	async := slices.ContainsFunc(rules, func(r replication.Rule) bool { return r.K == 0 })
	return !async || now.Before(m.leaseUntil)
}

// openOrResign ends a leadership that has acknowledged writes and no longer may: it needs a new epoch.
func (m *member) openOrResign(now time.Time) {
	may := m.rep.Writable() && m.mayAcknowledge(now)
	if m.open && !may {
		m.rep.Resign()
	}
	m.open = may
}

// Renew lets the member renew its Lease if it leads. The Lease itself is kept by the caller.
func (c *Cluster) Renew(name string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := c.find(name)
	if m == nil || m.rep == nil || m.rep.Role() != wire.RoleLeader {
		return false
	}
	m.leaseUntil = c.now.Add(m.leaseFor)
	return true
}

// hostOf strips the port of an address.
func hostOf(addr string) string {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	return host
}
