package role

import (
	"bytes"
	"context"
	"testing"

	"github.com/replicatedstore/replicatedstore/replication"
)

// A seed over a connection that hung ends long after its follower streams over another one: the stream goes on counting.
func TestLateEndOfASeedLeavesTheStreamAlone(t *testing.T) {
	r := start(t, options())
	v := replication.Voter{Member: "f", Incarnation: "i"}
	lead(t, r, 1, replication.Rule{Voters: []replication.Voter{v}, K: 1})
	h := replication.Hello{Store: "s", Member: v.Member, Incarnation: v.Incarnation, Epoch: 1, GrantMillis: 1000}
	if _, s, err := r.Hello(t.Context(), h); s == nil || err != nil {
		t.Fatalf("no stream: %v", err)
	}
	hung, cancel := context.WithCancel(t.Context())
	cancel()
	if r.Seed(hung, h, &bytes.Buffer{}) == nil {
		t.Fatal("a seed over a closed connection succeeded")
	}
	r.Ack(v, replication.Ack{Epoch: 1, Durable: 1, Sent: 1})
	until(t, "the follower's acknowledgement lets the leader open", r.Open)
}
