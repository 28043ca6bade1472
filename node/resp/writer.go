package resp

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// writer encodes replies in RESP2 or RESP3 into one buffer.
//
// A reply that would make the buffer exceed limit is dropped, and over is set. The connection is then closed, so that no incomplete
// reply is sent (as with Redis's hard client-output-buffer-limit).
type writer struct {
	buf    []byte
	resp3  bool
	limit  int // bytes; 0: none
	over   bool
	errors uint64 // error replies written so far
	last   string // code of the newest error reply
}

// fits reports whether n more bytes may be written. If they exceed the limit it sets over, after which nothing fits.
func (w *writer) fits(n int) bool {
	if w.limit > 0 && len(w.buf)+n > w.limit {
		w.over = true
	}
	return !w.over
}

func (w *writer) header(kind byte, n int64) {
	w.buf = append(w.buf, kind)
	w.buf = strconv.AppendInt(w.buf, n, 10)
	w.buf = append(w.buf, '\r', '\n')
}

// simple writes a status reply; s must not contain CR or LF.
func (w *writer) simple(s string) {
	if w.fits(len(s) + 3) {
		w.buf = append(append(append(w.buf, '+'), s...), '\r', '\n')
	}
}

func (w *writer) ok() { w.simple("OK") }

// fail writes an error reply. text starts with the error code ("ERR ..."). CR and LF become spaces, as in Redis.
func (w *writer) fail(text string) {
	w.errors++
	w.last, _, _ = strings.Cut(text, " ")
	if !w.fits(len(text) + 3) {
		return
	}
	w.buf = append(w.buf, '-')
	from := len(w.buf)
	w.buf = append(w.buf, text...)
	for i := from; i < len(w.buf); i++ {
		if w.buf[i] == '\r' || w.buf[i] == '\n' {
			w.buf[i] = ' '
		}
	}
	w.buf = append(w.buf, '\r', '\n')
}

func (w *writer) integer(n int64) {
	if w.fits(23) {
		w.header(':', n)
	}
}

// flag writes b as the integer 1 or 0, as Redis's older commands do in both protocols.
func (w *writer) flag(b bool) {
	if b {
		w.integer(1)
	} else {
		w.integer(0)
	}
}

func (w *writer) bulk(b []byte) {
	if !w.fits(len(b) + 25) {
		return
	}
	w.buf = slices.Grow(w.buf, len(b)+25)
	w.header('$', int64(len(b)))
	w.buf = append(append(w.buf, b...), '\r', '\n')
}

// bulkSize returns how many bytes bulk writes for a string of n bytes.
func bulkSize(n int) int {
	size := len("$0\r\n\r\n") + n
	for ; n > 9; n /= 10 {
		size++
	}
	return size
}

func (w *writer) text(s string) {
	if !w.fits(len(s) + 25) {
		return
	}
	w.header('$', int64(len(s)))
	w.buf = append(append(w.buf, s...), '\r', '\n')
}

// bulkInt writes a number as a bulk string.
func (w *writer) bulkInt(n int64) {
	var tmp [20]byte
	w.bulk(strconv.AppendInt(tmp[:0], n, 10))
}

func (w *writer) null() {
	switch {
	case !w.fits(5):
	case w.resp3:
		w.buf = append(w.buf, "_\r\n"...)
	default:
		w.buf = append(w.buf, "$-1\r\n"...)
	}
}

func (w *writer) nullArray() {
	switch {
	case !w.fits(5):
	case w.resp3:
		w.buf = append(w.buf, "_\r\n"...)
	default:
		w.buf = append(w.buf, "*-1\r\n"...)
	}
}

func (w *writer) array(n int) {
	if w.fits(23) {
		w.header('*', int64(n))
	}
}

// set writes the header of a set with n members: a set in RESP3, an array in RESP2.
func (w *writer) set(n int) {
	if !w.fits(23) {
		return
	}
	if w.resp3 {
		w.header('~', int64(n))
	} else {
		w.header('*', int64(n))
	}
}

// dict writes the header of a map with n pairs: a map in RESP3, a flat array in RESP2.
func (w *writer) dict(n int) {
	if !w.fits(23) {
		return
	}
	if w.resp3 {
		w.header('%', int64(n))
	} else {
		w.header('*', 2*int64(n))
	}
}

// verbatim writes text meant for people: a verbatim string with format "txt" in RESP3, a bulk string in RESP2.
func (w *writer) verbatim(s string) {
	if !w.resp3 {
		w.text(s)
		return
	}
	if w.fits(len(s) + 29) {
		w.header('=', int64(len(s)+4))
		w.buf = append(append(append(w.buf, "txt:"...), s...), '\r', '\n')
	}
}

// mark returns the position of an aggregate whose size is not known yet; its header is inserted later, see insertArray.
func (w *writer) mark() int { return len(w.buf) }

// insertArray inserts the header of an array of n elements before what was written since at.
func (w *writer) insertArray(at, n int) {
	var tmp [23]byte
	h := strconv.AppendInt(append(tmp[:0], '*'), int64(n), 10)
	w.insert(at, append(h, '\r', '\n'))
}

// insertVerbatim turns what was written since at into a verbatim string (in RESP2, a bulk string).
func (w *writer) insertVerbatim(at int) {
	n := len(w.buf) - at
	if !w.fits(29) {
		return
	}
	head := fmt.Appendf(nil, "$%d\r\n", n)
	if w.resp3 {
		head = fmt.Appendf(nil, "=%d\r\ntxt:", n+4)
	}
	w.buf = append(w.buf, '\r', '\n')
	w.insert(at, head)
}

// insert inserts raw protocol before what was written since at.
func (w *writer) insert(at int, raw []byte) {
	if w.fits(len(raw)) {
		w.buf = slices.Insert(w.buf, at, raw...)
	}
}

// rewind drops what was written since at.
func (w *writer) rewind(at int) { w.buf = w.buf[:min(at, len(w.buf))] }
