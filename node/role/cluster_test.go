package role

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/go-logr/logr"

	"github.com/replicatedstore/replicatedstore/node/store"
	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/peer"
	"github.com/replicatedstore/replicatedstore/replication/volume"
	"github.com/replicatedstore/replicatedstore/replication/wal"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// cluster is a few members in memory, with real connections over loopback between them.
type cluster struct {
	t       *testing.T
	members map[string]*member
	epoch   replication.Epoch
	leader  string
	voters  []replication.Voter
}

// member is one of a cluster; its disk outlives its process.
type member struct {
	*Runner
	opt    Options
	port   net.Listener
	stop   context.CancelFunc
	served sync.WaitGroup
	// through, unless nil, wraps the connections that this member accepts for snapshots.
	through atomic.Pointer[func(net.Conn) net.Conn]
}

func newCluster(t *testing.T) *cluster { return &cluster{t: t, members: map[string]*member{}} }

// start runs a member, and restarts it if it ran before.
func (c *cluster) start(name string, change ...func(*Options)) *member {
	c.t.Helper()
	m := &member{opt: Options{
		FS: vfs.NewMem(), Dir: "d", Store: "s", Member: name, Log: logr.Discard(), Memory: 32 << 20, LogRetain: 1 << 20, RetainEvery: 100 * time.Millisecond,
		Segments: wal.Options{SegmentBytes: 256 << 10, TailBytes: 64 << 10},
	}}
	if before := c.members[name]; before != nil {
		before.end()
		m.opt.FS = before.opt.FS
	}
	for _, f := range change {
		f(&m.opt)
	}
	var err error
	if m.port, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		c.t.Fatal(err)
	}
	m.opt.Peer = m.port.Addr().String()
	if m.opt.Dial == nil {
		m.opt.Dial = dial
	}
	ctx, stop := context.WithCancel(context.Background())
	m.stop = stop
	if m.Runner, err = Start(ctx, m.opt); err != nil {
		c.t.Fatal(err)
	}
	m.served.Go(func() { m.serve(ctx) })
	c.members[name] = m
	c.t.Cleanup(m.end)
	return m
}

func dial(ctx context.Context, address string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", address)
}

func (m *member) serve(ctx context.Context) {
	for {
		conn, err := m.port.Accept()
		if err != nil {
			return
		}
		if through := m.through.Load(); through != nil {
			conn = (*through)(conn)
		}
		m.served.Go(func() { _ = peer.Serve(ctx, conn, m.Runner) })
	}
}

// end stops the process in order. It may be called twice.
func (m *member) end() {
	m.stop()
	_ = m.port.Close()
	m.served.Wait()
	<-m.Done()
}

// lead makes one member lead a new epoch, asynchronously, and the others follow it.
func (c *cluster) lead(name string, others ...string) {
	c.t.Helper()
	c.epoch++
	c.leader = name
	for _, n := range append(others, name) {
		if _, err := c.members[n].Fence(c.t.Context(), wire.FenceRequest{Epoch: c.epoch}); err != nil {
			c.t.Fatal(err)
		}
	}
	lead(c.t, c.members[name].Runner, c.epoch, replication.Rule{})
	for _, n := range others {
		c.follow(n)
	}
	until(c.t, name+" takes writes", c.members[name].Open)
}

// depose fences the leader for the next epoch: members that start now learn nothing more from it.
func (c *cluster) depose() {
	c.t.Helper()
	if _, err := c.members[c.leader].Fence(c.t.Context(), wire.FenceRequest{Epoch: c.epoch + 1}); err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) follow(name string) {
	c.t.Helper()
	if err := c.members[name].Follow(c.t.Context(), wire.FollowRequest{
		Epoch: c.epoch, Leader: c.leader, Address: c.members[c.leader].opt.Peer,
	}); err != nil {
		c.t.Fatal(err)
	}
}

// status returns a member's status. One that says that nothing has moved for a while is asked again: on a busy machine,
// the member itself may have had no time, and it has come round by then.
func (c *cluster) status(name string) (s wire.Status) {
	c.t.Helper()
	for range 2 {
		var err error
		if s, err = c.members[name].Status(c.t.Context()); err != nil {
			c.t.Fatal(err)
		}
		if s.ProblemReason != wire.ProblemDiskStuck {
			break
		}
	}
	return s
}

// filler is incompressible.
var filler = func() []byte {
	b := make([]byte, 64<<10)
	_, _ = rand.NewChaCha8([32]byte{}).Read(b) // never fails
	return b
}()

// fill writes n values of 64 KiB, each under a key of its own.
func (c *cluster) fill(prefix string, n int) {
	c.t.Helper()
	seq := c.members[c.leader].Generation().Seq
	for i := range n {
		ticket, err := seq.Run(c.t.Context(), func(b *store.Batch) {
			b.Begin().Put(fmt.Appendf(nil, "%s:%d", prefix, i), store.Value{Type: store.TypeString, Data: filler})
			if err := b.End(); err != nil {
				c.t.Error(err)
			}
		})
		if err == nil {
			err = seq.Wait(c.t.Context(), ticket)
		}
		if err != nil {
			c.t.Fatal(err)
		}
	}
}

// pruned waits until a member's log begins after p.
func (c *cluster) pruned(name string, p replication.Position) {
	c.t.Helper()
	until(c.t, "the log is pruned", func() bool { return c.members[name].Generation().Log.First() > p })
}

// dropCheckpoints ends what a member keeps, for minutes, for the snapshots that it has sent: checkpoints, and the log after them.
func (c *cluster) dropCheckpoints(name string) {
	c.t.Helper()
	if remove := c.members[name].works.SpareSeeds(volume.NearlyFull); remove != nil {
		if err := remove(); err != nil {
			c.t.Fatal(err)
		}
	}
}

// agrees waits until a member holds exactly what the leader holds, as long as it gets nearer to that.
func (c *cluster) agrees(name string) {
	c.t.Helper()
	var a, b wire.Status
	defer func() {
		if c.t.Failed() {
			c.t.Logf("%s: %+v\n%s: %+v", name, a, c.leader, b)
		}
	}()
	var applied replication.Position
	var arrived int64
	untilMoving(c.t, name+" agrees with the leader", func() (done, moved bool) {
		a, b = c.status(name), c.status(c.leader)
		if moved = a.Applied > applied; moved {
			applied = a.Applied
		}
		if s := a.Seeding; s != nil && s.DoneBytes > arrived {
			arrived, moved = s.DoneBytes, true
		}
		return a.Last == b.Last && a.Applied == b.Applied && a.Applied == a.Last.Position && a.Contact != nil && a.Contact.Connected, moved
	})
}

// snapshotted reports whether a member's state came by snapshot: its log does not begin at the beginning.
func (c *cluster) snapshotted(name string) bool {
	return c.members[name].Generation().Log.First() > 1
}

var errBroken = errors.New("the connection broke")

// breaking ends a connection after it has carried a number of bytes, written or read.
type breaking struct {
	net.Conn
	mu   sync.Mutex
	left int
}

func (b *breaking) pass(n int) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.left -= n; b.left < 0 {
		_ = b.Conn.Close()
		return errBroken
	}
	return nil
}

func (b *breaking) Write(p []byte) (int, error) {
	if err := b.pass(len(p)); err != nil {
		return 0, err
	}
	return b.Conn.Write(p)
}

// lastOf returns where the log of a member ends, even if the member was stopped.
func (c *cluster) lastOf(name string) replication.Position {
	return replication.Position(c.members[name].last.Load())
}
