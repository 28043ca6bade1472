package wal

import (
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/durable"
)

// writeChunk bounds the bytes that are read or written with one call.
const writeChunk = 1 << 20

// Append adds records that continue Last: it verifies them and makes them readable. They are in memory only, until a Sync
// that began after the Append has written them. Append never waits for a running Sync, except when a second segment would
// fill up before the first is synced, or when more than mostUnwritten bytes are already waiting to be written (beside one
// record that is longer). The log keeps the records' Raw; nobody may modify it any more.
//
// If a record does not continue the log, nothing is appended. After ErrNoSpace, the records before the one that did not fit
// are in (see Last). The log still works after both. Any other error is final.
func (l *Log) Append(recs ...replication.Record) error {
	l.appendMu.Lock()
	defer l.appendMu.Unlock()
	if err := l.Err(); err != nil {
		return err
	}
	prev := l.Last()
	for i := range recs {
		if err := recs[i].Follows(prev); err != nil {
			return fmt.Errorf("append record %d of %d to the log that ends in %v: %w", i+1, len(recs), prev, err)
		}
		prev = recs[i].Mark()
	}
	for len(recs) > 0 {
		n, err := l.room(recs)
		if err != nil {
			return err
		}
		if err := l.write(recs[:n]); err != nil {
			return err
		}
		recs = recs[n:]
	}
	return nil
}

// room returns how many of recs fit into the last segment, beginning a new segment if none would.
func (l *Log) room(recs []replication.Record) (int, error) {
	l.mu.Lock()
	s := l.active()
	l.mu.Unlock()
	if n := s.fit(recs); n > 0 {
		return n, nil
	}
	if err := l.extend(s, int64(recs[0].Size()), recs[0].Type == replication.RecordBarrier); err != nil {
		return 0, err
	}
	return 1, nil
}

// Room ensures that a barrier can be appended, beginning a segment for it if necessary. ErrNoSpace leaves the log as it
// was; any other error is final.
func (l *Log) Room() error {
	l.appendMu.Lock()
	defer l.appendMu.Unlock()
	if err := l.Err(); err != nil {
		return err
	}
	l.mu.Lock()
	s := l.active()
	l.mu.Unlock()
	if s.size-s.off >= replication.HeaderSize+2*noteSize {
		return nil
	}
	return l.extend(s, replication.HeaderSize, true)
}

// extend makes room for a record of size bytes after the last one, in s or in a new segment. The caller holds appendMu.
func (l *Log) extend(s *segment, size int64, vital bool) error {
	if s.end.Position == s.base() {
		return l.grow(s, s.off+size+2*noteSize, vital)
	}
	return l.roll(size, vital)
}

