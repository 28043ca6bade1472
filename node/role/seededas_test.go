package role

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// a led epoch 1, and b leads without everything that a acknowledged. b has just restarted, and applies nothing before its
// barrier is committed. a comes back and must take a seed that ends below what it acknowledged. From then on, a's answer
// to a fence is no longer that of the leader of epoch 1.
func TestASeedInPlaceOfWhatWasAcknowledgedIsAnotherIncarnation(t *testing.T) {
	c := newCluster(t)
	disk := vfs.NewCrashableMem()
	c.start("a")
	c.start("b", func(o *Options) { o.FS = disk })
	c.lead("a", "b")
	write(t, c.members["a"].Runner, "1", "2", "3", "4", "5", "6", "7", "8", "9", "10")
	c.agrees("b")
	before := c.members["a"].core.Self()
	crashed := disk.CrashClone(vfs.CrashCloneCfg{})
	c.members["b"].end()
	write(t, c.members["a"].Runner, "11", "12") // acknowledged by somebody else
	c.members["a"].end()

	c.start("b", func(o *Options) { o.FS = crashed })
	c.epoch, c.leader = 2, "b"
	lead(t, c.members["b"].Runner, 2, replication.Rule{K: 1})
	c.start("a")
	c.follow("a")
	until(t, "a is seeded", func() bool { s := c.status("a"); return s.Quarantined > 0 && !s.NeedSeed })
	f, err := c.members["a"].Fence(t.Context(), wire.FenceRequest{Epoch: 3})
	if err != nil {
		t.Fatal(err)
	}
	after := replication.Voter{Member: f.Member, Incarnation: f.Incarnation}
	if s := c.status("a"); after == before || s.Incarnation != f.Incarnation {
		t.Errorf("a was %v, says to a fence that it is %v, and in its status %s", before, after, s.Incarnation)
	}
	c.members["a"].end()
	c.start("a")
	if s := c.status("a"); s.Incarnation != f.Incarnation {
		t.Errorf("a was %v, and is %s after a restart", after, s.Incarnation)
	}
}

// The leader holds its log for a follower also under the incarnation that the follower takes with its seed, until it has
// caught up.
func TestTheLogIsHeldUntilWhoWasSeededAnewHasCaughtUp(t *testing.T) {
	c := newCluster(t)
	c.start("a")
	c.start("b")
	c.lead("a", "b")
	write(t, c.members["a"].Runner, "1", "2")
	c.agrees("b")
	before := c.status("a").Incarnation
	c.members["b"].end()
	write(t, c.members["a"].Runner, "3")
	c.depose()
	c.start("b")
	c.lead("b", "a")
	c.agrees("a")
	if s := c.status("a"); s.Quarantined == 0 || s.Incarnation == before {
		t.Fatalf("it was not seeded anew: %+v", s)
	}
	until(t, "the log is held no more", func() bool { return c.orders() == 0 })
}
