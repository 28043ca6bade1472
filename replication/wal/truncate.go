package wal

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/durable"
)

// cutName is the file that becomes the last segment of a truncated or reset log. Open removes a leftover one.
const cutName = "cut" + durable.TempSuffix

// Cut is TruncateAfter for callers that need only the number of entries removed.
func (l *Log) Cut(p replication.Position, reason string) (uint64, error) {
	q, err := l.TruncateAfter(p, reason)
	return q.Entries(), err
}

// TruncateAfter cuts everything after position p, which must be a record end or the log's base. The cut records are in a
// durable quarantine file before the log is touched; Keep may have written it ahead of time. Then the segment that holds p
// is copied up to p and the copy renamed over the original. A crash leaves the old end or the new one, and the bytes after
// the new end are zeros, so nothing that was cut can come back. Cutting at or after the end does nothing. A concurrent Read
// may still return cut records.
//
// ErrPruned, ErrBoundary, ErrDamaged and ErrNoSpace leave the log as it was; any other error is final.
func (l *Log) TruncateAfter(p replication.Position, reason string) (Quarantine, error) {
	l.appendMu.Lock()
	defer l.appendMu.Unlock()
	l.pruneMu.Lock()
	defer l.pruneMu.Unlock()
	if p >= l.Last().Position {
		return Quarantine{}, l.Err()
	}
	// From here on everything is settled: the cut never meets an unsynced segment.
	if _, err := l.Sync(); err != nil {
		return Quarantine{}, err
	}
	mark, err := l.FindMark(p)
	if err != nil {
		return Quarantine{}, fmt.Errorf("truncate log after %d: %w", p, err)
	}
	q, err := l.quarantine(mark, reason)
	if err != nil {
		return Quarantine{}, l.spaceOrFail(fmt.Errorf("truncate log after %d: %w", p, err))
	}
	if err := l.cut(mark); err != nil {
		return Quarantine{}, l.spaceOrFail(fmt.Errorf("truncate log after %d: %w", p, err))
	}
	return q, nil
}

// cut replaces the segment that holds mark. A no-space error means that nothing was changed.
func (l *Log) cut(mark replication.Mark) error {
	l.mu.Lock()
	v := l.viewAt(max(mark.Position, l.segments[0].base()+1))
	old, h := v.s, v.s.header
	h.seq, h.reused = l.seq+1, false
	epochs := l.epochs.Truncate(mark.Position)
	l.mu.Unlock()
	defer old.release()

	end := old.header.length
	if mark.Position > old.base() {
		at, err := l.seek(v, mark.Position)
		if err != nil {
			return err
		}
		end = at.off
	}
	path := l.fs.PathJoin(l.dir, cutName)
	if err := l.copySegment(path, old, h, end); err != nil {
		return errors.Join(err, durable.Remove(l.fs, path))
	}
	s, err := l.replace(path, h, func(o *segment) bool { return o.base() >= old.base() })
	if err != nil {
		return l.fail(err)
	}
	if err := s.appendAt(mark, end+noteSize, end, end); err != nil {
		return l.fail(errors.Join(err, s.closeFiles()))
	}
	l.become(s, mark, epochs, old.base())
	return nil
}

// copySegment makes a segment at path with header h and the content of old up to end, durable except for its name. h keeps
// the salt of old, because the copied notes carry it.
func (l *Log) copySegment(path string, old *segment, h segmentHeader, end int64) error {
	least := end + 2*noteSize
	err := createZeroed(l.opt.Growth, path, max(old.size, least), l.opt.Wrote)
	if durable.IsNoSpace(err) {
		err = createZeroed(l.fs, path, least, l.opt.Wrote)
	}
	if err != nil {
		return err
	}
	f, err := l.fs.OpenReadWrite(path, durable.Category)
	if err != nil {
		return fmt.Errorf("open %s: %w", path, err)
	}
	if err := errors.Join(writeDurable(f, old.file, h, end, l.opt.Wrote), f.Close()); err != nil {
		return fmt.Errorf("write segment %s: %w", path, err)
	}
	return nil
}

// writeDurable writes the header, the settled note, the content of from between header and end, and a note that vouches for
// it, then fsyncs.
func writeDurable(f vfs.File, from io.ReaderAt, h segmentHeader, end int64, wrote func()) error {
	head := h.encode()
	settled := note{kind: noteSettled, salt: h.salt, offset: h.length}
	head = settled.appendTo(head[:h.length-settledSize])
	if _, err := f.WriteAt(head, 0); err != nil {
		return err
	}
	if err := copyRange(f, from, h.length, end, wrote); err != nil {
		return err
	}
	vouch := note{kind: noteSynced, salt: h.salt, offset: end}
	if _, err := f.WriteAt(vouch.appendTo(nil), end); err != nil {
		return err
	}
	return f.Sync()
}

