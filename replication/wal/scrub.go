package wal

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/replicatedstore/replicatedstore/replication"
)

// scrubChunk is how many bytes Scrub reads at once.
const scrubChunk = 1 << 20

// Scrub reads the first closed segment that ends after position after, and verifies its header and every record as they are
// on disk now: damage should be found while another member still holds the same data, not when it is needed. It returns the
// segment's last position, from which the next call continues, even with an error. found is false if no closed segment ends
// after the position. pace is called before each read with its size in bytes, and may wait; an error from it ends the
// scrub.
//
// ErrDamaged names file and offset, even if it was the disk that failed to read. ErrClosed: the log was closed.
func (l *Log) Scrub(after replication.Position, pace func(bytes int) error) (last replication.Position, found bool, err error) {
	l.mu.Lock()
	if errors.Is(l.err, ErrClosed) {
		defer l.mu.Unlock()
		return after, false, l.err
	}
	var s *segment
	for _, closed := range l.segments[:len(l.segments)-1] {
		if closed.end.Position > after && (closed.off < 0 || closed.wrote.off == closed.off) {
			s = closed
			break
		}
	}
	if s == nil {
		l.mu.Unlock()
		return after, false, nil
	}
	v := view{s: s, from: s.index[0], end: s.end, limit: s.size}
	if s.off >= 0 {
		v.limit = s.off
	}
	s.acquire()
	l.mu.Unlock()
	defer s.release()
	uncache(s.file)
	err = verify(v, pace)
	if err != nil && !l.holds(s) {
		err = nil // the segment was pruned or cut meanwhile
	}
	return v.end.Position, true, err
}

func (l *Log) holds(s *segment) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Contains(l.segments, s)
}

// verify reads and verifies a whole segment.
func verify(v view, pace func(bytes int) error) error {
	c := v.cursor(scrubChunk)
	c.w.file, c.w.reuse = &paced{File: v.s.file, pace: pace}, true
	head, err := c.w.view(0, int(v.s.header.length))
	if err != nil {
		return scrubbed(v, place{}, err)
	}
	if h, err := decodeHeader(head); err != nil || h.salt != v.s.header.salt || h.base != v.s.header.base {
		return scrubbed(v, place{prev: v.s.header.base}, errors.Join(err, errHeader))
	}
	for c.at.prev.Position < v.end.Position {
		if _, err := c.next(); err != nil {
			return scrubbed(v, c.at, err)
		}
	}
	if c.at.prev != v.end {
		return scrubbed(v, c.at, fmt.Errorf("it ends in %v, and held %v", c.at.prev, v.end))
	}
	return nil
}

// scrubbed turns an error that verify met at a place into one for the caller. An error from pace is not damage, and is
// returned as it is.
func scrubbed(v view, at place, err error) error {
	var stopped stoppedError
	if errors.As(err, &stopped) {
		return stopped.error
	}
	v.s.suspect.Store(true)
	return damaged(v.s.path, at, err, "check the machine and the storage behind the volume. This member removes the segment once its "+
		"state machine holds its contents; followers that lack it then take a snapshot")
}

// paced calls pace before each read.
type paced struct {
	vfs.File
	pace func(bytes int) error
}

type stoppedError struct{ error }

func (p *paced) ReadAt(b []byte, off int64) (int, error) {
	if err := p.pace(len(b)); err != nil {
		return 0, stoppedError{err}
	}
	return p.File.ReadAt(b, off)
}
