package sim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/go-logr/logr"

	"github.com/replicatedstore/replicatedstore/node/role"
	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/peer"
	snap "github.com/replicatedstore/replicatedstore/replication/snapshot"
	"github.com/replicatedstore/replicatedstore/replication/wal"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// process is one running member: the real role.Member, log, META and snapshots on a simulated disk.
type process struct {
	w          *World
	id         string // no two processes have the same
	name, host string
	self       replication.Voter
	disk       *Disk
	fs         vfs.FS
	clock      *Clock
	lease      *leaseHolder
	m          *role.Member
	works      *works
	source     *snap.Source

	os      *Process // what is killed and frozen
	waiting []func() // for the disk
	unhung  Signal
	writers []*writer
	acker   func() // sends what is owed; nil: this member does not follow a stream
	changed <-chan struct{}
	fatal   error
	slow    time.Duration // added to every fsync
}

// writer is the sending half of one follower's stream.
type writer struct {
	stream *peer.Stream
	due    Signal
}

const storeName = "orders"

// start opens the member's directory and runs it on a host that has booted; an error is what the process ends with.
func (w *World) start(name, host string, disk *Disk) (*process, error) {
	h := w.net.Host(host)
	w.processes++
	p := &process{w: w, id: fmt.Sprintf("%s.%d", name, w.processes), name: name, host: host, disk: disk, fs: disk.FS(), os: h.Process(), clock: h.Clock}
	p.os.OnExit(disk.Kill)
	p.works = &works{p: p}
	p.lease = &leaseHolder{p: p}
	m, err := role.Open(role.Options{
		FS: p.fs, Dir: "data", Store: storeName, Member: name, Version: "sim", Log: logr.Discard(),
		Now: p.now, Wall: p.wall, LogRetain: w.retain, RetainEvery: w.retainEvery,
		Segments:       wal.Options{SegmentBytes: 64 << 10, TailBytes: 8 << 10, Spawn: func(f func()) { f() }},
		NewIncarnation: w.newIncarnation, Lease: p.lease, Peer: ":6380", SeedBurst: 3, SeedRefill: 20 * time.Second,
	}, p.works)
	if err != nil {
		return nil, err
	}
	p.m, p.self = m, m.Replica().Self()
	if p.source, err = snap.NewSource(m.SeedOptions()); err != nil {
		return nil, err
	}
	p.changed = m.Changed()
	w.opened(p)
	w.members[host] = p
	p.os.OnExit(func() { delete(w.members, host) })
	h.Listen(func(conn *Conn) { p.os.Go("serve", func(c *Proc) { p.accept(c, conn) }) })
	p.settle()
	p.tick()
	return p, nil
}

// stop ends the process in order.
func (p *process) stop() {
	p.m.Leave()
	p.works.StopApply()
	if err := p.m.Close(); err != nil {
		p.w.loop.Logf("%s: close: %v", p.name, err)
	}
	p.os.Kill()
}

func (p *process) now() time.Time { return p.clock.Mono() }
func (p *process) wall() int64    { return p.clock.Wall().UnixMilli() }

// after runs f in the role goroutine when d has passed on its clock, or once the disk lets it come round again.
func (p *process) after(d time.Duration, f func()) *Timer {
	return p.os.After(p.clock.True(d), func() { p.run(f) })
}

func (p *process) run(f func()) {
	if p.disk.Hung() {
		p.waiting = append(p.waiting, func() { p.run(f) })
		return
	}
	f()
	p.settle()
}

// diskBack lets go on what waited for the disk.
func (p *process) diskBack() {
	waiting := p.waiting
	p.waiting = nil
	for _, f := range waiting {
		f()
	}
	p.unhung.Fire()
}

// ready waits until the role goroutine comes round: while the disk hangs, it does not.
func (p *process) ready(c *Proc) {
	for p.disk.Hung() {
		c.Wait(&p.unhung, -1)
	}
}

func (p *process) tick() {
	p.after(peer.Heartbeat, func() {
		p.m.Tick()
		p.tick()
	})
}