// copyRange copies the bytes [at, end) from one file to the same offset in another. It does not fsync the last of them.
// wrote is called after each write.
func copyRange(to vfs.File, from io.ReaderAt, at, end int64, wrote func()) error {
	buf := make([]byte, min(writeChunk, end-at))
	for unsynced := int64(0); at < end; {
		b := buf[:min(int64(len(buf)), end-at)]
		if n, err := from.ReadAt(b, at); n < len(b) {
			return fmt.Errorf("read %d of %d bytes at %d: %w", n, len(b), at, err)
		}
		if _, err := to.WriteAt(b, at); err != nil {
			return err
		}
		at, unsynced = at+int64(len(b)), unsynced+int64(len(b))
		if unsynced >= syncStep {
			if err := to.SyncData(); err != nil {
				return err
			}
			unsynced = 0
		}
		wrote()
	}
	return nil
}

// replace renames the finished segment at path into place, makes that durable, and removes the segments that it makes
// obsolete. The rename is the atomic step: h.seq is higher than theirs, so Open removes what a crash leaves of them.
func (l *Log) replace(path string, h segmentHeader, obsolete func(*segment) bool) (*segment, error) {
	final := l.fs.PathJoin(l.dir, segmentName(h.base.Position))
	if err := l.fs.Rename(path, final); err != nil {
		return nil, fmt.Errorf("rename %s to %s: %w", path, final, err)
	}
	if err := durable.SyncDir(l.fs, l.dir); err != nil {
		return nil, err
	}
	l.mu.Lock()
	segments := l.segments
	l.mu.Unlock()
	for _, o := range segments {
		if o.path == final || !obsolete(o) {
			continue
		}
		if err := durable.Remove(l.fs, o.path); err != nil {
			return nil, err
		}
	}
	if err := durable.SyncDir(l.fs, l.dir); err != nil {
		return nil, err
	}
	return openSegment(l.fs, final, h, true)
}

// become makes s the last segment, after those with a base below from, and makes mark the end of the log.
func (l *Log) become(s *segment, mark replication.Mark, epochs replication.EpochTable, from replication.Position) {
	l.syncMu.Lock()
	defer l.syncMu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	var kept []*segment
	for _, o := range l.segments {
		if o.base() < from && !s.header.start {
			kept = append(kept, o)
			continue
		}
		_ = o.closeSyncFile() // everything in it was synced
		o.release()
	}
	l.segments = append(kept, s)
	l.last, l.durable, l.epochs, l.seq, l.unsettled = mark, mark, epochs, s.header.seq, false
	l.tail.truncate(mark.Position)
	l.tail.wrote(mark.Position)
}

// Reset empties the log, which then continues after at, with t as the history of leaderships up to there. A crash leaves
// either the old log or the new one. Nothing is quarantined: a caller that replaces entries which nobody else has must cut
// them first.
//
// ErrNoSpace leaves the log as it was; any other error is final.
func (l *Log) Reset(at replication.Mark, t replication.EpochTable) error {
	if err := CheckStart(at, t); err != nil {
		return fmt.Errorf("reset log to %v: %w", at, err)
	}
	l.appendMu.Lock()
	defer l.appendMu.Unlock()
	l.pruneMu.Lock()
	defer l.pruneMu.Unlock()
	if _, err := l.Sync(); err != nil {
		return err
	}
	// Drop the reusable files: the log may reuse positions that their leftover records have.
	l.spare.wait()
	if err := l.spare.discard(); err != nil {
		return l.fail(err)
	}
	l.mu.Lock()
	seq := l.seq + 1
	l.mu.Unlock()
	s, err := l.begin(at, t, seq)
	if err != nil {
		return l.spaceOrFail(fmt.Errorf("reset log to %v: %w", at, err))
	}
	l.mu.Lock()
	l.tail = tail{limit: l.tail.limit}
	l.mu.Unlock()
	l.become(s, at, t, 0)
	return nil
}

// CheckStart returns an error for what Reset refuses: a history that is out of order, does not end at the mark, or has more
// leaderships than a log keeps.
func CheckStart(at replication.Mark, t replication.EpochTable) error {
	if err := t.Check(); err != nil {
		return err
	}
	if len(t) > maxEpochs {
		return fmt.Errorf("%d leaderships exceed %d", len(t), maxEpochs)
	}
	if last, ok := t.AtOrBelow(^replication.Epoch(0)); ok && last.Start > at.Position || t.EpochAt(at.Position) != at.Epoch {
		return fmt.Errorf("%w: the table ends in epoch %d at %d", replication.ErrEpochOrder, last.Epoch, last.Start)
	}
	return nil
}

// begin makes a durable, empty segment that starts the log, and removes all others.
func (l *Log) begin(at replication.Mark, t replication.EpochTable, seq uint64) (*segment, error) {
	h := segmentHeader{
		length: headerLength(len(t)), salt: rand.Uint64(), seq: seq, start: true, base: at, epochs: t,
	}
	path := l.fs.PathJoin(l.dir, cutName)
	fresh := &segment{size: max(l.opt.SegmentBytes/16, h.length+4*noteSize)}
	if err := l.copySegment(path, fresh, h, h.length); err != nil {
		return nil, errors.Join(err, durable.Remove(l.fs, path))
	}
	s, err := l.replace(path, h, func(*segment) bool { return true })
	if err != nil {
		return nil, l.fail(err)
	}
	if err := s.appendAt(at, h.length+noteSize, h.length, h.length); err != nil {
		return nil, l.fail(errors.Join(err, s.closeFiles()))
	}
	return s, nil
}
