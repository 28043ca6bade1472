package resp

import (
	"bytes"
	"math"

	"github.com/replicatedstore/replicatedstore/node/store"
)

type lcsOptions struct {
	length, ranges, withLen bool
	minLen                  int64
}

func (c *call) lcsOptions() (o lcsOptions, ok bool) {
	for i := 3; i < len(c.args); i++ {
		switch arg := c.args[i]; {
		case is(arg, "IDX"):
			o.ranges = true
		case is(arg, "LEN"):
			o.length = true
		case is(arg, "WITHMATCHLEN"):
			o.withLen = true
		case is(arg, "MINMATCHLEN") && i+1 < len(c.args):
			i++
			if o.minLen, ok = c.intArg(i); !ok {
				return o, false
			}
		default:
			c.w.fail(errSyntax)
			return o, false
		}
	}
	if o.length && o.ranges {
		c.w.fail("ERR If you want both the length and indexes, please just use IDX.")
		return o, false
	}
	return o, true
}

// lcs answers LCS, the longest common subsequence of two strings, by dynamic programming over (|a|+1)*(|b|+1) cells.
func lcs(c *call) {
	a, b, ok := c.lcsStrings()
	if !ok {
		return
	}
	o, ok := c.lcsOptions()
	if !ok {
		return
	}
	cells := (uint64(len(a)) + 1) * (uint64(len(b)) + 1)
	if cells > math.MaxUint64/4 || cells*4 > uint64(c.srv.limits.MaxBulk) {
		c.w.fail("ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len")
		return
	}
	switch onView := c.tx == nil && c.batch == nil; {
	case !onView && cells > lcsInExec:
		c.w.fail(errLCSInExec)
		return
	case o.length:
		c.w.integer(lcsLength(a, b))
		return
	case onView:
		c.conn.reserve(int(4 * cells)) // many tables at once could take more memory than there is
	}
	t := newLCSTable(a, b)
	switch {
	case o.ranges:
		c.w.dict(2)
		c.w.text("matches")
		at, n := c.w.mark(), 0
		t.walk(func(r lcsRange) {
			if r.size() >= o.minLen {
				c.writeLCSRange(r, o.withLen)
				n++
			}
		})
		c.w.insertArray(at, n)
		c.w.text("len")
		c.w.integer(int64(t.at(len(a), len(b))))
	default:
		c.w.bulk(t.walk(func(lcsRange) {}))
	}
}

// lcsStrings returns the two strings; an absent key is the empty string.
func (c *call) lcsStrings() (a, b []byte, ok bool) {
	var data [][]byte
	wrong := false
	if !c.each(c.args[1:3], func(v store.Value, _ bool) {
		if c.affords(len(v.Data)) {
			data = append(data, bytes.Clone(v.Data))
		}
		wrong = wrong || !isStringOrAbsent(v)
	}) {
		return nil, nil, false
	}
	if wrong {
		c.w.fail("ERR The specified keys must contain string values")
		return nil, nil, false
	}
	return data[0], data[1], true
}

func (c *call) writeLCSRange(r lcsRange, withLen bool) {
	if withLen {
		c.w.array(3)
	} else {
		c.w.array(2)
	}
	c.w.array(2)
	c.w.integer(int64(r.aFrom))
	c.w.integer(int64(r.aTo))
	c.w.array(2)
	c.w.integer(int64(r.bFrom))
	c.w.integer(int64(r.bTo))
	if withLen {
		c.w.integer(r.size())
	}
}

// lcsRange is a run of equal bytes in both strings. Both ends are inclusive.
type lcsRange struct{ aFrom, aTo, bFrom, bTo int }

func (r lcsRange) size() int64 { return int64(r.aTo - r.aFrom + 1) }

// lcsInExec bounds the number of cells for LCS in a transaction, during which nobody else can write.
const lcsInExec = 1 << 20

const errLCSInExec = "ERR LCS of strings this long is refused in a transaction, because it would hold up other clients"

// lcsLength returns the last cell of the table. It keeps only two rows of it.
func lcsLength(a, b []byte) int64 {
	above, row := make([]uint32, len(b)+1), make([]uint32, len(b)+1)
	for i := range a {
		lcsRow(above, row, a[i], b)
		above, row = row, above
	}
	return int64(above[len(b)])
}

// lcsRow computes a row of the table from the one above it; c is the row's byte of the first string.
func lcsRow(above, row []uint32, c byte, b []byte) {
	for j := range b {
		if c == b[j] {
			row[j+1] = above[j] + 1
		} else {
			row[j+1] = max(above[j+1], row[j])
		}
	}
}

// lcsTable holds in cell (i, j) the length of the longest common subsequence of a[:i] and b[:j].
type lcsTable struct {
	a, b  []byte
	width int
	cells []uint32
}

func newLCSTable(a, b []byte) *lcsTable {
	t := &lcsTable{a: a, b: b, width: len(b) + 1}
	t.cells = make([]uint32, (len(a)+1)*t.width)
	for i := 1; i <= len(a); i++ {
		lcsRow(t.cells[(i-1)*t.width:i*t.width], t.cells[i*t.width:(i+1)*t.width], a[i-1], b)
	}
	return t
}

func (t *lcsTable) at(i, j int) uint32 { return t.cells[i*t.width+j] }

// walk goes back from the last cell in the same order as Redis. It calls emit for each range, from the last to the first, and returns the
// subsequence.
func (t *lcsTable) walk(emit func(lcsRange)) []byte {
	i, j := len(t.a), len(t.b)
	out := make([]byte, t.at(i, j))
	open, r := false, lcsRange{}
	for i > 0 && j > 0 {
		done := false
		if t.a[i-1] == t.b[j-1] {
			out[t.at(i, j)-1] = t.a[i-1]
			switch {
			case !open:
				open, r = true, lcsRange{i - 1, i - 1, j - 1, j - 1}
			case r.aFrom == i && r.bFrom == j:
				r.aFrom--
				r.bFrom--
			default:
				done = true
			}
			done = done || r.aFrom == 0 || r.bFrom == 0
			i--
			j--
		} else {
			if t.at(i-1, j) > t.at(i, j-1) {
				i--
			} else {
				j--
			}
			done = open
		}
		if done {
			emit(r)
			open = false
		}
	}
	return out
}
