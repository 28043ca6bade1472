package replication_test

import (
	"testing"
	"time"

	. "github.com/replicatedstore/replicatedstore/replication"
)

// A voter that comes back with less than it has acknowledged in this epoch is not taken for the voter that acknowledged it.
func TestVoterThatLostWhatItAcknowledged(t *testing.T) {
	now := time.Unix(100, 0)
	r, v := newLeader(t, now)
	barrier := r.Log().Last()
	for p := Position(2); p <= 4; p++ {
		if err := r.Extend(p, 1, []byte{1, 'x'}, 1); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.Log().Sync(); err != nil {
		t.Fatal(err)
	}
	r.OnAck(v, Ack{Epoch: 1, Durable: 3}, now, now)
	mark := func(p Position) Mark { m, _ := r.Log().MarkAt(p); return m }
	hello := func(i string, last Mark) Hello {
		return Hello{Store: "s", Member: "f", Incarnation: i, Epoch: 1, Last: last}
	}
	probe, seed := hello("i", barrier), hello("i", barrier)
	probe.Probe, seed.Seed = true, true

	for name, tc := range map[string]struct {
		h       Hello
		verdict Verdict
		acked   Position
	}{
		"its volume is of before": {hello("i", barrier), VerdictRefuse, 3},
		"it is empty":             {hello("i", Mark{}), VerdictRefuse, 3},
		"it asks where to go on":  {probe, VerdictCut, 0},
		"it needs a snapshot":     {seed, VerdictSeed, 0},
	} {
		if reply := r.OnHello(tc.h, now); reply.Verdict != tc.verdict || reply.Acked != tc.acked {
			t.Errorf("%s: %+v", name, reply)
		}
		if r.Streams(v) {
			t.Errorf("%s: its acknowledgements count", name)
		}
	}
	if r.CommitCovered() {
		t.Error("what it lost counts as held")
	}
	// It held at least that, perhaps more that it had not reported; or it is a different one.
	for _, h := range []Hello{hello("i", mark(3)), hello("i", mark(4)), hello("j", barrier)} {
		if reply := r.OnHello(h, now); reply.Verdict != VerdictStream || reply.Acked != 0 {
			t.Errorf("%+v: %+v", h, reply)
		}
	}
}

// The follower compares the answer with its log, because its Hello may have been a late one.
func TestFollowerRenewsItselfOnlyIfThatIsGone(t *testing.T) {
	now := time.Unix(100, 0)
	leader, _ := newLeader(t, now)
	for name, tc := range map[string]struct {
		acked    Position
		needSeed bool
		want     Step
	}{
		"it lacks that":           {2, false, StepRenew},
		"it holds that":           {1, false, StepLeave},
		"it is refused":           {0, false, StepLeave},
		"it is no voter any more": {2, true, StepLeave},
	} {
		log := newLog(t)
		first, err := leader.Log().(interface {
			Read(Position, int, []Record) ([]Record, error)
		}).Read(1, 1, nil)
		if err == nil {
			err = log.Append(first...)
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := log.Sync(); err != nil {
			t.Fatal(err)
		}
		kept := Promises{Promised: 1, Epoch: 1, Leader: "l", NeedSeed: tc.needSeed}
		f, err := NewReplica(ReplicaOptions{Store: "s", Self: Voter{Member: "f", Incarnation: "i"}}, log, &memStable{}, kept, 0, now)
		if err != nil {
			t.Fatal(err)
		}
		if step, err := f.OnHelloReply(HelloReply{Verdict: VerdictRefuse, Acked: tc.acked}); step != tc.want || err != nil {
			t.Errorf("%s: step %d, %v", name, step, err)
		}
		f.Renewed("j")
		if h := f.Hello(); h.Incarnation != "j" {
			t.Errorf("%s: it says that it is %s", name, h.Incarnation)
		}
	}
}
