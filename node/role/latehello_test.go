package role

import (
	"testing"

	"github.com/replicatedstore/replicatedstore/replication"
)

// A follower's Hello on an abandoned connection may arrive after the one on the next connection. The follower's
// acknowledgements must still count: it hears the leader, and would never reconnect. (Simulation, seed 87514.)
func TestLateHelloOfAnOlderConnection(t *testing.T) {
	for name, late := range map[string]replication.Hello{
		"it is told to cut":        {Last: replication.Mark{Epoch: 1, Position: 1 << 20}},
		"it is told to be seeded":  {Seed: true, NoSeed: true},
		"it asks where to go on":   {Probe: true},
		"it is of another epoch":   {Epoch: 1 << 20},
		"it is of another store":   {Store: "other"},
		"it is of another process": {Incarnation: "other", Probe: true},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t)
			c.start("l")
			c.start("g")
			c.lead("l", "g")
			c.fill("a", 1)
			c.agrees("g")
			late.Member = "g"
			if late.Store == "" {
				late.Store = "s"
			}
			if late.Epoch == 0 {
				late.Epoch = c.epoch
			}
			if late.Incarnation == "" {
				late.Incarnation = c.status("g").Incarnation
			}
			reply, _, err := c.members["l"].Hello(t.Context(), late)
			if err != nil || reply.Verdict == replication.VerdictStream {
				t.Fatalf("%+v, %v", reply, err)
			}
			c.fill("b", 1)
			until(t, "what the follower acknowledges counts", func() bool {
				s := c.status("l")
				f := s.Followers["g"]
				return f.Live && f.CaughtUp && f.Durable == s.Last.Position && f.Incarnation == c.status("g").Incarnation
			})
		})
	}
}
