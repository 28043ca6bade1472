package node

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// A member that joins when the log no longer reaches back is seeded with a snapshot while writes continue.
func TestNewFollowerIsSeededUnderLoad(t *testing.T) {
	c := newCluster(t, 1, 0)
	c.promote("m-1")
	leader := c.client("m-1")
	value := strings.Repeat("x", 64<<10)
	for i := range 400 {
		if err := leader.Set(t.Context(), fmt.Sprintf("base:%d", i), value, 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	c.eventually("the log is pruned", func() bool { return c.nodes["m-1"].run.Generation().Log.First() > 1 })

	c.dirs["m-2"] = t.TempDir()
	c.start("m-2")
	c.follow("m-2")
	seeded := false
	var acked []string
	for round := 0; ; round++ {
		acked = append(acked, c.load(leader, fmt.Sprintf("live:%d", round), 50_000_000)...)
		s := c.status("m-2")
		seeded = seeded || s.Seeding != nil || c.nodes["m-2"].run.Generation().Log.First() > 1
		if seeded && s.Seeding == nil && s.Contact != nil && s.Contact.Connected {
			break
		}
		if round > 1200 {
			t.Fatalf("not seeded: %+v", s)
		}
	}
	c.eventually("m-2 has everything", func() bool { return c.status("m-2").Applied == c.status("m-1").Last.Position })
	checkKeys(t, c.client("m-2"), acked, 400)

	// The new member survives its own restart, and can lead.
	if err := c.nodes["m-2"].Stop(); err != nil {
		t.Fatal(err)
	}
	c.start("m-2")
	if err := c.nodes["m-1"].Stop(); err != nil {
		t.Fatal(err)
	}
	delete(c.nodes, "m-1")
	c.promote("m-2")
	checkKeys(t, c.client("m-2"), acked, 400)
}

// A member that joins when there is a follower is seeded by that follower; the leader makes no checkpoint. The follower's
// port listens on all addresses, so its address is taken from its connection to the leader.
func TestNewFollowerIsSeededByAFollower(t *testing.T) {
	for range 5 {
		if seededByAFollower(t) {
			return
		}
	}
	t.Fatal("the follower alone is never asked for a snapshot")
}

// seededByAFollower returns false if a busy machine delayed the follower so long that another source was asked, or it was asked again.
func seededByAFollower(t *testing.T) bool {
	dirs := map[string]string{"m-1": t.TempDir(), "m-2": t.TempDir(), "m-3": t.TempDir()} // removed after the nodes have stopped
	c := newCluster(t, 0, 1, func(o *Options) { o.SeedRate = 8 << 20 })
	c.dirs, c.peers = dirs, "0.0.0.0:0"
	c.start("m-1")
	c.start("m-2")
	c.promote("m-1", "m-2")
	follower, leader := c.others()[0], c.client(c.lead)
	value := strings.Repeat("x", 64<<10)
	for i := range 400 {
		if err := leader.Set(t.Context(), fmt.Sprintf("base:%d", i), value, 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	c.eventually("the log is pruned", func() bool { return c.nodes[c.lead].run.Generation().Log.First() > 1 })
	c.eventually("the follower keeps up", func() bool { return c.status(c.lead).Followers[follower].CaughtUp })
	c.start("m-3")
	c.follow("m-3")
	from := ""
	c.eventually("m-3 is seeded", func() bool {
		s := c.status("m-3").Seeding
		if s != nil && s.ID != "" {
			from = s.From
		}
		return from != "" || c.nodes["m-3"].run.Generation().Log.First() > 1
	})
	if from != follower {
		t.Logf("seeded by %q", from)
		return false
	}
	acked := c.load(leader, "live", 100*time.Millisecond)
	c.eventually("m-3 has everything", func() bool { return c.status("m-3").Applied == c.status(c.lead).Last.Position })
	checkKeys(t, c.client("m-3"), acked, 400)
	for name, want := range map[string]int{c.lead: 0, follower: 1} {
		made, err := filepath.Glob(filepath.Join(c.dirs[name], "checkpoints", "*"))
		if err != nil || len(made) != want {
			t.Logf("%s made %d checkpoints, want %d (%v)", name, len(made), want, err)
			return false
		}
	}
	return true
}

func TestSeedRateIsNotTooSmall(t *testing.T) {
	for rate, ok := range map[int64]bool{0: true, MinSeedRate: true, MinSeedRate - 1: false, -1: false} {
		o := Options{Data: t.TempDir(), SeedRate: rate}
		if err := o.complete(); (err == nil) != ok {
			t.Errorf("--seed-rate-bytes=%d: %v", rate, err)
		}
	}
}

func checkKeys(t *testing.T, cl *redis.Client, acked []string, base int) {
	t.Helper()
	for _, key := range acked {
		if err := cl.Get(t.Context(), key).Err(); err != nil {
			t.Fatalf("acknowledged %s: %v", key, err)
		}
	}
	for i := range base {
		if n, err := cl.StrLen(t.Context(), fmt.Sprintf("base:%d", i)).Result(); n != 64<<10 || err != nil {
			t.Fatalf("base:%d has %d bytes, %v", i, n, err)
		}
	}
}

// An asynchronous leader that comes back with writes nobody else has gets them moved to quarantine, and is seeded.
func TestDivergedLeaderIsSeededAndItsWritesAreKept(t *testing.T) {
	c := newCluster(t, 2, 0)
	c.promote("m-1", "m-2")
	old, other := c.lead, c.others()[0]
	if err := c.client(old).Set(t.Context(), "a", "1", 0).Err(); err != nil {
		t.Fatal(err)
	}
	c.eventually("the follower has it", func() bool { return c.status(other).Applied == c.status(old).Last.Position })
	if err := c.nodes[other].Stop(); err != nil {
		t.Fatal(err)
	}
	if err := c.client(old).Set(t.Context(), "only-here", "1", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if err := c.nodes[old].Stop(); err != nil {
		t.Fatal(err)
	}
	c.start(other)
	delete(c.nodes, old)
	c.promote(other)
	if err := c.client(other).Set(t.Context(), "b", "2", 0).Err(); err != nil {
		t.Fatal(err)
	}
	c.start(old)
	c.follow(old)
	c.eventually("the old leader agrees", func() bool {
		return c.status(old).Last == c.status(other).Last && c.status(old).Applied == c.status(other).Applied
	})
	cl := c.client(old)
	if n := cl.Exists(t.Context(), "only-here").Val(); n != 0 {
		t.Fatal("a write that no other member had is still visible")
	}
	if v := cl.Get(t.Context(), "b").Val(); v != "2" {
		t.Fatalf("b = %q", v)
	}
	if s := c.status(old); s.Quarantined != 1 {
		t.Fatalf("quarantined %d entries, want 1", s.Quarantined)
	}
}
