package role

import (
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// A member whose volume was put back to an older state no longer counts as the voter that knows what it acknowledged. It
// reports that, and is brought up to date.
func TestVolumeThatWasPutBack(t *testing.T) {
	c := newCluster(t)
	c.start("l")
	c.start("f")
	c.lead("l", "f")
	c.fill("a", 3)
	c.agrees("f")
	c.members["f"].end()
	older := vfs.NewMem()
	if _, err := vfs.Clone(c.members["f"].opt.FS, older, "d", "d"); err != nil {
		t.Fatal(err)
	}
	was := c.lastOf("f")
	c.start("f")
	c.fill("b", 3)
	c.agrees("f")
	before := c.status("f").Incarnation
	if s := c.status("f"); s.ProblemReason != "" {
		t.Fatalf("a restart alone: %s", s.Problem)
	}
	until(t, "the leader knows what f has", func() bool { l := c.status("l"); return l.Followers["f"].Durable == l.Last.Position })
	c.start("f", func(o *Options) { o.FS = older })
	if last := c.lastOf("f"); last > was {
		t.Fatalf("the older volume ends at %d", last)
	}
	c.agrees("f")
	s := c.status("f")
	if s.Incarnation == before {
		t.Error("it has the incarnation of before")
	}
	if s.ProblemReason != wire.ProblemVolumeOlder || !strings.Contains(s.Problem, "had acknowledged position 7 to l in epoch 1") {
		t.Errorf("it says %q: %s", s.ProblemReason, s.Problem)
	}
	// The new incarnation is durable; the next process reports only the count.
	again := s.Incarnation
	c.start("f")
	c.agrees("f")
	if s := c.status("f"); s.Incarnation != again || s.ProblemReason != "" {
		t.Errorf("after a restart it is %s, and says %q", s.Incarnation, s.Problem)
	}
	if f, l := c.members["f"].VolumesOlder(), c.members["l"].VolumesOlder(); f != 1 || l != 0 {
		t.Errorf("after a restart its volume counts %d times, and its leader's %d times", f, l)
	}
}
