// Package resptest runs the client protocol on a real state machine and sequencer, for tests, but without the replicated log: what the
// sequencer queues is sealed and applied at once, as by a single member that commits alone.
package resptest

import (
	"cmp"
	"context"
	"errors"
	"math"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/replicatedstore/replicatedstore/node/resp"
	"github.com/replicatedstore/replicatedstore/node/store"
	"github.com/replicatedstore/replicatedstore/replication"
)

// Node is a member with a client port on the loopback interface. It implements resp.Backend.
type Node struct {
	t      testing.TB
	Server *resp.Server
	Addr   string

	machine atomic.Pointer[store.Machine]
	seq     atomic.Pointer[store.Sequencer]
	leads   atomic.Bool
	forgot  atomic.Bool // see Forget
	gate    atomic.Pointer[error]
	onGate  atomic.Pointer[func()]
	room    atomic.Pointer[resp.Room] // nil: unlimited
	unheard atomic.Int64              // see SetUnheard
	work    *store.Sequencer          // the node's only sequencer, open or closed
	offset  atomic.Int64              // nanoseconds added to the wall clock

	mu        sync.Mutex // guards the fields below, up to changed
	epoch     replication.Epoch
	end       replication.Mark
	told      replication.Position // all up to here is applied, and whoever waits for it was told
	stalled   bool
	followers []*Node
	leader    *Node
	expires   bool
	lagging   bool // see Lag
	held      replication.Position
	place     string // client address of the leader, if it is another node; see Point
	changed   chan struct{}

	ctx     context.Context
	stop    context.CancelFunc
	stopped sync.WaitGroup
	resume  chan struct{}
}

// Start runs a leading node until the test ends. so, if given, configures its sequencer.
func Start(t testing.TB, o resp.Options, so ...store.SequencerOptions) *Node {
	n := newNode(t, vfs.NewMem(), o, so...)
	n.Lead()
	return n
}

// StartOn is like Start, with the data on fs.
func StartOn(t testing.TB, fs vfs.FS, o resp.Options) *Node {
	n := newNode(t, fs, o)
	n.Lead()
	return n
}

// SetRoom sets what Room returns.
func (n *Node) SetRoom(r resp.Room) { n.room.Store(&r) }

// Room implements resp.Backend.
func (n *Node) Room() resp.Room {
	if room := n.room.Load(); room != nil {
		return *room
	}
	return resp.Room{Add: math.MaxInt64, Rewrite: true}
}

// SetUnheard sets what Unheard returns.
func (n *Node) SetUnheard(d time.Duration) { n.unheard.Store(int64(d)) }

// Unheard implements resp.Backend.
func (n *Node) Unheard() time.Duration { return time.Duration(n.unheard.Load()) }

// StartWaiting runs a node that does not lead yet; see Lead.
func StartWaiting(t testing.TB, o resp.Options) *Node {
	return newNode(t, vfs.NewMem(), o)
}

// Follow runs a node that applies what n seals from now on. n must still be empty.
func (n *Node) Follow(o resp.Options) *Node {
	f := newNode(n.t, vfs.NewMem(), o)
	n.mu.Lock()
	defer n.mu.Unlock()
	f.leader = n
	n.followers = append(n.followers, f)
	return f
}

