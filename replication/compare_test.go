package replication_test

import (
	"testing"
	"time"

	. "github.com/replicatedstore/replicatedstore/replication"
)

// A follower that needs a snapshot is compared all the same where it asks for that: what the leader lacks is cut, and so kept, first. One of an
// older version does not ask, and is sent a snapshot.
func TestWhoNeedsASnapshotIsCompared(t *testing.T) {
	now := time.Unix(100, 0)
	r, _ := newLeader(t, now)
	barrier := r.Log().Last()
	ahead := Mark{Epoch: 1, Position: 9}
	for name, tc := range map[string]struct {
		last           Mark
		compare, probe bool
		want           Verdict
	}{
		"it is a prefix":              {barrier, true, false, VerdictSeed},
		"it holds more":               {ahead, true, false, VerdictCut},
		"it asks where the logs part": {barrier, true, true, VerdictCut},
		"it is of an older version":   {ahead, false, false, VerdictSeed},
	} {
		reply := r.OnHello(Hello{Store: "s", Member: "g", Incarnation: "i", Epoch: 1, Last: tc.last, Seed: true, Compare: tc.compare, Probe: tc.probe}, now)
		if reply.Verdict != tc.want {
			t.Errorf("%s: %+v", name, reply)
		}
	}
}

// waiting is a member that led epoch 1, has three entries, applied all, and waits for a snapshot since it was to cut all after the second.
func waiting(t *testing.T) (*Replica, *memStable) {
	t.Helper()
	now := time.Unix(100, 0)
	leader, _ := newLeader(t, now)
	for p := Position(2); p <= 3; p++ {
		if err := leader.Extend(p, 1, []byte{1, 'x'}, 1); err != nil {
			t.Fatal(err)
		}
	}
	disk := &memStable{Promises{Promised: 2, Epoch: 2, Leader: "m", NeedSeed: true}}
	r, err := NewReplica(ReplicaOptions{Store: "s", Self: Voter{Member: "l", Incarnation: "i"}}, leader.Log(), disk, disk.p, 3, now)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Log().Sync(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Log().Cut(2, "as the leader of epoch 2 asked"); err != nil {
		t.Fatal(err)
	}
	return r, disk
}

// What a later leader lacks of the log of a member that waits for a snapshot is due to be cut, whatever comes between; and once nothing is
// left to cut, or it cannot be cut, that is over.
func TestWhatALaterLeaderLacksIsCutBeforeASnapshot(t *testing.T) {
	for name, finish := range map[string]func(*Replica) error{
		"cut":    func(r *Replica) error { _, err := r.FinishCut(); return err },
		"forgon": func(r *Replica) error { return r.ForgoCut() },
	} {
		r, disk := waiting(t)
		if err := r.Follow(3, "n", ""); err != nil {
			t.Fatal(err)
		}
		if h := r.Hello(); !h.Seed || !h.Compare || h.Last.Position != 2 {
			t.Errorf("%s: it says %+v", name, h)
		}
		step, err := r.OnHelloReply(HelloReply{Verdict: VerdictCut})
		if step != StepAgain || err != nil || r.CutDue() == nil || !disk.p.Uncut || disk.p.CutAfter != 0 {
			t.Fatalf("%s: step %v, %v; due: %v, promised: %+v", name, step, err, r.CutDue(), disk.p)
		}
		if err := finish(r); err != nil {
			t.Fatal(err)
		}
		if h := r.Hello(); !h.Seed || h.Compare || r.CutDue() != nil || !disk.p.NeedSeed || disk.p.Uncut {
			t.Errorf("%s: it says %+v; due: %v, promised: %+v", name, h, r.CutDue(), disk.p)
		}
	}
}
