package role

import (
	"fmt"
	"net"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// seedRate sets the rate at which a member sends snapshots, in bytes per second.
func seedRate(n int64) func(*Options) { return func(o *Options) { o.SeedRate = n } }

// number of values of 64 KiB that fill is called with: 6 MiB
const values = 96

// led starts a leader l and the named followers, writes, and waits until no log reaches back to the beginning. They send
// snapshots slowly, so that there is time to break something: the state of these tests takes six seconds.
func led(t *testing.T, followers ...string) *cluster {
	t.Helper()
	return ledWith(t, seedRate(1<<20), followers...)
}

func ledWith(t *testing.T, options func(*Options), followers ...string) *cluster {
	t.Helper()
	return ledWithValues(t, values, options, followers...)
}

// ledWithValues is like ledWith, with n values of 64 KiB.
func ledWithValues(t *testing.T, n int, options func(*Options), followers ...string) *cluster {
	t.Helper()
	c := newCluster(t)
	for _, name := range append(followers, "l") {
		c.start(name, options)
	}
	c.lead("l", followers...)
	c.fill("base", n)
	for _, name := range followers {
		c.agrees(name)
	}
	for name := range c.members {
		c.pruned(name, 1)
	}
	for _, name := range followers {
		c.sends(name)
	}
	return c
}

// sends waits until the leader would let a follower send a snapshot.
func (c *cluster) sends(name string) {
	c.t.Helper()
	m := c.members[c.leader]
	until(c.t, "the leader holds "+name+" fit to seed others", func() (fit bool) {
		if err := m.works.Do(c.t.Context(), func() {
			fit = slices.ContainsFunc(m.Member.core.Sources(time.Now()), func(s replication.Source) bool { return s.Voter.Member == name })
		}); err != nil {
			c.t.Fatal(err)
		}
		return fit
	})
}

// seedOf waits until a member is receiving a snapshot, and has some of it.
func (c *cluster) seedOf(name string) (s wire.Seeding) {
	c.t.Helper()
	until(c.t, name+" has received some of a snapshot", func() bool {
		if now := c.status(name).Seeding; now != nil && now.ID != "" && now.DoneBytes > 1<<20 && now.DoneBytes < now.TotalBytes {
			s = *now
			return true
		}
		return false
	})
	return s
}

// seedFromG starts f in addition to what lead makes, and waits until f receives a snapshot from g. A busy machine may
// delay g so long that the leader sends it itself; then it starts over.
func seedFromG(t *testing.T, lead func() *cluster) (*cluster, wire.Seeding) {
	t.Helper()
	for range 5 {
		c := lead()
		c.start("f")
		c.follow("f")
		s := c.seedOf("f")
		if s.From == "g" {
			return c, s
		}
		t.Logf("seeded by %s", s.From)
	}
	t.Fatal("g is never asked for a snapshot")
	return nil, wire.Seeding{}
}

// made returns how many checkpoints a member has.
func (c *cluster) made(name string) int { return c.members[name].works.seeds.source.Checkpoints() }

// The leader keeps its disk free for writes: a follower that keeps up sends the snapshot, and the leader's log continues
// it, however much is written and pruned meanwhile.
func TestFollowerSeedsAFollower(t *testing.T) {
	c, _ := seedFromG(t, func() *cluster { return led(t, "g") })
	for round := 0; c.status("f").Seeding != nil; round++ {
		c.fill(fmt.Sprint("live", round), 16)
		time.Sleep(100 * time.Millisecond) // f is sent all of it afterwards
	}
	c.agrees("f")
	if !c.snapshotted("f") || c.made("l") != 0 || c.made("g") != 1 {
		t.Fatalf("checkpoints: %d of the leader, %d of the follower", c.made("l"), c.made("g"))
	}
	until(t, "nothing is held any longer", func() bool { return c.orders() == 0 })
}

// orders returns how many seed orders the leader keeps.
func (c *cluster) orders() (n int) {
	c.t.Helper()
	m := c.members[c.leader]
	if err := m.works.Do(c.t.Context(), func() { n = len(m.Member.leader.seeds) }); err != nil {
		c.t.Fatal(err)
	}
	return n
}

// A source that dies takes its checkpoint with it. Another follower, or the leader, sends what it has.
func TestSourceDies(t *testing.T) {
	for name, followers := range map[string][]string{"the leader takes over": {"g"}, "another follower takes over": {"g", "x"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// A busy machine may delay x so long that the leader sends the snapshot itself; then it starts over.
			for range 3 {
				n := sourceDies(t, followers)
				if n == 2-len(followers) {
					return
				}
				t.Logf("the leader made %d checkpoints", n)
			}
			t.Fatal("another member than it should be takes over every time")
		})
	}
}

