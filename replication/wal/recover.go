package wal

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/durable"
)

// scan is the result of walking over one segment.
type scan struct {
	s       *segment
	epochs  replication.EpochTable
	vouched int64 // bytes before it were fsynced, according to a note
	torn    int64 // bytes from s.off on that were appended, as far as can be told
	rest    int64 // bytes from s.off up to the last non-zero byte
	bad     error // why the walk stopped at s.off; nil if it ended normally
}

// recoverEnd opens the segments, verifies in full those that nothing vouches for as a whole, cuts a torn tail, and makes
// what remains durable.
func (r *recovery) recoverEnd() error {
	last := len(r.files) - 1
	tail, unsettled := r.files[last], last > 0 && !r.files[last].settled
	if err := r.openSealed(last, unsettled); err != nil {
		return err
	}
	if unsettled {
		keep, err := r.checkBefore(tail)
		if err != nil || !keep {
			return err
		}
	}
	s, err := openSegment(r.fs, tail.path, tail.header, true)
	if err != nil {
		return err
	}
	r.segments = append(r.segments, s)
	found, err := r.verify(s)
	if err != nil {
		return err
	}
	if err := r.cutTorn(found, s); err != nil {
		return err
	}
	return r.settleEnd(found, unsettled)
}

// openSealed opens every segment except the last. Each ends at the base of the next.
func (r *recovery) openSealed(last int, unsettled bool) error {
	for i, f := range r.files[:last] {
		s, err := openSegment(r.fs, f.path, f.header, unsettled && i == last-1)
		if err != nil {
			return err
		}
		s.end, s.off = r.files[i+1].header.base, -1
		r.segments = append(r.segments, s)
	}
	return nil
}

// checkBefore verifies the segment before an unsettled last one. If it does not reach the base of the last one, the crash
// tore it, and nothing in the last one was ever acknowledged: then the torn tail and the whole last segment are cut, and
// keep is false.
func (r *recovery) checkBefore(tail found) (keep bool, err error) {
	s := r.segments[len(r.segments)-1]
	s.off = s.header.length
	before, err := r.verify(s)
	if err != nil {
		return false, err
	}
	if tail.bad == nil && s.end == tail.header.base {
		return true, nil
	}
	vouched, err := r.vouches(tail)
	if err != nil {
		return false, err
	}
	if vouched {
		return false, damaged(s.path, place{off: s.off, prev: s.end}, errors.Join(before.bad, tail.bad,
			fmt.Errorf("segment %s says that it was durable", tail.path)), reseedOrRestore)
	}
	if err := r.keepSegment(tail, s.end); err != nil {
		return false, err
	}
	if err := r.removeLeftover(tail.path); err != nil {
		return false, err
	}
	if err := durable.SyncDir(r.fs, r.dir); err != nil {
		return false, err
	}
	if err := r.cutTorn(before, s); err != nil {
		return false, err
	}
	return false, r.settleEnd(before, false)
}

// vouches reports whether the unsettled segment f contains a note that something before it was fsynced. It must not.
func (r *recovery) vouches(f found) (bool, error) {
	data, err := readRange(r.fs, f.path, 0, f.size)
	if err != nil {
		return false, err
	}
	_, ok := findNote(data, func(n note) bool { return f.bad != nil || n.salt == f.header.salt })
	return ok, nil
}

// verify walks over the records of s and measures what follows them. It returns ErrDamaged for a bad byte that a note
// vouches for.
func (r *recovery) verify(s *segment) (scan, error) {
	found := scan{s: s, epochs: s.header.epochs}
	c := &cursor{
		w:    window{file: s.file, limit: s.size, chunk: writeChunk, reuse: true},
		salt: s.header.salt, at: place{off: s.header.length, prev: s.header.base},
	}
	for {
		at := c.at
		rec, err := c.next()
		if err != nil {
			if !errors.Is(err, errEnd) {
				found.bad = err
			}
			break
		}
		s.addPlace(at)
		if found.epochs, err = appendEpoch(found.epochs, &rec); err != nil {
			return scan{}, damaged(s.path, at, err, reseedOrRestore)
		}
	}
	if io := (ioError{}); errors.As(found.bad, &io) {
		return scan{}, fmt.Errorf("read segment %s at %d: %w", s.path, c.at.off, io.err)
	}
	s.end, s.off, s.wrote, found.vouched = c.at.prev, c.at.off, c.at, c.vouched
	r.report.VerifiedBytes += c.w.read
	return found, r.judgeRest(&found)
}

