package role

import (
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
)

// A snapshot is begun, but then the next leader's log reaches back far enough after all: the part received is removed.
func TestSeedThatIsNotNeededAnyMoreIsRemoved(t *testing.T) {
	c := newCluster(t)
	rate := seedRate(1 << 18) // the seed does not end before the next leader leads
	c.start("g", rate)
	c.start("x", rate, func(o *Options) { o.LogRetain = 1 << 40 })
	c.start("f")
	c.start("l", rate)
	c.lead("l", "g", "x", "f")
	c.fill("first", 2)
	c.agrees("f")
	c.members["f"].end()
	c.fill("base", values)
	c.agrees("g")
	c.agrees("x")
	c.pruned("l", c.lastOf("f"))
	c.start("f")
	c.seedOf("f")
	c.lead("x", "l", "g", "f")
	c.agrees("f")
	m := c.members["f"]
	names, err := m.opt.FS.List("d")
	if err != nil {
		t.Fatal(err)
	}
	left := slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, "state-2") })
	if s := m.meta.State(); s.Generation != 1 || s.Seed != nil || left {
		t.Fatalf("generation %d, seed %+v, files %v", s.Generation, s.Seed, names)
	}
}

// A source that breaks off and then refuses once has sent a part, which one more try may complete.
func TestPartOfASnapshotOutlivesARefusal(t *testing.T) {
	var conns atomic.Int32
	through := func(conn net.Conn) net.Conn {
		switch conns.Add(1) {
		case 1:
			return &breaking{Conn: conn, left: 4 << 20}
		case 2:
			_ = conn.Close()
		}
		return conn
	}
	c, _ := seedFromG(t, func() *cluster {
		c := led(t, "g")
		conns.Store(0)
		c.members["g"].through.Store(&through)
		return c
	})
	c.agrees("f")
	// On a busy machine, connections may also break by themselves, and three failures are too many.
	if n := c.made("l"); n != 0 && conns.Load() <= 3 {
		t.Fatalf("the leader made %d checkpoints: what had arrived from g was thrown away", n)
	}
}
