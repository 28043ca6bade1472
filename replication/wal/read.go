package wal

import (
	"errors"
	"fmt"
	iofs "io/fs"

	"github.com/replicatedstore/replicatedstore/replication"
)

// readAround is what Read reads from a segment beyond what was asked for: the scan from the index entry to the wanted
// record.
const readAround = indexEvery

// Read appends to dst the records that start at position from, up to maxBytes of them but at least one, and returns the
// extended slice. It may return fewer than exist. Recent records come from memory, older ones from the segments, where each
// is verified. They may not be durable yet: see Durable. At Last+1 there is nothing to return, and no error.
//
// ErrPruned: from is below First. ErrBeyond: from is above Last+1. ErrBoundary: from lies inside a record. ErrDamaged: the
// segment is damaged there. ErrUnreadable: the file system failed to read it.
func (l *Log) Read(from replication.Position, maxBytes int, dst []replication.Record) ([]replication.Record, error) {
	l.mu.Lock()
	switch {
	case errors.Is(l.err, ErrClosed):
		defer l.mu.Unlock()
		return dst, l.err
	case from == l.last.Position+1:
		l.mu.Unlock()
		return dst, nil
	case from > l.last.Position:
		defer l.mu.Unlock()
		return dst, fmt.Errorf("read from position %d of a log that ends in %v: %w", from, l.last, ErrBeyond)
	case from <= l.segments[0].base():
		defer l.mu.Unlock()
		return dst, fmt.Errorf("read from position %d of a log that begins at %d: %w", from, l.segments[0].base()+1, ErrPruned)
	case l.tail.covers(from):
		defer l.mu.Unlock()
		return l.tail.read(from, maxBytes, dst)
	}
	v := l.viewAt(from)
	l.mu.Unlock()
	defer v.s.release()
	return l.readSegment(v, from, maxBytes, dst)
}

func (t *tail) read(from replication.Position, maxBytes int, dst []replication.Record) ([]replication.Record, error) {
	held := t.held()[t.search(from):]
	if held[0].First != from {
		return dst, boundary(from, held[0].First, held[0].Last())
	}
	for i, size := 0, 0; i < len(held); i++ {
		if size += len(held[i].Raw); i > 0 && size > maxBytes {
			break
		}
		dst = append(dst, held[i])
	}
	return dst, nil
}

func boundary(p, first, last replication.Position) error {
	return fmt.Errorf("position %d lies inside the record %d..%d: %w", p, first, last, ErrBoundary)
}

// view is what a reader needs of a segment: a reference to it, where to begin, and how far its file had been written.
type view struct {
	s     *segment
	from  place
	end   replication.Mark
	limit int64
}

// viewAt references the segment that holds position p. The caller holds mu, and knows that p is retained.
func (l *Log) viewAt(p replication.Position) view {
	i := len(l.segments) - 1
	for l.segments[i].base() >= p {
		i--
	}
	s := l.segments[i]
	s.acquire()
	if s.off < 0 {
		return view{s: s, from: s.placeBefore(p), end: s.end, limit: s.size}
	}
	return view{s: s, from: s.placeBefore(p), end: s.wrote.prev, limit: s.wrote.off}
}

func (l *Log) readSegment(v view, from replication.Position, maxBytes int, dst []replication.Record) ([]replication.Record, error) {
	c := v.cursor(int(min(int64(max(maxBytes, 0))+readAround, 4<<20)))
	for size, first := 0, true; c.at.prev.Position < v.end.Position; {
		at := c.at
		r, err := c.next()
		if err != nil {
			return dst, l.damage(v, c, err)
		}
		l.remember(v.s, at)
		if r.Last() < from {
			continue
		}
		if first && r.First != from {
			return dst, boundary(from, r.First, r.Last())
		}
		if size += len(r.Raw); !first && size > maxBytes {
			break
		}
		dst, first = append(dst, r), false
	}
	return dst, nil
}

func (v view) cursor(chunk int) *cursor {
	return &cursor{w: window{file: v.s.file, limit: v.limit, chunk: chunk}, salt: v.s.header.salt, at: v.from}
}

// remember indexes a place that a reader came across.
func (l *Log) remember(s *segment, p place) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s.addPlace(p)
}

// damage returns the error for what a reader found at the cursor instead of the next record.
func (l *Log) damage(v view, c *cursor, err error) error {
	v.s.suspect.Store(true)
	if io := (ioError{}); errors.As(err, &io) {
		if errors.Is(io.err, iofs.ErrClosed) {
			return fmt.Errorf("read segment %s at %d: %w", v.s.path, c.at.off, io.err)
		}
		return fmt.Errorf("%w: segment %s at %d: %w", ErrUnreadable, v.s.path, c.at.off, io.err)
	}
	return damaged(v.s.path, c.at, err, "this member cannot serve or apply what follows. Remove its data directory, or use "+
		"the reseed annotation, so that it is seeded from a healthy member; keep the file if no other member holds the data")
}

func damaged(path string, at place, err error, do string) error {
	return fmt.Errorf("%w: segment %s, offset %d, after position %d: %w; %s", ErrDamaged, path, at.off, at.prev.Position, err, do)
}

// MarkAt returns the mark of the log up to and including position p. It returns false if p is neither the end of a retained
// record nor the log's base (First-1), or if it cannot be read; FindMark distinguishes these cases.
func (l *Log) MarkAt(p replication.Position) (replication.Mark, bool) {
	m, err := l.FindMark(p)
	return m, err == nil
}

// FindMark is like MarkAt, but returns the reason: ErrPruned, ErrBeyond, ErrBoundary, ErrDamaged, or a failed read.
func (l *Log) FindMark(p replication.Position) (replication.Mark, error) {
	l.mu.Lock()
	switch {
	case errors.Is(l.err, ErrClosed):
		defer l.mu.Unlock()
		return replication.Mark{}, l.err
	case p > l.last.Position:
		defer l.mu.Unlock()
		return replication.Mark{}, fmt.Errorf("mark at %d of a log that ends in %v: %w", p, l.last, ErrBeyond)
	case p < l.segments[0].base():
		defer l.mu.Unlock()
		return replication.Mark{}, fmt.Errorf("mark at %d of a log that begins at %d: %w", p, l.segments[0].base()+1, ErrPruned)
	case p == l.last.Position:
		defer l.mu.Unlock()
		return l.last, nil
	case l.tail.covers(p):
		defer l.mu.Unlock()
		r := &l.tail.held()[l.tail.search(p)]
		if r.Last() != p {
			return replication.Mark{}, boundary(p, r.First, r.Last())
		}
		return r.Mark(), nil
	}
	v := l.viewAt(p + 1)
	l.mu.Unlock()
	defer v.s.release()
	return l.findMark(v, p)
}

func (l *Log) findMark(v view, p replication.Position) (replication.Mark, error) {
	at, err := l.seek(v, p)
	return at.prev, err
}

// seek walks to the record boundary at p and returns its place.
func (l *Log) seek(v view, p replication.Position) (place, error) {
	c := v.cursor(4 * readAround)
	c.w.reuse = true
	for c.at.prev.Position < p {
		r, err := c.next()
		if err != nil {
			return place{}, l.damage(v, c, err)
		}
		if r.Last() > p {
			return place{}, boundary(p, r.First, r.Last())
		}
	}
	return c.at, nil
}
