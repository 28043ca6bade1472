package wal

import (
	"errors"
	"fmt"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/replicatedstore/replicatedstore/replication"
)

// Log is a member's log. Append, TruncateAfter and Reset must come from one goroutine at a time (they wait for each other);
// everything else may be called concurrently with them.
//
// Locks, in this order: appendMu, pruneMu, syncMu, mu. The first three are held across I/O and serialise appends, removals
// of segments, and syncs, respectively. mu guards the state and is never held across I/O.
type Log struct {
	fs  vfs.FS
	dir string
	opt Options

	appendMu sync.Mutex
	pruneMu  sync.Mutex
	syncMu   sync.Mutex

	mu       sync.Mutex
	err      error // final: ErrFailed or ErrClosed
	last     replication.Mark
	durable  replication.Mark
	epochs   replication.EpochTable
	segments []*segment // by position; never empty; appends go to the last one
	// unsettled means that the segment before the last one has unsynced bytes, or the last one's own name or header may not be
	// durable.
	unsettled bool
	seq       uint64 // of the newest segment made
	tail      tail
	pins      map[*pin]struct{}
	kept      Quarantine // what Keep has copied; Path is "" when there is nothing

	spare spare
}

var _ replication.Log = (*Log)(nil)

// Last returns the end of what was appended.
func (l *Log) Last() replication.Mark {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last
}

// Durable returns the end of what was fsynced. It is at or below Last.
func (l *Log) Durable() replication.Mark {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.durable
}

// First returns the oldest retained position, or Last().Position+1 when the log is empty.
func (l *Log) First() replication.Position {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.segments[0].base() + 1
}

// Epochs returns the epoch table of the whole log, including what was pruned (bounded to the newest 65536 leaderships).
func (l *Log) Epochs() replication.EpochTable {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.epochs
}

// Err returns the final error of a failed or closed log, else nil.
func (l *Log) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// fail makes err final unless an earlier error is, and returns the final error, which wraps ErrFailed or ErrClosed.
func (l *Log) fail(err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = fmt.Errorf("%w: %w", ErrFailed, err)
	}
	return l.err
}

func (l *Log) active() *segment { return l.segments[len(l.segments)-1] }

// SegmentInfo describes one segment of the log.
type SegmentInfo struct {
	// First and Last are positions. Last is First-1 when the segment is empty.
	First, Last replication.Position
	Bytes       int64 // on disk
}

// Segments lists the log's segments, oldest first.
func (l *Log) Segments() []SegmentInfo {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]SegmentInfo, len(l.segments))
	for i, s := range l.segments {
		out[i] = SegmentInfo{First: s.base() + 1, Last: s.end.Position, Bytes: s.size}
	}
	return out
}

// PruneBound returns the largest position that may be passed to Prune so that at least retain bytes of segments remain, or
// 0 if nothing may be pruned.
func (l *Log) PruneBound(retain int64) replication.Position {
	segments := l.Segments()
	for i := len(segments) - 1; i > 0; i-- {
		if retain -= segments[i].Bytes; retain <= 0 {
			return segments[i-1].Last
		}
	}
	return 0
}

// Close syncs the log, writes a note that it was closed in order, and closes it. Readers and releases of pins may still be
// running.
func (l *Log) Close() error {
	l.appendMu.Lock()
	defer l.appendMu.Unlock()
	l.spare.wait()
	if errors.Is(l.Err(), ErrClosed) {
		return nil
	}
	_, err := l.Sync()
	if err == nil {
		err = l.noteClose()
	}
	l.pruneMu.Lock()
	defer l.pruneMu.Unlock()
	l.syncMu.Lock()
	defer l.syncMu.Unlock()
	l.mu.Lock()
	segments := l.segments
	l.err = errors.Join(ErrClosed, l.err)
	l.mu.Unlock()
	for _, s := range segments {
		err = errors.Join(err, s.closeSyncFile())
		s.release()
	}
	l.spare.close()
	return errors.Join(err, l.spare.discard(), l.DropKept())
}

// noteClose writes a note that vouches for everything in the last segment. The caller holds appendMu, and everything is
// synced.
func (l *Log) noteClose() error {
	l.mu.Lock()
	s := l.active()
	n := note{kind: noteClosed, salt: s.header.salt, offset: s.off}
	skip := s.noted == s.off || s.off+noteSize > s.size // a file smaller than a segment has no room for the note
	l.mu.Unlock()
	if skip {
		return nil
	}
	s.out.put(n.appendTo(nil))
	l.syncMu.Lock()
	defer l.syncMu.Unlock()
	if err := l.writeOut(s); err != nil {
		return err
	}
	if err := s.syncFile.SyncData(); err != nil {
		return l.fail(fmt.Errorf("fsync segment %s: %w", s.path, err))
	}
	return nil
}
