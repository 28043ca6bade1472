package wal

import (
	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/durable"
)

type pin struct{ from replication.Position }

// Pin retains the records from position from on until release is called (once or more). It cannot bring back what is
// already pruned: pin first, then look at First.
func (l *Log) Pin(from replication.Position) (release func()) {
	p := &pin{from: from}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pins[p] = struct{}{}
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.pins, p)
	}
}

// Prune removes segments from the log, oldest first, as long as they hold nothing after upTo, nothing pinned, and nothing
// that is not durable. The last segment always stays. A crash leaves a log that begins at one of the segments.
func (l *Log) Prune(upTo replication.Position) error {
	l.pruneMu.Lock()
	defer l.pruneMu.Unlock()
	for {
		s, err := l.dropOldest(upTo)
		if s == nil || err != nil {
			return err
		}
		kept, err := l.retire(s)
		s.release()
		if err != nil {
			return l.fail(err)
		}
		// Keep this order on disk too: a gap in the middle of the log would be damage.
		if err := durable.SyncDir(l.fs, l.dir); err != nil {
			return l.fail(err)
		}
		l.spare.free(kept)
	}
}

// dropOldest takes the oldest segment out of the log, or returns nil if it must stay.
func (l *Log) dropOldest(upTo replication.Position) (*segment, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return nil, l.err
	}
	upTo = min(upTo, l.durable.Position)
	for p := range l.pins {
		if p.from <= upTo {
			upTo = max(p.from, 1) - 1
		}
	}
	// The segment before an unsettled one has yet to be synced.
	if s := l.segments[0]; len(l.segments) > 1 && s.end.Position <= upTo && (len(l.segments) > 2 || !l.unsettled) {
		l.segments = l.segments[1:]
		return s, nil
	}
	return nil, nil
}
