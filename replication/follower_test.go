package replication_test

import (
	"errors"
	"testing"
	"time"

	. "github.com/replicatedstore/replicatedstore/replication"
)

// fullLog is a log whose volume has no room for what is cut.
type fullLog struct {
	Log
	full bool
}

func (l *fullLog) Cut(p Position, why string) (uint64, error) {
	if l.full {
		return 0, ErrNoSpace
	}
	return l.Log.Cut(p, why)
}

// A cut below what was applied is carried out before the member is seeded, however it was put off: nobody asks for it
// again.
func TestCutThatHadNoRoomIsMadeUpFor(t *testing.T) {
	now := time.Unix(100, 0)
	disk, log := &memStable{}, &fullLog{Log: newLog(t), full: true}
	self := ReplicaOptions{Store: "s", Self: Voter{Member: "l", Incarnation: "i"}}
	r, err := NewReplica(self, log, disk, Promises{}, 0, now)
	if err != nil {
		t.Fatal(err)
	}
	_, err = r.Fence(1, now)
	if err = errors.Join(err, r.Promote(Promotion{Epoch: 1, Version: 1, Rules: []Rule{{}}}, 1, now)); err != nil {
		t.Fatal(err)
	}
	if _, err := log.Sync(); err != nil {
		t.Fatal(err)
	}
	r.OnDurable(now)
	if r.Commit() != 1 {
		t.Fatalf("committed up to %d", r.Commit())
	}
	if err := r.Follow(2, "other", ""); err != nil {
		t.Fatal(err)
	}
	var refusal *Refusal
	step, err := r.OnHelloReply(HelloReply{Verdict: VerdictCut, Epoch: 0, End: 0})
	if step != StepAgain || err != nil || r.CutDue() == nil || !disk.p.Uncut || !disk.p.NeedSeed {
		t.Fatalf("step %v, %v; due: %v, promised: %+v", step, err, r.CutDue(), disk.p)
	}
	if _, err := r.FinishCut(); !errors.As(err, &refusal) || r.CutDue() == nil {
		t.Fatalf("%v; due: %v", err, r.CutDue())
	}
	// The next process knows about it too.
	if r, err = NewReplica(self, log, disk, disk.p, 1, now); err != nil {
		t.Fatal(err)
	}
	if _, err := r.FinishCut(); !errors.As(err, &refusal) || r.CutDue() == nil {
		t.Fatalf("%v; due: %v", err, r.CutDue())
	}
	log.full = false
	cut, err := r.FinishCut()
	if err != nil || cut != 1 || r.CutDue() != nil || log.Last().Position != 0 {
		t.Fatalf("cut %d, %v; due: %v, the log ends at %d", cut, err, r.CutDue(), log.Last().Position)
	}
	if h := r.Hello(); !h.Seed {
		t.Errorf("it does not ask for a seed: %+v", h)
	}
	if err := r.Seeded(newLog(t), Mark{}, "another"); err != nil || disk.p.Uncut || disk.p.NeedSeed {
		t.Errorf("seeded: %v, %+v", err, disk.p)
	}
}
