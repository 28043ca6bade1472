package role

import (
	"testing"

	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// A follower reports how far its leader was, and how long ago it heard that, in its status and in its answer to a fence.
func TestFollowerTellsWhenItHeardTheLeader(t *testing.T) {
	c := newCluster(t)
	c.start("l")
	c.start("g")
	if s := c.status("g"); s.ToldMillis != nil {
		t.Fatalf("heard %d ms ago, before there was a leader", *s.ToldMillis)
	}
	c.lead("l", "g")
	c.fill("a", 1)
	c.agrees("g")
	until(t, "it was told", func() bool { return c.status("g").Told.Position == c.status("l").Commit })
	if s := c.status("g"); s.ToldMillis == nil || *s.ToldMillis < 0 || *s.ToldMillis > 60_000 {
		t.Fatalf("heard %v ms ago", s.ToldMillis)
	}
	if s := c.status("l"); s.ToldMillis != nil {
		t.Fatalf("the leader was told %d ms ago", *s.ToldMillis)
	}
	f, err := c.members["g"].Fence(t.Context(), wire.FenceRequest{Epoch: c.epoch + 1})
	if err != nil || f.ToldMillis == nil || *f.ToldMillis < 0 {
		t.Fatalf("%+v, %v", f, err)
	}
	if s := c.status("g"); s.ToldMillis == nil || s.Essence().ToldMillis != nil {
		t.Fatalf("%+v", s)
	}
}
