package sim

import (
	"io"
	"net"
	"time"
)

// Conn is one end of a connection between two hosts: an ordered stream of messages that loses nothing until it breaks. A cut makes
// it silent: messages in flight wait and arrive once the cut is healed. The connection may also break meanwhile, at either end or
// at both, and at different times.
type Conn struct {
	net           *Net
	local, remote *Host
	peer          *Conn
	out           pipe

	index   int // in local.conns; -1: this end is closed
	in      []any
	arrived Signal
	rest    []byte // rest of the newest message, for Stream
	err     error  // returned by Recv once in is empty, and by Send
}

// pipe is one direction of a connection.
type pipe struct {
	from    *Conn
	flight  []packet
	timer   *Timer // arrival of flight[0]; nil: not scheduled
	newest  time.Duration
	stalled bool
	breaks  uint64 // counts stalls
}

type packet struct {
	at   time.Duration
	kind byte
	msg  any
}

const (
	packetData byte = iota
	packetEnd       // end of stream
	packetReset
)

// firstRetry is the delay before an unanswered connection attempt is sent again. It doubles with every retry.
const firstRetry = time.Second

// Dial connects the process running on host from to the one on host to.
func (n *Net) Dial(p *Proc, from, to string, timeout time.Duration) (*Conn, error) {
	var (
		conn  *Conn
		err   error
		ended bool
		end   Signal
	)
	a, b := n.Host(from), n.Host(to)
	limit := n.loop.now + timeout
	for wait := firstRetry; !ended && n.loop.now < limit; wait *= 2 {
		n.send(a, b, func() {
			if b.process == nil || b.listen == nil {
				n.send(b, a, func() { err, ended = ErrRefused, true; end.Fire() })
				return
			}
			n.send(b, a, func() {
				if ended || n.loop.now >= limit || p.ended {
					return
				}
				if conn = n.connect(a, b); conn == nil {
					err = ErrReset
				}
				ended = true
				end.Fire()
			})
		})
		p.Wait(&end, min(wait, limit-n.loop.now))
	}
	if !ended {
		return nil, ErrTimeout
	}
	return conn, err
}

// connect creates both ends of a connection. It returns nil if either process has died since.
func (n *Net) connect(a, b *Host) *Conn {
	if b.process == nil || b.listen == nil || a.gone || b.gone {
		return nil
	}
	c, d := &Conn{net: n, local: a, remote: b}, &Conn{net: n, local: b, remote: a}
	c.peer, d.peer = d, c
	for _, end := range []*Conn{c, d} {
		end.out.from = end
		end.index = len(end.local.conns)
		end.local.conns = append(end.local.conns, end)
	}
	accept := b.listen
	b.process.After(0, func() { accept(d) })
	return c
}

// Remote returns the name of the host at the other end.
func (c *Conn) Remote() string { return c.remote.Name }

// Send queues msg on the connection and never blocks. An error means that the connection has ended.
func (c *Conn) Send(msg any) error {
	if c.index < 0 || c.err != nil {
		return c.failure()
	}
	c.out.push(packetData, msg)
	return nil
}

// Recv returns the next message. It waits for at most timeout, or forever if timeout is negative. It fails with ErrTimeout (after
// which it may be called again), io.EOF (the other end closed the connection), ErrReset or net.ErrClosed.
func (c *Conn) Recv(p *Proc, timeout time.Duration) (any, error) {
	limit := c.net.loop.now + timeout
	for len(c.in) == 0 && c.err == nil && c.index >= 0 {
		left := time.Duration(-1)
		if timeout >= 0 {
			left = max(0, limit-c.net.loop.now)
		}
		if !p.Wait(&c.arrived, left) && len(c.in) == 0 && c.err == nil {
			return nil, ErrTimeout
		}
	}
	if len(c.in) == 0 || c.index < 0 {
		return nil, c.failure()
	}
	msg := c.in[0]
	c.in[0] = nil
	c.in = c.in[1:]
	return msg, nil
}

func (c *Conn) failure() error {
	if c.err != nil {
		return c.err
	}
	return net.ErrClosed
}

// Close ends the connection. What was sent before still arrives. Close may be called more than once.
func (c *Conn) Close() error {
	if c.index >= 0 {
		c.detach()
		c.out.push(packetEnd, nil)
		c.wake(net.ErrClosed)
	}
	return nil
}