func newNode(t testing.TB, fs vfs.FS, o resp.Options, so ...store.SequencerOptions) *Node {
	t.Helper()
	n := &Node{t: t, expires: true, changed: make(chan struct{}), resume: make(chan struct{}, 1)}
	m, err := store.Open(fs, "state", store.Options{Memory: 16 << 20, OnError: func(err error) { t.Errorf("background: %v", err) }})
	if err != nil {
		t.Fatal(err)
	}
	n.machine.Store(m)
	bounds := store.SequencerOptions{}
	if len(so) > 0 {
		bounds = so[0]
	}
	bounds.Clock, bounds.WaitTimeout = n.clock, time.Minute
	n.work = store.NewSequencer(m, bounds)
	if o.Now == nil {
		o.Now = time.Now
	}
	o.CommitTimeout = cmp.Or(o.CommitTimeout, time.Minute) // a busy machine may take a while to commit
	if n.Server, err = resp.New(n, o); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n.Addr = l.Addr().String()
	n.ctx, n.stop = context.WithCancel(context.Background())
	n.stopped.Go(n.loop)
	n.stopped.Go(n.expire)
	n.stopped.Go(func() {
		if err := n.Server.Serve(l); !errors.Is(err, resp.ErrStopped) {
			t.Errorf("serve: %v", err)
		}
	})
	t.Cleanup(n.close)
	return n
}

func (n *Node) close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := n.Server.Shutdown(ctx); err != nil {
		n.t.Errorf("shutdown: %v", err)
	}
	n.stop()
	n.work.Close(nil)
	n.stopped.Wait()
	if err := n.machine.Load().Close(); err != nil && !errors.Is(err, store.ErrClosed) {
		n.t.Errorf("close state: %v", err)
	}
}

// clock takes no lock, because it is called with the sequencer locked.
func (n *Node) clock() int64 { return time.Now().Add(time.Duration(n.offset.Load())).UnixMilli() }

// Advance moves the node's clock forward by d.
func (n *Node) Advance(d time.Duration) { n.offset.Add(int64(d)) }

// Lead makes the node lead, in the next epoch.
func (n *Node) Lead() {
	now := n.work.Now()
	n.mu.Lock()
	n.epoch++
	barrier, err := replication.EncodeBarrier(n.sealAt(now))
	if err != nil {
		n.t.Fatal(err)
	}
	n.apply(barrier)
	next := n.end.Position + 1
	n.mu.Unlock()
	if err := n.work.Open(n.epoch, next); err != nil {
		n.t.Fatal(err)
	}
	n.tell(next - 1)
	n.seq.Store(n.work)
	n.leads.Store(true)
	n.Point("")
}

// Point sets the client address of the leader, for a node that forwards.
func (n *Node) Point(addr string) {
	n.mu.Lock()
	n.place = addr
	close(n.changed)
	n.changed = make(chan struct{})
	n.mu.Unlock()
	n.Server.LeaderMoved(addr)
}

// Place implements resp.Backend.
func (n *Node) Place() (leads bool, leader string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.leads.Load(), n.place
}

// Changed implements resp.Backend.
func (n *Node) Changed() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.changed
}

// Resign ends the leadership like a node that forwards: connections stay open.
func (n *Node) Resign() {
	n.leads.Store(false)
	n.seq.Store(nil)
	n.work.Close(errors.New("deposed by epoch 99"))
	n.Server.Deposed("resigned")
	n.Point("")
}

// HandOver moves the leadership to the follower to, which forwards, as a planned handover does, and makes n follow it.
func (n *Node) HandOver(to *Node) {
	n.Resign()
	n.mu.Lock()
	n.followers = slices.DeleteFunc(n.followers, func(f *Node) bool { return f == to })
	n.leader = to
	n.mu.Unlock()
	to.mu.Lock()
	to.followers, to.leader = append(to.followers, n), nil
	to.mu.Unlock()
	to.Lead()
	n.Point(to.Addr)
}

// Depose ends the leadership like a node that does not forward: writes in flight get an unknown outcome, and connections are cut.
func (n *Node) Depose() {
	n.leads.Store(false)
	n.seq.Store(nil)
	n.work.Close(errors.New("deposed by epoch 99"))
	n.Server.Cut("deposed")
}

// Forget makes n a leader that was elected without what the leader before had shown last.
func (n *Node) Forget() { n.forgot.Store(true) }

