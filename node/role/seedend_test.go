package role

import (
	"errors"
	"net"
	"testing"

	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/snapshot"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// A seed over a connection that hung ends long after its follower streams over another one. The stream continues to
// count.
func TestLateEndOfASeedLeavesTheStreamAlone(t *testing.T) {
	r := start(t, options())
	v := replication.Voter{Member: "f", Incarnation: "i"}
	lead(t, r, 1, replication.Rule{Voters: []replication.Voter{v}, K: 1})
	h := replication.Hello{Store: "s", Member: v.Member, Incarnation: v.Incarnation, Epoch: 1, GrantMillis: 1000, Seed: true}
	if reply, _, err := r.Hello(t.Context(), h); reply.Verdict != replication.VerdictSeed || err != nil {
		t.Fatalf("verdict %s, %v", reply.Verdict, err)
	}
	hung, _ := net.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- r.Seed(t.Context(), h, hung) }()
	until(t, "the seed begins", func() bool { return seedsOf(t, r) == 1 })
	h.Seed = false
	if _, s, err := r.Hello(t.Context(), h); s == nil || err != nil {
		t.Fatalf("no stream: %v", err)
	}
	if <-ended == nil {
		t.Fatal("a seed whose follower came back succeeded")
	}
	r.Ack(v, replication.Ack{Epoch: 1, Durable: 1, Sent: 1})
	until(t, "the follower's acknowledgement lets the leader open", r.Open)
}

// seedsOf returns how many seeds of a leader are under way.
func seedsOf(t *testing.T, r *Runner) (n int) {
	t.Helper()
	if err := r.works.Do(t.Context(), func() {
		for _, o := range r.leader.seeds {
			if o.conn != nil {
				n++
			}
		}
	}); err != nil {
		t.Fatal(err)
	}
	return n
}

// A deposed leader may become anything, even a member without a state. A follower that it is seeding must not get that.
func TestSeedEndsWithTheLeadership(t *testing.T) {
	r := start(t, options())
	lead(t, r, 1, replication.Rule{})
	h := replication.Hello{Store: "s", Member: "f", Incarnation: "i", Epoch: 1, Seed: true}
	if reply, _, err := r.Hello(t.Context(), h); reply.Verdict != replication.VerdictSeed || err != nil {
		t.Fatalf("verdict %s, %v", reply.Verdict, err)
	}
	seeded := make(chan error, 2)
	first, _ := net.Pipe()
	go func() { seeded <- r.Seed(t.Context(), h, first) }()
	until(t, "the seed begins", func() bool { return seedsOf(t, r) == 1 })
	second, _ := net.Pipe()
	go func() { seeded <- r.Seed(t.Context(), h, second) }()
	if <-seeded == nil {
		t.Fatal("the connection before was not ended")
	}
	if _, err := r.Fence(t.Context(), wire.FenceRequest{Epoch: 2}); err != nil {
		t.Fatal(err)
	}
	if <-seeded == nil {
		t.Fatal("a deposed leader went on seeding")
	}
	third, _ := net.Pipe()
	if err := r.Seed(t.Context(), h, third); !errors.Is(err, errNotAsked) {
		t.Fatalf("a deposed leader begins to seed: %v", err)
	}
}

// What a member holds durably may have been acknowledged with its help. A snapshot that ends before that does not replace
// it.
func TestSnapshotBehindTheLogIsNotInstalled(t *testing.T) {
	r := start(t, options())
	lead(t, r, 1, replication.Rule{})
	until(t, "the leader opens", r.Open)
	c := r.Contents()
	var err error
	if doErr := r.works.Do(t.Context(), func() { err = r.install(snapshot.Manifest{}) }); doErr != nil {
		t.Fatal(doErr)
	}
	if err == nil || r.Contents() != c || c.Log.Err() != nil {
		t.Fatalf("installed an empty state over position %d: %v", c.Log.Last().Position, err)
	}
	select {
	case err := <-r.Failed():
		t.Fatalf("the member ended: %v", err)
	default:
	}
}
