package sim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/replicatedstore/replicatedstore/node/role"
	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/peer"
)

// This file does with messages and coroutines what the node's dialler and the peer package do with frames and goroutines.

// follow maintains a connection to the leader, as the node's dialler does.
func (p *process) follow(c *Proc, l *role.Link) {
	wait := role.RedialFirst
	for {
		if began := c.loop.now; p.connectOnce(c, l) && c.loop.now-began >= role.RedialMost {
			wait = role.RedialFirst
		}
		c.Sleep(wait)
		wait = min(2*wait, role.RedialMost)
	}
}

const (
	dialTimeout = time.Second
	handshake   = 5 * time.Second
)

func (p *process) connectOnce(c *Proc, l *role.Link) (streamed bool) {
	ctx := context.Background()
	p.ready(c)
	if l.Ready(ctx) != nil {
		return false
	}
	conn, err := p.w.net.Dial(c, p.host, l.Address(), dialTimeout)
	if err == nil {
		defer conn.Close()
	}
	p.ready(c)
	if l.Dialled(ctx, errors.Is(err, ErrRefused)) != nil || err != nil {
		return false
	}
	s, err := l.Begin(ctx)
	if err != nil {
		return false
	}
	defer s.End()
	if err := p.converse(ctx, c, conn, s); s.Streamed() {
		p.w.loop.Logf("%s: stream ended: %v", p.name, err)
	}
	return s.Streamed()
}

// converse is peer.Follow with messages in place of frames.
func (p *process) converse(ctx context.Context, c *Proc, conn *Conn, s *role.Session) error {
	for {
		p.ready(c)
		hello, err := s.Hello(ctx)
		if err != nil {
			return err
		}
		conn.Send(hello)
		msg, err := conn.Recv(c, handshake)
		if err != nil {
			return err
		}
		p.ready(c)
		step, err := s.Reply(ctx, msg.(replication.HelloReply))
		if err != nil {
			return err
		}
		switch step {
		case replication.StepAgain:
		case replication.StepSeed:
			p.w.seeds++
			return s.Seed(ctx, conn.Stream(c))
		case replication.StepFetch:
			return p.fetch(ctx, c, conn, s)
		case replication.StepStream:
			return p.takeAppends(ctx, c, conn, s)
		default:
			return fmt.Errorf("step %d", step)
		}
	}
}

// fetch gets a snapshot from another follower. It is canceled when the connection to the leader ends.
func (p *process) fetch(ctx context.Context, c *Proc, leader *Conn, s *role.Session) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	address, hello := s.Source()
	source, err := p.greetSource(c, address, hello)
	if err != nil {
		p.ready(c)
		s.SourceFailed(ctx, err)
		return err
	}
	defer source.Close()
	watch := p.os.Go("leader's end", func(c *Proc) {
		_, _ = leader.Recv(c, -1)
		cancel()
		_ = source.Close()
	})
	defer watch.Kill()
	p.w.fetches++
	return s.Seed(ctx, source.Stream(c))
}

func (p *process) greetSource(c *Proc, address string, hello replication.Hello) (*Conn, error) {
	conn, err := p.w.net.Dial(c, p.host, address, handshake)
	if err != nil {
		return nil, err
	}
	_ = conn.Send(hello)
	msg, err := conn.Recv(c, handshake)
	if err == nil && msg.(replication.HelloReply).Verdict != replication.VerdictSeed {
		err = errNotHere
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}

func (p *process) takeAppends(ctx context.Context, c *Proc, conn *Conn, s *role.Session) error {
	p.acker = func() {
		select {
		case <-s.Acks():
			_ = conn.Send(s.Ack())
		default:
		}
	}
	defer func() { p.acker = nil }()
	for {
		msg, err := conn.Recv(c, 2*peer.Silence)
		if err != nil {
			return err
		}
		p.ready(c)
		if err := s.Append(ctx, msg.(replication.Append)); err != nil {
			return err
		}
	}
}

// accept serves one follower's connection, as peer.Serve does.
func (p *process) accept(c *Proc, conn *Conn) {
	defer conn.Close()
	ctx := context.Background()
	for {
		msg, err := conn.Recv(c, handshake)
		if err != nil {
			return
		}
		p.ready(c)
		h := msg.(replication.Hello)
		h.Address = conn.Remote() + h.Address // the address has no host
		reply, stream, err := p.m.Hello(ctx, h)
		if err != nil {
			return
		}
		conn.Send(reply)
		switch reply.Verdict {
		case replication.VerdictCut:
		case replication.VerdictStream:
			p.serveStream(c, conn, h, stream)
			return
		case replication.VerdictSeed:
			rw := conn.Stream(c)
			if reply.Source != nil {
				rw = tether{conn, c}
			}
			if err := p.m.Seed(ctx, h, rw); err != nil {
				p.w.loop.Logf("%s: seed of %s ended: %v", p.name, h.Member, err)
			}
			return
		default:
			return
		}
	}
}

// tether wraps a connection that serves only to signal how long it lasts.
type tether struct {
	*Conn
	c *Proc
}

func (t tether) Read([]byte) (int, error) {
	_, err := t.Recv(t.c, -1)
	return 0, err
}

func (t tether) Write([]byte) (int, error) { return 0, errNotHere }

func (p *process) serveStream(c *Proc, conn *Conn, h replication.Hello, s *peer.Stream) {
	from := replication.Voter{Member: h.Member, Incarnation: h.Incarnation}
	defer p.m.End(from, s)
	x := &writer{stream: s}
	p.writers = append(p.writers, x)
	gone := false
	acks := p.os.Go("read acks", func(c *Proc) {
		for {
			msg, err := conn.Recv(c, -1)
			if err != nil {
				gone = true
				x.due.Fire()
				return
			}
			p.ready(c)
			p.m.Ack(from, msg.(replication.Ack))
		}
	})
	defer acks.Kill()
	defer p.forget(x)
	sender := peer.NewSender(s.Log, s.Epoch, s.Holds, peer.Heartbeat)
	for !gone { // without p.ready: a stream does not wait for the role goroutine
		a, due, err := s.Next(sender)
		select {
		case <-s.Done:
			return
		default:
		}
		if err != nil {
			return
		}
		if due && s.Due(a) {
			a.Records = slices.Clone(a.Records)
			conn.Send(a)
		}
		if len(a.Records) == 0 {
			c.Wait(&x.due, sender.Wait(s.Clock()))
		}
	}
}

func (p *process) forget(x *writer) {
	for i, y := range p.writers {
		if x == y {
			p.writers = append(p.writers[:i:i], p.writers[i+1:]...)
			return
		}
	}
}
