package role

import (
	"slices"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// The disk of the follower that commits wait for hangs. From then on they wait for the other one, which was sent the
// records too.
func TestFollowerWhoseDiskHangsIsNotWaitedFor(t *testing.T) {
	c := newCluster(t)
	disks := map[string]*hangFS{"a": {FS: vfs.NewMem()}, "b": {FS: vfs.NewMem()}, "c": {FS: vfs.NewMem()}}
	for name, disk := range disks {
		c.start(name, func(o *Options) { o.FS = disk })
	}
	c.leadSync("a", 1, "b", "c")
	first := c.prompt("b", "c")
	if len(first) != 1 {
		t.Fatalf("prompt are %v, want one", first)
	}
	hang := make(chan struct{})
	disks[first[0]].hang.Store(&hang)
	goOn := sync.OnceFunc(func() {
		disks[first[0]].hang.Store(nil)
		close(hang)
	})
	defer goOn()
	c.fill("more", 20)
	if now := c.prompt("b", "c"); len(now) != 1 || slices.Equal(now, first) {
		t.Errorf("prompt are %v after the disk of %v hung", now, first)
	}
	goOn()
	c.agrees("b")
	c.agrees("c")
}

// leadSync makes one member lead a new epoch with the others as its voters; commits wait for k of them.
func (c *cluster) leadSync(name string, k int, others ...string) {
	c.t.Helper()
	c.epoch++
	c.leader = name
	rule := replication.Rule{K: k}
	for _, n := range others {
		rule.Voters = append(rule.Voters, replication.Voter{Member: n, Incarnation: c.status(n).Incarnation})
		if _, err := c.members[n].Fence(c.t.Context(), wire.FenceRequest{Epoch: c.epoch}); err != nil {
			c.t.Fatal(err)
		}
	}
	lead(c.t, c.members[name].Runner, c.epoch, rule)
	for _, n := range others {
		c.follow(n)
	}
	until(c.t, name+" takes writes", c.members[name].Open)
	for _, n := range others {
		c.agrees(n)
	}
}

// prompt returns those of the named followers that are prompt according to the leader.
func (c *cluster) prompt(names ...string) (prompt []string) {
	c.t.Helper()
	m := c.members[c.leader].Member
	if err := m.works.Do(c.t.Context(), func() {
		for _, n := range names {
			if s := m.leader.streams[n]; s != nil && m.core.Prompt(s.to) {
				prompt = append(prompt, n)
			}
		}
	}); err != nil {
		c.t.Fatal(err)
	}
	return prompt
}
