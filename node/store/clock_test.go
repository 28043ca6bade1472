package store

import (
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/replicatedstore/replicatedstore/replication"
)

// A leader's clock was an hour ahead for one record. Under later leaders, a key with a TTL of ten seconds lives for ten
// seconds and not for an hour, whether or not anything is written meanwhile.
func TestLeaderTimeGoesOnAheadOfTheClock(t *testing.T) {
	l := newLeader(t, SequencerOptions{})
	l.clock.setAhead(time.Hour)
	l.put("x", "1", 0)
	l.settle()
	l.clock.setAhead(-time.Hour)
	for _, who := range []string{"the leader itself", "the next one"} {
		begun := l.s.Now()
		l.put("lock", "v", begun+10_000)
		l.settle()
		l.clock.pass(9900 * time.Millisecond)
		if l.get("lock") == "" {
			t.Errorf("%s: the key is gone too early", who)
		}
		l.clock.pass(300 * time.Millisecond)
		if l.get("lock") != "" {
			t.Errorf("%s: the key is still there, leader time went on by %d ms in 10.2 s", who, l.s.Now()-begun)
		}
		if due, _, err := l.m.due(l.s.expiry.start(), l.s.Now(), 10, 1<<20); err != nil || len(due) == 0 {
			t.Errorf("%s: it is not due to be removed (%v)", who, err)
		}
		l.put("lock", "w", 0)
		l.settle()
		before := l.m.AppliedTime()
		l.deposed(nil)
		l.m.clock.Store(0) // as in a new process
		l.s = NewSequencer(l.m, SequencerOptions{Clock: l.clock.read, Monotonic: l.clock.elapsed})
		l.lead()
		if after := l.m.AppliedTime(); after < before {
			t.Errorf("%s: the records go back by %d ms", who, before-after)
		}
	}
}

// Leader time that is ahead runs slower, so that the wall clock catches up eventually. From then on it follows the wall
// clock, whatever the monotonic one says.
func TestLeaderTimeMeetsTheClockAgain(t *testing.T) {
	l := newLeader(t, SequencerOptions{})
	l.clock.setAhead(time.Second)
	ahead := l.s.Now()
	l.clock.setAhead(-time.Second)
	for range 90 {
		l.clock.pass(time.Second)
		if now := l.s.Now(); now <= ahead || now <= l.clock.now {
			t.Fatalf("leader time is %d, after %d, at %d by the clock", now, ahead, l.clock.now)
		} else {
			ahead = now
		}
	}
	l.clock.pass(20 * time.Second)
	for range 5 {
		if now := l.s.Now(); now != l.clock.now {
			t.Fatalf("leader time is %d ms ahead of the clock", now-l.clock.now)
		}
		l.clock.now += 1000
		l.clock.mono += 1005 * time.Millisecond
	}
}

// A leader that has not applied its whole log does not know the log's latest time: its barrier may carry an earlier one.
func TestAppliedTimeNeverFalls(t *testing.T) {
	m := openMachine(t, vfs.NewMem(), "state")
	for _, at := range []int64{5000, 1000, 2000} {
		if err := m.Apply([]replication.Record{record(t, m.Applied(), 1, at, entryOf(putOf("k", "v", 0)))}); err != nil {
			t.Fatal(err)
		}
		if got := m.AppliedTime(); got != 5000 {
			t.Errorf("after a record of %d the time is %d", at, got)
		}
	}
}
