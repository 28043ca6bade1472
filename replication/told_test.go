package replication_test

import (
	"testing"
	"time"

	. "github.com/replicatedstore/replicatedstore/replication"
)

// The age of what a leader told counts from when that leader was last heard, even under a promise, and not from when it
// last said something new.
func TestToldMillis(t *testing.T) {
	now := time.Unix(100, 0)
	r, err := NewReplica(ReplicaOptions{Store: "s", Self: Voter{Member: "f", Incarnation: "i"}}, newLog(t), &memStable{}, Promises{}, 0, now)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Follow(1, "l", ""); err != nil {
		t.Fatal(err)
	}
	if _, err := r.OnHelloReply(HelloReply{Verdict: VerdictStream}); err != nil {
		t.Fatal(err)
	}
	ago := func(want int64) {
		t.Helper()
		if got := r.ToldMillis(now); want < 0 && got != nil || want >= 0 && (got == nil || *got != want) {
			t.Fatalf("%v, want %d", got, want)
		}
	}
	ago(-1)
	for _, a := range []struct {
		Append
		want int64
	}{
		{Append{Epoch: 1, Commit: 5}, 0}, {Append{Epoch: 1, Commit: 5}, 0}, {Append{Epoch: 1, Commit: 5, Deaf: true}, 1000},
	} {
		now = now.Add(time.Second)
		if err := r.OnAppend(a.Append, now); err != nil {
			t.Fatal(err)
		}
		ago(a.want)
	}
	if _, err := r.Fence(2, now); err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Second)
	ago(2000)
}
