package peer

import (
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/replication"
)

// records is a log of one-entry records up to end.
type records struct{ end replication.Position }

func (r *records) Read(from replication.Position, _ int, dst []replication.Record) ([]replication.Record, error) {
	for p := from; p <= r.end; p++ {
		dst = append(dst, replication.Record{Header: replication.Header{First: p, Count: 1}})
	}
	return dst, nil
}

func TestWhatIsSentWhen(t *testing.T) {
	const ms = time.Millisecond
	log := &records{}
	s := NewSender(log, 1, 0, Heartbeat)
	for i, step := range []struct {
		now          time.Duration
		last, commit replication.Position
		records      int // -1: nothing is due
		wait         time.Duration
	}{
		{1 * ms, 0, 0, 0, 100 * ms},  // the first message shows that there is a leader
		{2 * ms, 0, 0, -1, 99 * ms},  // nothing new
		{10 * ms, 1, 0, 1, 5 * ms},   // a record goes at once
		{11 * ms, 1, 1, -1, 4 * ms},  // its commit waits for company
		{12 * ms, 2, 1, 1, 5 * ms},   // and travels with the next record
		{17 * ms, 2, 1, -1, 5 * ms},  // not committed yet: check again
		{22 * ms, 2, 1, -1, 10 * ms}, // and again, after twice the time
		{32 * ms, 2, 2, 0, 100 * ms}, // alone, because no record came
		{33 * ms, 2, 2, -1, 99 * ms}, // everything has been sent
		{132 * ms, 2, 2, 0, 100 * ms},
		{133 * ms, 3, 2, 1, 5 * ms},
		{229 * ms, 3, 2, -1, 4 * ms}, // a heartbeat is due before the next check
	} {
		log.end = step.last
		a, due, err := s.Next(step.last, step.commit, step.now)
		if err != nil {
			t.Fatal(err)
		}
		if got := len(a.Records); due != (step.records >= 0) || due && (got != step.records || a.Commit != step.commit) {
			t.Errorf("step %d: %d records, commit %d, due %t, want %d records", i, got, a.Commit, due, step.records)
		}
		if wait := s.Wait(step.now); wait != step.wait {
			t.Errorf("step %d: look again after %v, want %v", i, wait, step.wait)
		}
	}
}
