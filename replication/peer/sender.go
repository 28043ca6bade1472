package peer

import (
	"time"

	"github.com/replicatedstore/replicatedstore/replication"
)

// Reader is the part of the log that a Sender reads.
type Reader interface {
	// Read appends to dst the records from position from on, at least one and otherwise at most maxBytes of them; none
	// when from is beyond the end.
	Read(from replication.Position, maxBytes int, dst []replication.Record) ([]replication.Record, error)
}

// maxBatch bounds the records of one Append, in bytes: large enough that the frame costs nothing, small enough that a
// follower far behind still hears heartbeats.
const maxBatch = 1 << 20

// Sender decides what one follower is sent next. It has no goroutine and no clock of its own.
type Sender struct {
	log       Reader
	epoch     replication.Epoch
	next      replication.Position // the first position not sent yet
	commit    replication.Position // the last commit position sent
	heartbeat time.Duration
	sentAt    time.Duration // when anything was sent last; 0: never
	buf       []replication.Record
}

// NewSender continues after the position that the follower holds.
func NewSender(log Reader, epoch replication.Epoch, holds replication.Position, heartbeat time.Duration) *Sender {
	return &Sender{log: log, epoch: epoch, next: holds + 1, heartbeat: heartbeat}
}

// Next returns the message that is due at now (on the leader's monotonic clock), given the log's end and the commit
// position; false when nothing is. The records are valid until the next call.
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
	if len(a.Records) == 0 && commit == s.commit && s.sentAt != 0 && now-s.sentAt < s.heartbeat {
		return a, false, nil
	}
	s.commit, s.sentAt = commit, now
	return a, true, nil
}
