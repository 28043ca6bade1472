package role

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// A member that is left behind again and again reports that and waits, instead of costing its source a snapshot each
// time. What it has spent survives a restart, time restores it, and a member without data spends nothing.
func TestRepeatedSeedsAreBudgeted(t *testing.T) {
	const few = values / 4 // more than the members keep of their logs
	c := ledWithValues(t, few, func(o *Options) { o.LogRetain = 256 << 10 }, "g")
	var ahead atomic.Int64
	budget := func(o *Options) {
		o.SeedBurst, o.SeedRefill = 1, time.Hour
		o.Wall = func() int64 { return time.Now().Add(time.Duration(ahead.Load())).UnixMilli() }
	}
	c.start("f", budget)
	c.follow("f")
	c.agrees("f")
	leftBehind := func(round int) {
		t.Helper()
		until(t, "nothing is held for f", func() bool { return c.orders() == 0 })
		c.members["f"].end()
		c.fill(fmt.Sprint("round", round), few)
		c.agrees("g")
		c.dropCheckpoints("l") // on a busy machine, it may have been the leader that sent the snapshot
		c.pruned("l", c.lastOf("f"))
		c.start("f", budget)
	}
	leftBehind(1) // the first seed, of a new member, was free
	c.agrees("f")
	begins := c.members["f"].Generation().Log.First()
	leftBehind(2)
	until(t, "f says that it waits", func() bool { return c.status("f").ProblemReason == wire.ProblemSeedBudget })
	time.Sleep(2 * RedialMost)
	s := c.status("f")
	if s.Seeding != nil || c.members["f"].Generation().Log.First() != begins || s.ProblemReason != wire.ProblemSeedBudget ||
		!strings.Contains(s.Problem, "accepts none before") {
		t.Fatalf("%+v", s)
	}
	until(t, "the leader holds its log for nobody, for the one takes no snapshot", func() bool { return c.orders() == 0 })
	// It says hello over and over, which must not look like a voter that keeps up.
	until(t, "the leader has not heard for a while of a member that takes nothing", func() bool {
		v := c.status("l").Followers["f"]
		return !v.Live && v.SilentMillis >= 2*RedialMost.Milliseconds()
	})
	ahead.Store(int64(time.Hour + time.Second))
	c.agrees("f")
	if s := c.status("f"); s.Problem != "" || s.ProblemReason != "" {
		t.Fatalf("the problem stays: %+v", s)
	}
	// A calendar that was set back by a year does not make it wait that long.
	leftBehind(3)
	until(t, "f says that it waits", func() bool { return c.status("f").ProblemReason == wire.ProblemSeedBudget })
	ahead.Store(-int64(365 * 24 * time.Hour))
	m := c.members["f"]
	wait := func() (w time.Duration) {
		t.Helper()
		if err := m.works.Do(t.Context(), func() { w = m.seedWait() }); err != nil {
			t.Fatal(err)
		}
		return w
	}
	if w := wait(); w > time.Hour {
		t.Fatalf("waits %v", w)
	}
	ahead.Add(int64(50 * time.Minute))
	if w := wait(); w > 10*time.Minute {
		t.Fatalf("waits %v, and time does not shorten that", w)
	}
}
