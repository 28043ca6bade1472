package wal

import (
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/durable"
)

// writeChunk bounds the bytes that are read or written at once.
const writeChunk = 1 << 20

// Append adds records that continue Last: it verifies them and makes them readable. They are in memory only until a Sync that began
// after it has written them. It never waits for a running Sync, except when a second segment would fill up before the first is
// synced, or where more than mostUnwritten bytes wait to be written beside one record that is longer. The log keeps the records' Raw;
// nobody may change it any more.
//
// After ErrNoSpace or a record that does not fit, the records before it are in (see Last) and the log works on. Any other
// error is final.
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

// room returns how many of recs fit into the last segment, after beginning a new one if none would.
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

// Room makes sure that a barrier can be appended, beginning a segment for it if need be. ErrNoSpace leaves the log as it
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

// extend makes room for a record of size bytes after the last one, in s or in a new segment. Caller holds appendMu.
func (l *Log) extend(s *segment, size int64, vital bool) error {
	if s.end.Position == s.base() {
		return l.grow(s, s.off+size+2*noteSize, vital)
	}
	return l.roll(size, vital)
}

// grow makes the file of a segment without records large enough for one that is larger than a segment.
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

// fit counts the records that fit before the end of the file, with room left for the note before them and a closing one.
// Caller holds appendMu, under which off does not change.
func (s *segment) fit(recs []replication.Record) int {
	left := s.size - s.off - 2*noteSize
	for i := range recs {
		if left -= int64(recs[i].Size()); left < 0 {
			return i
		}
	}
	return len(recs)
}

// write puts recs, and before them a note if there is something new to vouch for, in what is to be written at the end of the last
// segment, and then makes them visible.
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
	body := at // where the first record goes
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

// put leaves b to the next Sync, and writes what is too much for that.
func (l *Log) put(s *segment, b []byte) error {
	for !s.out.put(b) {
		if err := l.relieve(); err != nil {
			return err
		}
	}
	return nil
}

// relieve writes what waits to be written, without making it durable.
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

// writeOut puts what was appended to s in its file. An error is final even for a full volume: some of the bytes may be there, and the
// same positions must never be written with other content in the same epoch. Caller holds syncMu.
func (l *Log) writeOut(s *segment) error {
	l.mu.Lock()
	to := place{off: s.off, prev: s.end} // before take: no more than what that takes
	l.mu.Unlock()
	for {
		b, at := s.out.take()
		if b == nil {
			break
		}
		l.mu.Lock()
		b = b[:min(int64(len(b)), s.size-at)] // after take: what was put had room
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
		// No fsync is of all of a long record.
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

// writeAt writes b, which begins and ends blocks, to s in pieces. Caller holds syncMu.
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

// writtenTo is up to where the records are in their files. Caller holds mu.
func (l *Log) writtenTo() replication.Position {
	if l.unsettled {
		if before := l.segments[len(l.segments)-2]; before.wrote.off < before.off {
			return before.wrote.prev.Position
		}
	}
	return l.active().wrote.prev.Position
}

// publish makes recs visible; the first one is at body, and the next write goes to off.
func (l *Log) publish(s *segment, recs []replication.Record, body, off, noted int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range recs {
		r := &recs[i]
		epochs, err := appendEpoch(l.epochs, r)
		if err != nil {
			// Follows checked epoch and position: a table that disagrees is a broken invariant.
			panic(fmt.Sprintf("wal: %v", err))
		}
		s.addPlace(place{off: body, prev: l.last})
		body += int64(r.Size())
		l.epochs, l.last = epochs, r.Mark()
		l.tail.push(*r)
	}
	s.end, s.off, s.noted = l.last, off, noted
}

// appendEpoch adds the record's epoch to the table and drops the oldest leaderships beyond maxEpochs.
func appendEpoch(t replication.EpochTable, r *replication.Record) (replication.EpochTable, error) {
	t, err := t.Append(r.Epoch, r.First)
	if len(t) > maxEpochs {
		t = t[len(t)-maxEpochs:]
	}
	return t, err
}

// roll begins a new segment with room for a record of size bytes. Caller holds appendMu.
func (l *Log) roll(size int64, vital bool) error {
	l.mu.Lock()
	unsettled, old := l.unsettled, l.active()
	l.mu.Unlock()
	if unsettled {
		// Back-pressure, and what bounds recovery: at most one segment before the last is ever unsynced.
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

// smallSegment is what a segment is made of where the volume has no room for a larger one, in bytes.
const smallSegment = 64 << 10

// next returns a file for the next segment: of size bytes where there is room for that, else of what there is room for, at least need.
// For a barrier, it takes what the volume has set aside.
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

// sizeAfter is the file size of the segment after s: four times as large, up to the full size.
func (l *Log) sizeAfter(s *segment) int64 { return min(l.opt.SegmentBytes, 4*s.size) }

// spaceOrFail sorts an error of making a file beside the log: a full volume may have room again later, and damage that was
// found by reading changed nothing. Anything else, and anything after a final error, is final.
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

// nextHeader is the header of a segment that follows the last one.
func (l *Log) nextHeader() segmentHeader {
	l.mu.Lock()
	defer l.mu.Unlock()
	return segmentHeader{
		length: headerLength(len(l.epochs)), salt: rand.Uint64(), seq: l.seq + 1,
		base: l.last, before: l.active().base(), epochs: l.epochs,
	}
}

// install gives the file at path its header and its name. Neither is durable yet: Sync sees to it. But the header of a file that had
// another one is, or else a crash could leave that under the new name.
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
