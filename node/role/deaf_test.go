package role

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// A leader whose disk hangs sends nothing, not even an answer to a hello, so that its followers do not take it for alive.
func TestAHungLeaderIsNotHeardByItsAnswers(t *testing.T) {
	c := newCluster(t)
	fs := &hangFS{FS: vfs.NewMem()}
	var ahead atomic.Int64
	c.start("l", func(o *Options) {
		o.FS, o.Now = fs, func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	})
	c.start("f")
	c.lead("l")
	c.fill("some", 2)
	if _, err := c.members["f"].Fence(t.Context(), wire.FenceRequest{Epoch: c.epoch}); err != nil {
		t.Fatal(err)
	}
	hang := make(chan struct{})
	fs.hang.Store(&hang)
	if _, err := put(t, c.members["l"].Runner, "k"); err != nil {
		t.Fatal(err)
	}
	until(t, "an fsync hangs", func() bool { return c.members["l"].syncBegan.Load() != 0 })
	ahead.Store(int64(time.Minute))
	c.follow("f")
	for end := time.Now().Add(3 * RedialMost); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if s := c.status("f"); s.Contact != nil && s.Contact.Connected {
			t.Fatalf("it is heard: %+v", s.Contact)
		}
	}
	fs.hang.Store(nil)
	close(hang)
	c.agrees("f")
}

// A leader whose only voter is gone for good hears no voter. A follower that is not a voter but could take its place must
// still get the leader's log, including a long record.
func TestADeafLeaderBringsAnotherFollowerUp(t *testing.T) {
	retain := func(o *Options) { o.LogRetain = 256 << 20 }
	c := newCluster(t)
	c.start("l", retain)
	c.start("a", retain)
	c.start("c", retain)
	c.epoch, c.leader = 1, "l"
	a := replication.Voter{Member: "a", Incarnation: c.status("a").Incarnation}
	cv := replication.Voter{Member: "c", Incarnation: c.status("c").Incarnation}
	for _, n := range []string{"l", "a", "c"} {
		if _, err := c.members[n].Fence(t.Context(), wire.FenceRequest{Epoch: 1}); err != nil {
			t.Fatal(err)
		}
	}
	lead(t, c.members["l"].Runner, 1, replication.Rule{K: 1, Voters: []replication.Voter{a}})
	c.follow("a")
	until(t, "writes", c.members["l"].Open)
	c.fill("some", 2)
	if err := c.members["l"].Generation().Seq.Wait(t.Context(), putLong(t, c.members["l"].Runner, 3<<20)); err != nil {
		t.Fatal(err)
	}
	c.agrees("a")
	c.members["a"].end()
	until(t, "the leader hears nobody", c.members["l"].Deaf)
	c.follow("c")
	until(t, "c holds what the leader holds", func() bool { return c.status("c").Last == c.status("l").Last })
	if err := c.members["l"].Configure(t.Context(), wire.ConfigureRequest{
		Epoch: 1, Version: 2, Rules: []replication.Rule{{K: 1, Voters: []replication.Voter{a, cv}}},
	}); err != nil {
		t.Fatal(err)
	}
	c.fill("more", 1)
}
