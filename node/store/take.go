package store

import (
	"encoding/binary"
	"fmt"

	"github.com/replicatedstore/replicatedstore/replication"
)

// Pending returns a channel that receives after entries were queued since the last Take. One receipt may stand for many,
// and the Take after it may find nothing.
func (s *Sequencer) Pending() <-chan struct{} { return s.pending }

func (s *Sequencer) signalPending() {
	select {
	case s.pending <- struct{}{}:
	default:
	}
}

// maxPayload is how large a payload buffer is kept between calls of Take.
const maxPayload = 8 << 20

// Take returns the oldest entries that were not taken yet as the payload of a data record: count entries from position
// first on, as many as fit in maxBytes (at most replication.MaxPayloadBytes) but at least one. count is 0 if nothing is
// queued. The payload is valid until the next Take. If more is left, Pending receives again.
//
// Called by the role goroutine. What was taken must be appended to the log in this order, or Close must be called.
func (s *Sequencer) Take(maxBytes int) (first replication.Position, count int, payload []byte) {
	maxBytes = min(maxBytes, replication.MaxPayloadBytes)
	s.mu.Lock()
	first = s.taken
	s.took = s.took[:0]
	size := 0
	for s.taken <= s.tail {
		entry := s.flight.at(int(s.taken - s.base))
		n := uvarintSize(len(entry)) + len(entry)
		if size+n > maxBytes && size > 0 {
			s.signalPending()
			break
		}
		size += n
		s.took = append(s.took, entry)
		s.taken++
	}
	s.mu.Unlock()
	// Entries never change, so they are joined without the lock.
	if cap(s.payload) < size || cap(s.payload) > maxPayload {
		s.payload = make([]byte, 0, size)
	}
	s.payload = s.payload[:0]
	for _, entry := range s.took {
		s.payload = append(binary.AppendUvarint(s.payload, uint64(len(entry))), entry...)
	}
	count = len(s.took)
	clear(s.took)
	return first, count, s.payload
}

// cleanSlice is how many applied entries are forgotten before mu is released once.
const cleanSlice = 256

// Applied reports that the Machine has applied everything up to p. It wakes the replies that wait for that, in the order
// of their positions, and makes the overlay forget it. Positions of an earlier leadership and of the barrier are ignored.
// Called by the role goroutine, after Machine.Apply; p must have been taken.
func (s *Sequencer) Applied(p replication.Position) {
	s.waits.advance(p) // first: replies do not depend on the cleanup
	for more := true; more; {
		s.mu.Lock()
		more = s.forget(p)
		s.admitNext()
		s.mu.Unlock()
	}
	s.tellSettled()
}

// forget drops up to cleanSlice entries at or below p and reports whether there are more; mu is held.
func (s *Sequencer) forget(p replication.Position) (more bool) {
	if s.err != nil {
		return false
	}
	if p >= s.taken && p >= s.base {
		panic(fmt.Sprintf("store: position %d was applied, but only those below %d were taken", p, s.taken))
	}
	for range cleanSlice {
		if s.base > p {
			return false
		}
		entry := s.flight.pop()
		s.bytes -= int64(len(entry)) + entryOverhead
		s.overlay.drop(s.base, entry)
		s.base++
	}
	return s.base <= p
}
