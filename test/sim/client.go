package sim

import (
	"errors"
	"time"

	"github.com/replicatedstore/replicatedstore/replication"
)

// errNotHere is the answer of a member that cannot do what it was asked to do. The request had no effect.
var errNotHere = errors.New("sim: not here")

// errUnknown means that the outcome is unknown: the write may or may not survive.
var errUnknown = errors.New("sim: outcome unknown")

// put is a write through a client connection. Connections do not wait for the role goroutine, and neither does put.
func (p *process) put(c *Proc, key byte, value uint64) error {
	if p.m.Role() != replication.RoleLeader {
		return errNotHere
	}
	if p.m.Room().Add == 0 {
		return errNotHere // its volume is full
	}
	wait := p.sequencer().put(key, value)
	if wait == nil {
		return errNotHere
	}
	p.after(0, func() {}) // wake the role goroutine, which seals what is queued
	for end := p.w.loop.Now() + writeTimeout; !wait.done; {
		if !c.Wait(&wait.settled, end-p.w.loop.Now()) && !wait.done {
			return errUnknown
		}
	}
	if !wait.ok {
		return errUnknown
	}
	return nil
}

const (
	writeTimeout = 2 * time.Second
	readTimeout  = 500 * time.Millisecond
)

// get is a linearizable read. Like node/resp, it passes the read gate first and reads the state a moment later.
func (p *process) get(c *Proc, key byte) (uint64, error) {
	for end := p.w.loop.Now() + readTimeout; !p.mayRead(); c.Sleep(5 * time.Millisecond) {
		if p.w.loop.Now() > end || p.m.Role() != replication.RoleLeader {
			return 0, errNotHere
		}
	}
	if p.w.loop.Chance(0.02) {
		c.Sleep(p.w.latency(0, 2*time.Millisecond))
	}
	return p.state().values[key], nil
}

func (p *process) mayRead() bool { return p.m.Role() == replication.RoleLeader && p.m.MayRead() }

// look reads with no guarantee beyond a consistent prefix. It records what it saw here, because answers may overtake each other.
func (p *process) look(key byte) error {
	if !p.m.Readable() || !p.m.Current() {
		return errNotHere
	}
	s := p.state()
	p.w.looks++
	p.w.history.Look(p.self.String(), key, s.values[key], s.mark)
	return nil
}

// client writes and reads a few registers at the member that it takes for the leader, and occasionally reads at any member.
type client struct {
	w      *World
	id     int
	host   string
	leader string // host
	lives  int
	// Out of ten operations, writes are writes and gets are reads at the leader; the rest are looks at any member. patience is the
	// timeout of one call.
	writes, gets int
	patience     time.Duration
}

// registerCount is the number of keys. It is small, so that clients contend.
const (
	registerCount = 3
	clientCount   = 3
)

func (w *World) newClient(id int) {
	k := &client{w: w, id: id, host: "client-" + string(rune('a'+id)), writes: 5, gets: 4, patience: 3 * time.Second}
	if w.mixed {
		k.patience = 100 * time.Millisecond << w.loop.Rand.IntN(6)
		if id > 0 { // client 0 always writes
			k.writes = []int{0, 0, 3, 9}[w.loop.Rand.IntN(4)]
			k.gets = 9 - k.writes
		}
	}
	w.net.Host(k.host).Boot(k.host).Go("client", k.run)
}

func (k *client) run(c *Proc) {
	for !k.w.quiet {
		c.Sleep(k.w.latency(5*time.Millisecond, 60*time.Millisecond))
		key := byte(k.w.loop.Rand.IntN(registerCount))
		switch n := k.w.loop.Rand.IntN(10); {
		case n < k.writes:
			k.put(c, key)
		case n < k.writes+k.gets:
			k.get(c, key)
		default:
			k.look(c, key)
		}
	}
}

// target returns the host to ask: the leader's, as far as the client knows.
func (k *client) target() string {
	if k.leader == "" || k.w.loop.Chance(0.03) {
		k.leader = k.w.anyHost()
	}
	return k.leader
}

// ask calls a member.
func (k *client) ask(c *Proc, host string, do func(h *Proc, p *process) (any, error)) (any, error) {
	if host == "" {
		return nil, errNotHere
	}
	return k.w.net.CallOnce(c, k.host, host, k.patience, func(h *Proc) (any, error) {
		p := k.w.members[host]
		if p == nil {
			return nil, ErrRefused
		}
		return do(h, p)
	})
}

func (k *client) put(c *Proc, key byte) {
	k.w.values++
	value := k.w.values
	op := k.w.history.Put(k.number(), key, value)
	_, err := k.ask(c, k.target(), func(h *Proc, p *process) (any, error) { return nil, p.put(h, key, value) })
	switch {
	case err == nil:
		op.Done()
	case errors.Is(err, errNotHere), errors.Is(err, ErrRefused):
		op.Failed()
	default:
		op.Unknown()
		k.lives++
	}
	k.learn(err)
}

// number identifies the client in the history. It changes whenever an outcome stays unknown.
func (k *client) number() int { return k.id + clientCount*k.lives }

func (k *client) get(c *Proc, key byte) {
	op := k.w.history.Get(k.number(), key)
	v, err := k.ask(c, k.target(), func(h *Proc, p *process) (any, error) { return p.get(h, key) })
	if err == nil {
		op.Read(v.(uint64))
		k.w.reads++
	} else {
		op.Failed()
	}
	k.learn(err)
}

// learn looks for another leader after an error.
func (k *client) learn(err error) {
	if err != nil {
		k.leader = ""
	}
}

// look reads at any member, leader or not.
func (k *client) look(c *Proc, key byte) {
	_, _ = k.ask(c, k.w.anyHost(), func(_ *Proc, p *process) (any, error) { return nil, p.look(key) })
}