// sourceDies has f seeded while g, which sends the snapshot, dies. It returns how many checkpoints the leader has then.
func sourceDies(t *testing.T, followers []string) int {
	t.Helper()
	c, _ := seedFromG(t, func() *cluster {
		return ledWith(t, func(o *Options) {
			if o.Member == "g" {
				o.SeedRate = 1 << 19 // so that it dies far from the end
			}
		}, followers...)
	})
	c.members["g"].end()
	delete(c.members, "g")
	c.fill("after", 4)
	c.agrees("f")
	return c.made("l")
}

// A broken connection costs nothing of what has arrived: the same source continues at the byte where it stopped.
func TestBrokenSeedResumes(t *testing.T) {
	var conns atomic.Int32
	var rest atomic.Int64 // bytes sent over all connections but the first
	through := func(conn net.Conn) net.Conn {
		if conns.Add(1) == 1 {
			return &breaking{Conn: conn, left: 4 << 20}
		}
		return counting{conn, &rest}
	}
	c, s := seedFromG(t, func() *cluster {
		c := led(t, "g")
		conns.Store(0)
		rest.Store(0)
		c.members["g"].through.Store(&through)
		return c
	})
	c.agrees("f")
	// On a busy machine, connections may also break by themselves, and three failures are too many for the leader.
	n, sent := conns.Load(), rest.Load()
	if n < 2 || sent > s.TotalBytes-3<<20 || c.made("l") != 0 && n <= 3 {
		t.Fatalf("%d connections; those after the first took %d of %d bytes; the leader made %d checkpoints", n, sent, s.TotalBytes, c.made("l"))
	}
}

// counting adds the bytes written to sent.
type counting struct {
	net.Conn
	sent *atomic.Int64
}

func (c counting) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.sent.Add(int64(n))
	return n, err
}

// If nobody listens at the source's address, or whoever does hangs up, the leader sends the snapshot.
func TestBadSourceBlocksNoSeed(t *testing.T) {
	for name, listen := range map[string]func(net.Listener){
		"nobody listens": func(l net.Listener) { _ = l.Close() },
		"it hangs up": func(l net.Listener) {
			go func() {
				for conn, err := l.Accept(); err == nil; conn, err = l.Accept() {
					_ = conn.Close()
				}
			}()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = l.Close() })
			listen(l)
			c := newCluster(t)
			c.start("l")
			c.start("g")
			g := c.members["g"]
			if err := g.works.Do(t.Context(), func() { g.Member.opt.Peer = l.Addr().String() }); err != nil {
				t.Fatal(err)
			}
			c.lead("l", "g")
			c.fill("base", values)
			c.agrees("g")
			c.pruned("l", 1)
			c.start("f")
			c.follow("f")
			c.agrees("f")
			if !c.snapshotted("f") || c.made("l") != 1 || c.made("g") != 0 {
				t.Fatalf("checkpoints: %d of the leader, %d of the follower", c.made("l"), c.made("g"))
			}
		})
	}
}

// A follower that failed once is asked again if the leader cannot send either.
func TestLeaderThatCannotSendIsNotTheOnlyOneAsked(t *testing.T) {
	fs := &sizedFS{FS: vfs.NewMem()}
	fs.free.Store(900 << 20)
	c := ledWith(t, func(o *Options) {
		if o.Member == "l" {
			o.FS = fs
		}
	}, "g")
	var conns atomic.Int32
	through := func(conn net.Conn) net.Conn {
		if conns.Add(1) == 1 {
			_ = conn.Close()
		}
		return conn
	}
	c.members["g"].through.Store(&through)
	fs.free.Store(40 << 20)
	until(t, "the leader's volume is full", func() bool { return c.status("l").Disk.Level == wire.DiskFull })
	c.start("f")
	c.follow("f")
	c.agrees("f")
	if conns.Load() < 2 || c.made("l") != 0 || c.made("g") != 1 {
		t.Errorf("%d connections; checkpoints: %d of the leader, %d of the follower", conns.Load(), c.made("l"), c.made("g"))
	}
}

