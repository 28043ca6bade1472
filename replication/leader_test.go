package replication_test

import (
	"testing"
	"time"

	. "github.com/replicatedstore/replicatedstore/replication"
)

// newLeader returns the leader of epoch 1, with one voter that has a stream.
func newLeader(t *testing.T, now time.Time) (*Replica, Voter) {
	t.Helper()
	v := Voter{Member: "f", Incarnation: "i"}
	r, err := NewReplica(ReplicaOptions{Store: "s", Self: Voter{Member: "l", Incarnation: "i"}}, newLog(t), &memStable{}, Promises{}, 0, now)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Fence(1, now); err != nil {
		t.Fatal(err)
	}
	if err := r.Promote(Promotion{Epoch: 1, Version: 1, Rules: []Rule{{Voters: []Voter{v}, K: 1}}}, 1, now); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Log().Sync(); err != nil {
		t.Fatal(err)
	}
	h := Hello{Store: "s", Member: v.Member, Incarnation: v.Incarnation, Epoch: 1, GrantMillis: 1000}
	if reply := r.OnHello(h, now); reply.Verdict != VerdictStream {
		t.Fatalf("verdict %s", reply.Verdict)
	}
	return r, v
}

// A follower that acknowledges what it already held, before it has heard any Append on this stream, has granted this leader
// nothing.
func TestAcknowledgementBeforeTheFirstAppendGrantsNothing(t *testing.T) {
	start := time.Unix(100, 0) // of the leader's clock, which Sent counts from
	now := start.Add(10 * time.Millisecond)
	r, v := newLeader(t, now)
	r.OnAck(v, Ack{Epoch: 1, Durable: 1}, start, now)
	if w := r.ReadWindow(now); w > 0 {
		t.Fatalf("reads are served for %v although nobody refuses other leaders", w)
	}
	r.OnAck(v, Ack{Epoch: 1, Durable: 1, Sent: int64(5 * time.Millisecond)}, start.Add(5*time.Millisecond), now)
	if w := r.ReadWindow(now); w <= 0 {
		t.Fatalf("the read window is %v after a grant", w)
	}
}