// abandon disposes of an end whose process has died.
func (c *Conn) abandon() {
	c.detach()
	if c.net.loop.Chance(0.5) {
		c.out.flight = nil
	}
	c.out.push(packetReset, nil)
	c.wake(ErrReset)
}

// fail breaks this end. The other end learns of it if the network lets it.
func (c *Conn) fail() {
	if c.index >= 0 {
		c.abandon()
		c.in = nil
	}
}

func (c *Conn) detach() {
	conns := c.local.conns
	last := conns[len(conns)-1]
	conns[c.index], last.index = last, c.index
	c.local.conns = conns[:len(conns)-1]
	c.index = -1
}

func (c *Conn) wake(why error) {
	if c.err == nil {
		c.err = why
	}
	c.arrived.Fire()
}

// push queues a packet behind those already in flight.
func (p *pipe) push(kind byte, msg any) {
	n := p.from.net
	d := n.delay() + n.slow[way{p.from.local, p.from.remote}]
	if n.loop.Chance(n.Profile.Loss) {
		d += retransmit
	}
	p.newest = max(p.newest, n.loop.now+d)
	p.flight = append(p.flight, packet{p.newest, kind, msg})
	if p.timer == nil && !p.stalled {
		p.schedule(p.newest - n.loop.now)
	}
}

func (p *pipe) schedule(d time.Duration) {
	p.timer = p.from.net.loop.After(d, p.arrive)
}

// arrive delivers what is due, or stalls.
func (p *pipe) arrive() {
	p.timer = nil
	c := p.from
	if !c.net.open(c.local, c.remote) {
		p.stall()
		return
	}
	now := c.net.loop.now
	for len(p.flight) > 0 && p.flight[0].at <= now {
		next := p.flight[0]
		p.flight[0] = packet{}
		p.flight = p.flight[1:]
		c.peer.take(next)
	}
	if len(p.flight) > 0 {
		p.schedule(p.flight[0].at - now)
	}
}

// take handles the arrival of a packet at this end.
func (c *Conn) take(k packet) {
	switch {
	case c.index < 0:
		if k.kind == packetData && len(c.out.flight) == 0 {
			c.out.push(packetReset, nil) // nobody is left here to take it
		}
	case k.kind == packetData:
		c.in = append(c.in, k.msg)
		c.arrived.Fire()
	case k.kind == packetEnd:
		c.wake(io.EOF)
	default:
		c.in = nil
		c.detach()
		c.wake(ErrReset)
	}
}

// stall waits for this direction to open again. Meanwhile either end may give up.
func (p *pipe) stall() {
	n := p.from.net
	p.stalled = true
	p.breaks++
	n.stalled = append(n.stalled, p)
	this := p.breaks
	for _, end := range []*Conn{p.from, p.from.peer} {
		if !n.loop.Chance(0.5) {
			continue
		}
		n.loop.After(n.loop.Between(300*time.Millisecond, 15*time.Second), func() {
			if p.stalled && p.breaks == this {
				n.loop.Logf("the connection of %s to %s breaks", end.local.Name, end.remote.Name)
				end.fail()
			}
		})
	}
}

// Stream carries bytes over the connection in messages of at most chunk bytes, no faster than Net.StreamRate. Its calls block p,
// and a read fails after streamIdle.
func (c *Conn) Stream(p *Proc) io.ReadWriteCloser { return &byteStream{c, p} }

const (
	chunk      = 8 << 10
	streamIdle = 10 * time.Second
)

type byteStream struct {
	*Conn
	p *Proc
}

func (s *byteStream) Write(b []byte) (n int, err error) {
	for len(b) > 0 {
		k := min(len(b), chunk)
		if err := s.Send(append([]byte(nil), b[:k]...)); err != nil {
			return n, err
		}
		s.p.Sleep(time.Duration(k) * time.Second / time.Duration(s.net.StreamRate))
		n, b = n+k, b[k:]
	}
	return n, nil
}

func (s *byteStream) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	for len(s.rest) == 0 {
		msg, err := s.Recv(s.p, streamIdle)
		if err != nil {
			return 0, err
		}
		s.rest = msg.([]byte)
	}
	n := copy(b, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}