// grow enlarges the file of an empty segment for a record that is larger than a segment.
func (l *Log) grow(s *segment, size int64, vital bool) error {
	fs := l.opt.Growth
	if vital {
		fs = l.opt.Vital
	}
	size = roundUp(size)
	f, err := openBlocks(fs, s.path, s.size)
	if err != nil {
		return l.spaceOrFail(fmt.Errorf("open segment %s to grow it: %w", s.path, err))
	}
	if err = f.Preallocate(s.size, size-s.size); !durable.IsNoSpace(err) {
		err = zeroRange(f, s.size, size, l.opt.Wrote)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return l.spaceOrFail(fmt.Errorf("grow segment %s to %d bytes: %w", s.path, size, err))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	s.size = size
	return nil
}

// fit returns how many of recs fit into the rest of the file, leaving room for a note before them and a closing note. The
// caller holds appendMu, under which off does not change.
func (s *segment) fit(recs []replication.Record) int {
	left := s.size - s.off - 2*noteSize
	for i := range recs {
		if left -= int64(recs[i].Size()); left < 0 {
			return i
		}
	}
	return len(recs)
}

// write queues recs for writing at the end of the last segment, preceded by a note if there is something new to vouch for,
// and then makes them visible.
func (l *Log) write(recs []replication.Record) error {
	l.mu.Lock()
	s := l.active()
	at, noted, due := s.off, max(s.noted, s.synced), s.synced > s.noted
	l.mu.Unlock()

	if due {
		n := note{kind: noteSynced, salt: s.header.salt, offset: noted}
		if err := l.put(s, n.appendTo(nil)); err != nil {
			return err
		}
		at += noteSize
	}
	body := at // offset of the first record
	for i := range recs {
		if err := l.put(s, recs[i].Raw); err != nil {
			return err
		}
		at += int64(recs[i].Size())
	}
	l.publish(s, recs, body, at, noted)
	if at > s.size/4 {
		l.prepare(s)
	}
	return nil
}

// put queues b for the next Sync. If too much is queued already, it writes that first.
func (l *Log) put(s *segment, b []byte) error {
	for !s.out.put(b) {
		if err := l.relieve(); err != nil {
			return err
		}
	}
	return nil
}

// relieve writes what is queued without making it durable.
func (l *Log) relieve() error {
	l.syncMu.Lock()
	defer l.syncMu.Unlock()
	if err := l.Err(); err != nil {
		return err
	}
	l.mu.Lock()
	segments := l.segments[len(l.segments)-1:]
	if l.unsettled {
		segments = l.segments[len(l.segments)-2:]
	}
	l.mu.Unlock()
	for _, s := range segments {
		if err := l.writeOut(s); err != nil {
			return err
		}
	}
	return nil
}

// writeOut writes what was appended to s to its file. An error is final even for a full volume: some of the bytes may be
// there, and the same positions must never be written with other content in the same epoch. The caller holds syncMu.
func (l *Log) writeOut(s *segment) error {
	l.mu.Lock()
	to := place{off: s.off, prev: s.end} // read before take: everything up to here will be taken
	l.mu.Unlock()
	for {
		b, at := s.out.take()
		if b == nil {
			break
		}
		l.mu.Lock()
		b = b[:min(int64(len(b)), s.size-at)] // read after take: what was put has room by now
		l.mu.Unlock()
		if err := l.writeAt(s, b, at); err != nil {
			return l.fail(fmt.Errorf("write %d bytes at %d of segment %s: %w", len(b), at, s.path, err))
		}
		s.out.done(b)
		left := to.off - at - int64(len(b))
		if left <= 0 {
			break
		}
		if left < writeChunk {
			continue
		}
		// Bound each fsync: a long record is synced in pieces.
		if err := s.syncFile.SyncData(); err != nil {
			return l.fail(fmt.Errorf("fsync segment %s: %w", s.path, err))
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	s.wrote = to
	l.tail.wrote(l.writtenTo())
	return nil
}

// writeAt writes b, which begins and ends on block boundaries, to s in pieces. The caller holds syncMu.
func (l *Log) writeAt(s *segment, b []byte, at int64) error {
	for len(b) > 0 {
		n := min(len(b), writeChunk)
		if err := s.syncFile.write(b[:n], at); err != nil {
			return err
		}
		l.opt.Wrote()
		b, at = b[n:], at+int64(n)
	}
	return nil
}

// writtenTo returns the last position up to which all records are in their files. The caller holds mu.
func (l *Log) writtenTo() replication.Position {
	if l.unsettled {
		if before := l.segments[len(l.segments)-2]; before.wrote.off < before.off {
			return before.wrote.prev.Position
		}
	}
	return l.active().wrote.prev.Position
}

// publish makes recs visible. The first of them is at offset body, and the next write goes to off.
func (l *Log) publish(s *segment, recs []replication.Record, body, off, noted int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range recs {
		r := &recs[i]
		epochs, err := appendEpoch(l.epochs, r)
		if err != nil {
			// Follows has checked epoch and position, so a table that disagrees is a broken invariant.
			panic(fmt.Sprintf("wal: %v", err))
		}
		s.addPlace(place{off: body, prev: l.last})
		body += int64(r.Size())
		l.epochs, l.last = epochs, r.Mark()
		l.tail.push(*r)
	}
	s.end, s.off, s.noted = l.last, off, noted
}

// appendEpoch adds the record's epoch to the table, and drops the oldest leaderships beyond maxEpochs.
func appendEpoch(t replication.EpochTable, r *replication.Record) (replication.EpochTable, error) {
	t, err := t.Append(r.Epoch, r.First)
	if len(t) > maxEpochs {
		t = t[len(t)-maxEpochs:]
	}
	return t, err
}

// roll begins a new segment with room for a record of size bytes. The caller holds appendMu.
func (l *Log) roll(size int64, vital bool) error {
	l.mu.Lock()
	unsettled, old := l.unsettled, l.active()
	l.mu.Unlock()
	if unsettled {
		// This back-pressure also bounds recovery: at most one segment before the last is ever unsynced.
		if _, err := l.Sync(); err != nil {
			return err
		}
	}
	h := l.nextHeader()
	need := h.length + size + 2*noteSize
	b, err := l.next(l.sizeAfter(old), need, vital)
	if err != nil {
		return l.spaceOrFail(err)
	}
	h.reused = b.used
	s, err := l.install(b.path, h)
	if err != nil {
		return l.fail(err)
	}
	l.mu.Lock()
	l.segments = append(l.segments, s)
	l.seq, l.unsettled = h.seq, true
	l.mu.Unlock()
	return nil
}

// smallSegment is the size in bytes of a segment when the volume has no room for a larger one.
const smallSegment = 64 << 10

// next returns a file for the next segment: of size bytes if there is room, else of what there is room for, but at least
// need. For a barrier it falls back on the space that the volume has reserved.
func (l *Log) next(size, need int64, vital bool) (blank, error) {
	least := max(need, smallSegment)
	b, err := l.spare.take(l.opt.Growth, size, need)
	for size /= 4; durable.IsNoSpace(err) && size > least; size /= 4 {
		b, err = l.spare.make(l.opt.Growth, size)
	}
	if durable.IsNoSpace(err) {
		b, err = l.spare.make(l.opt.Growth, least)
	}
	if durable.IsNoSpace(err) && vital {
		b, err = l.spare.make(l.opt.Vital, least)
	}
	return b, err
}

// prepare makes the file of the segment after s in the background, once for each s.
func (l *Log) prepare(s *segment) {
	if !s.prepared {
		s.prepared = true
		l.spare.start(l.opt.Spawn, l.opt.Growth, l.sizeAfter(s))
	}
}

// sizeAfter returns the file size of the segment after s: four times the size of s, up to the full size.
func (l *Log) sizeAfter(s *segment) int64 { return min(l.opt.SegmentBytes, 4*s.size) }

// spaceOrFail classifies an error from making a file beside the log. On a full volume there may be room again later, and
// damage that was found by reading has changed nothing. Any other error is final, and so is any error after a final one.
func (l *Log) spaceOrFail(err error) error {
	switch {
	case l.Err() != nil:
		return l.Err()
	case durable.IsNoSpace(err):
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	case errors.Is(err, ErrDamaged):
		return err
	default:
		return l.fail(err)
	}
}

// nextHeader returns the header of a segment that follows the last one.
func (l *Log) nextHeader() segmentHeader {
	l.mu.Lock()
	defer l.mu.Unlock()
	return segmentHeader{
		length: headerLength(len(l.epochs)), salt: rand.Uint64(), seq: l.seq + 1,
		base: l.last, before: l.active().base(), epochs: l.epochs,
	}
}

// install writes the header of the file at path and gives the file its segment name. Neither is durable yet; Sync takes
// care of that. But the new header of a reused file is synced before the rename: a crash could otherwise leave the old
// header under the new name.
func (l *Log) install(path string, h segmentHeader) (*segment, error) {
	f, err := l.fs.OpenReadWrite(path, durable.Category)
	if err != nil {
		return nil, fmt.Errorf("open segment %s: %w", path, err)
	}
	_, err = f.WriteAt(h.encode(), 0)
	if err == nil && h.reused {
		err = f.SyncData()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("write header of segment %s: %w", path, err)
	}
	final := l.fs.PathJoin(l.dir, segmentName(h.base.Position))
	if err := l.fs.Rename(path, final); err != nil {
		return nil, fmt.Errorf("rename %s to %s: %w", path, final, err)
	}
	s, err := openSegment(l.fs, final, h, true)
	if err != nil {
		return nil, err
	}
	if err := s.appendAt(h.base, h.length, 0, 0); err != nil {
		return nil, errors.Join(err, s.closeFiles())
	}
	return s, nil
}