// settle is what the role goroutine does after every event.
func (p *process) settle() {
	p.m.Settle()
	for p.m.MaySeal() && p.sequencer().taken <= p.sequencer().tail {
		p.m.Seal()
		p.m.Settle()
	}
	for _, x := range p.writers {
		select {
		case <-x.stream.Wake:
			x.due.Fire()
		case <-x.stream.Done:
			x.due.Fire()
		default:
		}
	}
	if p.acker != nil {
		p.acker()
	}
	select {
	case <-p.changed:
		p.changed = p.m.Changed()
		p.w.changed(p)
	default:
	}
	p.w.check(p)
}

func (p *process) sequencer() *sequencer { return p.m.Contents().Seq.(*sequencer) }
func (p *process) state() *registers     { return p.m.Contents().State.(*registers) }

// fail ends the process a moment later, as a node does that met a final error.
func (p *process) fail(err error) {
	if p.fatal != nil || p.os.Dead() {
		return
	}
	p.fatal = err
	p.w.loop.Logf("%s fails: %v", p.name, err)
	p.w.loop.After(p.w.latency(0, 20*time.Millisecond), p.os.Kill)
}

func (p *process) syncTime() time.Duration {
	return p.slow + p.w.latency(100*time.Microsecond, 4*time.Millisecond)
}

// follow keeps a connection to the leader, as the node's dialler does.
func (p *process) follow(c *Proc, l *role.Link) {
	wait := role.RedialFirst
	for {
		if p.connectOnce(c, l) {
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

// fetch gets a snapshot from a follower, for as long as the leader's connection lasts.
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

// Accept serves one follower's connection, as peer.Serve does.
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
		h.Address = conn.Remote() + h.Address // which has no host
		reply, stream, err := p.m.Hello(ctx, h)
		if err != nil {
			return
		}
		conn.Send(reply)
		switch reply.Verdict {
		case replication.VerdictCut:
		case replication.VerdictStream:
			p.serveStream(ctx, c, conn, h, stream)
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

// tether is a connection that only tells how long it lasts.
type tether struct {
	*Conn
	c *Proc
}

func (t tether) Read([]byte) (int, error) {
	_, err := t.Recv(t.c, -1)
	return 0, err
}

func (t tether) Write([]byte) (int, error) { return 0, errNotHere }

func (p *process) serveStream(ctx context.Context, c *Proc, conn *Conn, h replication.Hello, s *peer.Stream) {
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
	for !gone { // not ready: a stream does not wait for the role goroutine
		last, commit := s.Ends()
		a, due, err := sender.Next(last, commit, s.Clock())
		select {
		case <-s.Done:
			return
		default:
		}
		if err != nil {
			return
		}
		if due {
			a.Records = slices.Clone(a.Records)
			conn.Send(a)
		}
		if len(a.Records) == 0 {
			c.Wait(&x.due, peer.Heartbeat)
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

// Control port. Each waits for the role goroutine, as long as that takes.

func (p *process) Status(c *Proc) (wire.Status, error) {
	p.ready(c)
	return p.m.Status(context.Background())
}

func (p *process) Fence(c *Proc, r wire.FenceRequest) (wire.FenceReply, error) {
	p.ready(c)
	reply, err := p.m.Fence(context.Background(), r)
	if err == nil {
		p.w.promised(p, reply)
	}
	return reply, err
}

func (p *process) Promote(c *Proc, r wire.PromoteRequest) error {
	p.ready(c)
	return p.m.Promote(context.Background(), r)
}

func (p *process) Follow(c *Proc, r wire.FollowRequest) error {
	p.ready(c)
	return p.m.Follow(context.Background(), r)
}

func (p *process) Configure(c *Proc, r wire.ConfigureRequest) error {
	p.ready(c)
	return p.m.Configure(context.Background(), r)
}

func (p *process) Handover(c *Proc, r wire.HandoverRequest) (wire.HandoverReply, error) {
	p.ready(c)
	end := p.now().Add(time.Duration(r.HoldMillis) * time.Millisecond)
	for begin := true; ; begin = false {
		reply, done, err := p.m.TryHandover(context.Background(), r, begin)
		if err != nil || done {
			return reply, err
		}
		if p.now().After(end) {
			return reply, &replication.Refusal{Reason: "NotInTime", Message: "not in time"}
		}
		c.Sleep(2 * time.Millisecond)
		p.ready(c)
	}
}
