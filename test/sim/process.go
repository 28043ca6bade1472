package sim

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/go-logr/logr"

	"github.com/replicatedstore/replicatedstore/node/role"
	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/durable"
	"github.com/replicatedstore/replicatedstore/replication/peer"
	snap "github.com/replicatedstore/replicatedstore/replication/snapshot"
	"github.com/replicatedstore/replicatedstore/replication/volume"
	"github.com/replicatedstore/replicatedstore/replication/wal"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// process is one running member: the real role.Member, log, META and snapshots on a simulated disk.
type process struct {
	w          *World
	id         string // unique among all processes
	name, host string
	self       replication.Voter
	disk       *Disk
	fs         vfs.FS
	clock      *Clock
	lease      *leaseHolder
	m          *role.Member
	works      *works
	source     *snap.Source

	os      *Process // the unit that is killed and frozen
	waiting []func() // work that waits for the disk
	unhung  Signal
	writers []*writer
	acker   func() // sends the acknowledgements that are due; nil: this member does not follow a stream
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

// start opens the member's directory and runs the member on a booted host. If it fails, the process exits with that error.
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
		Segments:       wal.Options{SegmentBytes: w.segment, TailBytes: 8 << 10, Spawn: func(f func()) { f() }},
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

// stop shuts the process down in an orderly way.
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

// after runs f in the role goroutine after d on the host's clock, or later, once a hung disk lets the goroutine proceed.
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

// diskBack releases what waited for the disk.
func (p *process) diskBack() {
	waiting := p.waiting
	p.waiting = nil
	for _, f := range waiting {
		f()
	}
	p.unhung.Fire()
}

// ready waits until the role goroutine is available. It is not while the disk hangs.
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

// settle does what the role goroutine does after every event.
func (p *process) settle() {
	p.m.Settle()
	for p.m.MaySeal() && (p.m.Unsealed() || p.sequencer().taken <= p.sequencer().tail) {
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

// fail ends the process a moment later, as a node does after a fatal error.
func (p *process) fail(err error) {
	if p.fatal != nil || p.os.Dead() {
		return
	}
	if durable.IsNoSpace(err) {
		breaks("a full volume ends %v: %v", p.self, err)
	}
	p.fatal = err
	p.w.loop.Logf("%s fails: %v", p.name, err)
	p.w.loop.After(p.w.latency(0, 20*time.Millisecond), p.os.Kill)
}

func (p *process) syncTime() time.Duration {
	return p.slow + p.w.latency(100*time.Microsecond, 4*time.Millisecond)
}

// The control port. Each method waits for the role goroutine, however long that takes.

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
	p.acts("fenced", err)
	return reply, err
}

// reserved reports whether the member has reserved the space that it needs on a full volume.
func (p *process) reserved() bool {
	for i := range 8 {
		if info, err := p.fs.Stat(fmt.Sprintf("data/%s/%d", volume.Dir, i)); err != nil || durable.Allocated(info) == 0 {
			return false
		}
	}
	return true
}

// acts checks that a full volume prevents nothing that a failover needs of the member.
func (p *process) acts(what string, err error) {
	var r *replication.Refusal
	if errors.As(err, &r) && r.Reason == replication.ReasonNoRoom {
		breaks("%v on a full volume is not %s: %v", p.self, what, err)
	}
	if err == nil && p.disk.Full() {
		p.w.fullActs++
	}
}

func (p *process) Promote(c *Proc, r wire.PromoteRequest) error {
	p.ready(c)
	err := p.m.Promote(context.Background(), r)
	p.acts("promoted", err)
	return err
}

func (p *process) Follow(c *Proc, r wire.FollowRequest) error {
	p.ready(c)
	err := p.m.Follow(context.Background(), r)
	p.acts("told whom to follow", err)
	return err
}

func (p *process) Configure(c *Proc, r wire.ConfigureRequest) error {
	p.ready(c)
	return p.m.Configure(context.Background(), r)
}

func (p *process) Handover(c *Proc, r wire.HandoverRequest) (wire.HandoverReply, error) {
	p.ready(c)
	end := p.now().Add(time.Duration(r.HoldMillis) * time.Millisecond)
	for begin := true; ; begin = false {
		reply, missing, err := p.m.TryHandover(context.Background(), r, begin)
		if err != nil || missing == "" {
			return reply, err
		}
		if p.now().After(end) {
			return reply, &replication.Refusal{Reason: "NotInTime", Message: missing + " in time"}
		}
		c.Sleep(2 * time.Millisecond)
		p.ready(c)
	}
}
