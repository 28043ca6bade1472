package peer

import (
	"time"

	"github.com/replicatedstore/replicatedstore/replication"
)

// Reader is the part of the log that a Sender reads.
type Reader interface {
	// Read appends to dst the records from position from on: at least one, and otherwise at most maxBytes of them. It
	// appends none if from is beyond the end.
	Read(from replication.Position, maxBytes int, dst []replication.Record) ([]replication.Record, error)
}

// maxBatch bounds the records of one Append in bytes. It is large enough that the cost of the frame does not matter, and
// small enough that a follower far behind still hears heartbeats.
const maxBatch = 1 << 20

// CommitDelay is how long a new commit position waits for records to travel with. Under load it never travels alone, which
// halves the messages, their acknowledgements, and the wake-ups for both. A follower that receives nothing else shows a
// write that much later. Measured (three members, two processors; ratio of CPU time per SET): 1 connection 0.77, 50
// connections 0.84, 256 connections 0.75; with a pipeline of 16 the same as before.
const CommitDelay = 5 * time.Millisecond

// Sender decides what to send next to one follower. It has neither a goroutine nor a clock of its own.
type Sender struct {
	log       Reader
	epoch     replication.Epoch
	next      replication.Position // the first position not sent yet
	commit    replication.Position // the last commit position sent
	heartbeat time.Duration
	sentAt    time.Duration // when something was last sent; 0: never
	buf       []replication.Record
}

// NewSender returns a Sender that continues after position holds, up to which the follower holds the log.
func NewSender(log Reader, epoch replication.Epoch, holds replication.Position, heartbeat time.Duration) *Sender {
	return &Sender{log: log, epoch: epoch, next: holds + 1, heartbeat: heartbeat}
}

// Next returns the message that is due at now (on the leader's monotonic clock), given the log's end and the commit
// position; false if none is due. The records are valid until the next call.
func (s *Sender) Next(last, commit replication.Position, now time.Duration) (replication.Append, bool, error) {
	a := replication.Append{Epoch: s.epoch, Commit: commit, Sent: int64(now)}
	if s.next <= last {
		recs, err := s.log.Read(s.next, maxBatch, s.buf[:0])
		if err != nil {
			return a, false, err
		}
		s.buf = recs
		if len(recs) > 0 {
			s.next = recs[len(recs)-1].Last() + 1
		}
		a.Records = recs
	}
	idle := now - s.sentAt
	if len(a.Records) == 0 && s.sentAt != 0 && (idle < CommitDelay || commit == s.commit && idle < s.heartbeat) {
		return a, false, nil
	}
	s.commit, s.sentAt = commit, now
	return a, true, nil
}

// Wait returns how long to wait before calling Next again if no record is added. While records that were sent have not been
// reported as committed, the wait doubles each time, so that nobody has to wake the sender when they are.
func (s *Sender) Wait(now time.Duration) time.Duration {
	idle := now - s.sentAt
	wait := s.heartbeat - idle
	if s.next > s.commit+1 {
		wait = min(wait, max(CommitDelay-idle, idle))
	}
	return max(wait, 0)
}