// A change of leader ends a seed, and the next leader resumes it at its byte: from the follower that sends it, or from
// itself if it was that follower.
func TestSeedGoesOnUnderTheNextLeader(t *testing.T) {
	for name, next := range map[string]string{"from the same follower": "x", "from the follower that leads now": "g"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, s := seedFromG(t, func() *cluster { return led(t, "g", "x") })
			f := c.members["f"]
			others := []string{"l", "f", "g"}
			if next == "g" {
				others[2] = "x"
			}
			c.lead(next, others...)
			c.fill("after", 4)
			c.agrees("f")
			if first := f.Generation().Log.First(); first != s.Position+1 || c.made("g") != 1 || c.made("x")+c.made("l") != 0 {
				t.Fatalf("the log begins at %d after a snapshot at %d; checkpoints: g %d, x %d, l %d", first, s.Position, c.made("g"), c.made("x"), c.made("l"))
			}
		})
	}
}

// A member that is being seeded is not forgotten while it is gone for a while: the log after its snapshot is kept.
func TestLogIsHeldForASeedThatWasInterrupted(t *testing.T) {
	c, s := seedFromG(t, func() *cluster { return ledWith(t, seedRate(1<<19), "g") })
	c.members["f"].end()
	c.fill("meanwhile", values)
	c.agrees("g")
	time.Sleep(5 * c.members["l"].opt.RetainEvery) // otherwise the log would be pruned by now
	if first := c.members["l"].Generation().Log.First(); first > s.Position+1 {
		t.Fatalf("the log begins at %d, the snapshot ends at %d", first, s.Position)
	}
	c.start("f")
	c.agrees("f")
	if !c.snapshotted("f") || c.made("l") != 0 || c.made("g") != 1 {
		t.Fatalf("begun anew; checkpoints: %d of the leader, %d of the follower", c.made("l"), c.made("g"))
	}
	c.pruned("l", s.Position+1) // but not forever
}

// More members ask than are served at once. Every one is served, and nobody sends more than its share.
func TestSeedsSideBySideAreBounded(t *testing.T) {
	c := ledWith(t, seedRate(3<<20), "g")
	names := []string{"f1", "f2", "f3", "f4", "f5"}
	for _, name := range names {
		c.start(name)
		c.follow(name)
	}
	sources := func() map[string]string { // of the members that are receiving a snapshot
		out := map[string]string{}
		for _, name := range names {
			if s := c.status(name).Seeding; s != nil && s.ID != "" && s.DoneBytes < s.TotalBytes {
				out[name] = s.From
			}
		}
		return out
	}
	most, seeded, from := 0, 0, map[string]bool{}
	untilMoving(t, "all are seeded", func() (done, moved bool) {
		// One look takes time: the first member may be done before the last is asked. Whoever is found twice was busy in
		// between.
		before, busy := sources(), map[string]int{}
		for name, source := range sources() {
			if from[source] = true; before[name] == source {
				busy[source]++
				most = max(most, busy[source])
			}
		}
		had := seeded
		seeded = 0
		for _, name := range names {
			if c.snapshotted(name) {
				seeded++
			}
		}
		return seeded == len(names), seeded > had
	})
	for _, name := range names {
		c.agrees(name)
	}
	if most > seedsAtOnce || !from["g"] || !from["l"] || c.made("g") > 1 {
		t.Fatalf("%d at once; from %v; %d checkpoints of g", most, from, c.made("g"))
	}
}

// An emptied member, and one that is being seeded itself, send nothing to anybody, whatever they are asked for.
func TestWhoHasNoStateSeedsNobody(t *testing.T) {
	c := ledWith(t, seedRate(1<<18), "g") // the seed does not end before this test does
	fetch := func(name string, e replication.Epoch) replication.HelloReply {
		reply, _, err := c.members[name].Hello(t.Context(), replication.Hello{Store: "s", Member: "z", Incarnation: "i", Epoch: e, Fetch: true})
		if err != nil {
			t.Fatal(err)
		}
		return reply
	}
	if v := fetch("g", c.epoch).Verdict; v != replication.VerdictSeed {
		t.Fatalf("a follower that keeps up answers %s", v)
	}
	if v := fetch("g", c.epoch+1).Verdict; v != replication.VerdictRefuse {
		t.Fatalf("asked about another epoch it answers %s", v)
	}
	c.start("f")
	if v := fetch("f", c.epoch).Verdict; v != replication.VerdictRefuse {
		t.Fatalf("an empty member answers %s", v)
	}
	c.follow("f")
	c.seedOf("f")
	if v := fetch("f", c.epoch).Verdict; v != replication.VerdictRefuse {
		t.Fatalf("a member that is being seeded answers %s", v)
	}
	if _, err := c.members["g"].Fence(t.Context(), wire.FenceRequest{Epoch: c.epoch + 1}); err != nil {
		t.Fatal(err)
	}
	if v := fetch("g", c.epoch).Verdict; v != replication.VerdictRefuse {
		t.Fatalf("a fenced member answers %s", v)
	}
}
