package node

import (
	"strings"
	"testing"

	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// A follower that has restarted, and has not yet applied again what its log held, answers no reads, so it is not ready.
func TestAFollowerIsReadyOnceItsReadsAreServed(t *testing.T) {
	c := newCluster(t, 2, 1)
	c.promote("m-1", "m-2")
	c.lead, c.epoch = "m-1", c.epoch+1
	f, err := c.nodes["m-1"].Fence(t.Context(), wire.FenceRequest{Epoch: c.epoch})
	if err != nil {
		t.Fatal(err)
	}
	voter := replication.Voter{Member: "m-2", Incarnation: c.status("m-2").Incarnation}
	tooFew := []replication.Rule{{Voters: []replication.Voter{voter, {Member: "m-9", Incarnation: "gone"}}, K: 2}}
	if err := c.nodes["m-1"].Promote(t.Context(), wire.PromoteRequest{Epoch: c.epoch, ConfigVersion: 1, Rules: tooFew, Start: f.Last}); err != nil {
		t.Fatal(err)
	}
	c.follow("m-2")
	c.eventually("the follower holds what is not committed", func() bool { return c.status("m-2").Durable.Epoch == c.epoch })
	if err := c.nodes["m-2"].Stop(); err != nil {
		t.Fatal(err)
	}
	n := c.start("m-2")
	c.follow("m-2")
	c.eventually("it follows again", n.run.Following)
	if err := n.Ready(); err == nil || !strings.Contains(err.Error(), "not yet applied") {
		t.Errorf("not ready for reads: %v", err)
	}
	enough := []replication.Rule{{Voters: []replication.Voter{voter}, K: 1}}
	if err := c.nodes["m-1"].Configure(t.Context(), wire.ConfigureRequest{Epoch: c.epoch, Version: 2, Rules: enough}); err != nil {
		t.Fatal(err)
	}
	c.eventually("it is ready", func() bool { return n.Ready() == nil })
}