// Hold calls Hold of the sequencer, and waits until everything that was ordered before is applied, as a handover does.
func (n *Node) Hold() {
	n.t.Helper()
	tail := n.work.Hold()
	for end := time.Now().Add(time.Minute); n.lastTold() < tail; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			n.t.Errorf("position %d is not applied in a minute", tail)
			return
		}
	}
}

// tell records that whoever waits for a position up to p was told that it is applied.
func (n *Node) tell(p replication.Position) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.told = max(n.told, p)
}

func (n *Node) lastTold() replication.Position {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.told
}

// Release calls Release of the sequencer.
func (n *Node) Release() { n.work.Release() }

// Stall stops committing until Resume.
func (n *Node) Stall() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.stalled = true
}

// Resume ends Stall.
func (n *Node) Resume() {
	n.mu.Lock()
	n.stalled = false
	n.mu.Unlock()
	select {
	case n.resume <- struct{}{}:
	default:
	}
}

// InFlight reports whether there are entries that were ordered but not committed.
func (n *Node) InFlight() bool {
	tail := n.Tail()
	n.mu.Lock()
	defer n.mu.Unlock()
	return tail > n.end.Position
}

// OnReadGate makes the next call of ReadGate call f, once.
func (n *Node) OnReadGate(f func()) { n.onGate.Store(&f) }

// Tail returns the newest position that was ordered.
func (n *Node) Tail() replication.Position {
	defer n.work.Release()
	return n.work.Hold()
}

// RefuseReads makes ReadGate return err. A nil err opens the gate.
func (n *Node) RefuseReads(err error) { n.gate.Store(&err) }

// Epoch returns the current epoch.
func (n *Node) Epoch() replication.Epoch {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.epoch
}

func (n *Node) sealAt(now int64) replication.Seal {
	return replication.Seal{Epoch: n.epoch, First: n.end.Position + 1, UnixMilli: now, Prev: n.end.Chain}
}

// apply applies r here and on all followers. The caller holds n.mu.
func (n *Node) apply(r replication.Record) {
	if err := n.machine.Load().Apply([]replication.Record{r}); err != nil {
		n.t.Errorf("apply: %v", err)
	}
	n.end = r.Mark()
	for _, f := range n.followers {
		f.mu.Lock()
		f.epoch = n.epoch
		f.apply(r)
		f.mu.Unlock()
	}
}

func (n *Node) loop() {
	for {
		select {
		case <-n.ctx.Done():
			return
		case <-n.work.Pending():
		case <-n.resume:
		}
		for n.commit() {
		}
	}
}

// expire periodically removes expired keys. It has a goroutine of its own, because loop has to commit the removals.
func (n *Node) expire() {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-n.ctx.Done():
			return
		case <-tick.C:
		}
		n.mu.Lock()
		on := n.expires && !n.stalled
		n.mu.Unlock()
		if on && n.leads.Load() {
			ctx, cancel := context.WithTimeout(n.ctx, time.Second)
			_, _, _, _ = n.work.Expire(ctx, 1000) // a test may have ended the leadership
			cancel()
		}
	}
}

// commit seals and applies one record. It returns false if there is nothing to do. It holds no lock while it calls Applied, because whoever
// that notifies may call methods of the Node.
func (n *Node) commit() bool {
	end, sealed := n.seal()
	if sealed {
		n.work.Applied(end)
		n.tell(end)
	}
	return sealed
}

func (n *Node) seal() (end replication.Position, sealed bool) {
	now := n.work.Now()
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.stalled || !n.leads.Load() {
		return 0, false
	}
	_, count, payload := n.work.Take(1 << 20)
	if count == 0 {
		return 0, false
	}
	r, err := replication.EncodeRecord(n.sealAt(now), uint32(count), payload)
	if err != nil {
		n.t.Errorf("seal: %v", err)
		return 0, false
	}
	n.apply(r)
	return n.end.Position, true
}

// Lag makes the followers acknowledge nothing beyond p.
func (n *Node) Lag(p replication.Position) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lagging, n.held = true, p
}
