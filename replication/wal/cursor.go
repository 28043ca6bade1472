package wal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/replicatedstore/replicatedstore/replication"
)

// window is a sliding view of a segment's file.
type window struct {
	file  io.ReaderAt
	limit int64 // nothing at or after it is read
	chunk int   // the least number of bytes to read at once
	// reuse lets the window overwrite what it returned before. Without it the returned slices stay valid for ever.
	reuse bool

	start int64
	data  []byte
	read  int64 // bytes read so far
}

// view returns n bytes at off, or fewer where the limit or the file ends.
func (w *window) view(off int64, n int) ([]byte, error) {
	n = int(min(int64(n), max(w.limit-off, 0)))
	if off >= w.start && off+int64(n) <= w.start+int64(len(w.data)) {
		return w.data[off-w.start:][:n:n], nil
	}
	want := int(min(int64(max(n, w.chunk)), w.limit-off))
	if !w.reuse || cap(w.data) < want {
		w.data = make([]byte, want)
	}
	w.data, w.start = w.data[:want], off
	got, err := w.file.ReadAt(w.data, off)
	w.data, w.read = w.data[:got], w.read+int64(got)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	n = min(n, got)
	return w.data[:n:n], nil
}

// cursor walks over the records of a segment and verifies that each continues the one before.
type cursor struct {
	w    window
	salt uint64
	at   place
	// vouched is the largest offset vouched for by a note passed so far.
	vouched int64
}

// errEnd means that there is no record at the cursor, only zeros or the limit.
var errEnd = errors.New("end of segment")

// ioError is a failed read, as opposed to bad bytes.
type ioError struct{ err error }

func (e ioError) Error() string { return e.err.Error() }
func (e ioError) Unwrap() error { return e.err }

func (c *cursor) view(n int) ([]byte, error) {
	b, err := c.w.view(c.at.off, n)
	if err != nil {
		return nil, ioError{err}
	}
	return b, nil
}

// next returns the record at the cursor and advances past it, skipping notes. errEnd ends the walk normally. Any other
// error that is not an ioError says what is wrong with the bytes at c.at.off.
func (c *cursor) next() (replication.Record, error) {
	for {
		head, err := c.view(replication.HeaderSize)
		if err != nil {
			return replication.Record{}, err
		}
		if len(head) < 2 || binary.LittleEndian.Uint16(head) == 0 {
			return replication.Record{}, errEnd
		}
		if n, ok := decodeNote(head); ok {
			if n.salt != c.salt || n.offset > c.at.off {
				return replication.Record{}, fmt.Errorf("note of another segment")
			}
			c.vouched = max(c.vouched, n.offset)
			c.at.off += noteSize
			continue
		}
		return c.record(head)
	}
}

func (c *cursor) record(head []byte) (replication.Record, error) {
	h, err := replication.DecodeHeader(head)
	if err != nil {
		return replication.Record{}, err
	}
	if c.at.off+int64(h.Size()) > c.w.limit {
		return replication.Record{}, fmt.Errorf("record of %d bytes runs over the segment", h.Size())
	}
	raw, err := c.view(h.Size())
	if err != nil {
		return replication.Record{}, err
	}
	if len(raw) < h.Size() {
		return replication.Record{}, fmt.Errorf("record of %d bytes is cut off after %d", h.Size(), len(raw))
	}
	r := replication.Record{Header: h, Raw: raw}
	if err := r.Follows(c.at.prev); err != nil {
		return replication.Record{}, err
	}
	c.at = place{off: c.at.off + int64(h.Size()), prev: r.Mark()}
	return r, nil
}