// judgeRest decides whether the bytes after the last good record are nothing, a torn tail, or damage.
func (r *recovery) judgeRest(found *scan) error {
	s := found.s
	rest, err := readRange(r.fs, s.path, s.off, s.size)
	if err != nil {
		return err
	}
	found.torn, found.rest = int64(s.header.unsynced(rest, s.off, s.end)), int64(len(bytes.TrimRight(rest, "\x00")))
	later, vouched := findNote(rest[:found.rest], func(n note) bool { return n.salt == s.header.salt && n.offset > s.off })
	if !vouched {
		return nil
	}
	if found.bad == nil {
		found.bad = errors.New("zeros where a record was")
	}
	return damaged(s.path, place{off: s.off, prev: s.end}, fmt.Errorf("%w, though everything before offset %d was durable",
		found.bad, later.offset), reseedOrRestore)
}

func readRange(fs vfs.FS, path string, from, to int64) ([]byte, error) {
	f, err := fs.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open segment %s: %w", path, err)
	}
	defer f.Close() // read only: nothing to lose
	data := make([]byte, max(to-from, 0))
	if n, err := f.ReadAt(data, from); n < len(data) {
		return nil, fmt.Errorf("read %d of %d bytes at %d of segment %s: %w", n, len(data), from, path, err)
	}
	return data, nil
}

// cutTorn keeps a copy of the torn bytes after the end of s, then zeroes everything there. What was cut must not rejoin the
// log when the positions before it are written again. Nor may a part of it, which later writes could complete.
func (r *recovery) cutTorn(found scan, s *segment) error {
	if found.torn > 0 {
		r.report.TornBytes += found.torn
		if err := r.keepTorn(s.path, s.off, s.off+found.torn, s.end); err != nil {
			return err
		}
	}
	if found.rest == 0 {
		return nil
	}
	if err := zeroRange(&blockFile{File: s.file}, s.off, s.off+found.rest, r.opt.Wrote); err != nil {
		return fmt.Errorf("zero the torn tail of segment %s: %w", s.path, err)
	}
	return nil
}

// settleEnd makes the recovered end durable and adopts it as the state of the log. What no note vouches for is rewritten
// before it is fsynced: the page cache may hold bytes that a failed fsync of the previous process marked clean and that
// never reached the disk (the PostgreSQL "fsyncgate" of 2018).
func (r *recovery) settleEnd(found scan, unsettled bool) error {
	s := found.s
	if unsettled {
		if err := r.rewriteBefore(s); err != nil {
			return err
		}
	}
	from := max(found.vouched, s.header.length)
	if err := copyRange(s.file, s.file, from, s.off, r.opt.Wrote); err != nil {
		return fmt.Errorf("rewrite the end of segment %s: %w", s.path, err)
	}
	if err := s.file.Sync(); err != nil {
		return fmt.Errorf("fsync segment %s: %w", s.path, err)
	}
	// Sync the names too: after a process is killed between a rename and its fsync, the new name may exist only in memory.
	if err := durable.SyncDir(r.fs, r.dir); err != nil {
		return err
	}
	noted := found.vouched
	if found.vouched > 0 && found.vouched == s.off-noteSize {
		noted = s.off // the note itself is the only thing that no note vouches for
	}
	if err := s.appendAt(s.end, s.off, s.off, noted); err != nil {
		return err
	}
	r.tail.wrote(s.end.Position)
	r.last, r.durable, r.epochs = s.end, s.end, found.epochs
	r.pruneTornCopies()
	return nil
}

// rewriteBefore does what settleEnd does, for the segment before an unsettled one and for the header of the latter.
func (r *recovery) rewriteBefore(s *segment) error {
	before := r.segments[len(r.segments)-2]
	if err := copyRange(before.file, before.file, before.header.length, before.off, r.opt.Wrote); err != nil {
		return fmt.Errorf("rewrite segment %s: %w", before.path, err)
	}
	if _, err := s.file.WriteAt(s.header.encode(), 0); err != nil {
		return fmt.Errorf("rewrite header of segment %s: %w", s.path, err)
	}
	return r.settle(before, s)
}
