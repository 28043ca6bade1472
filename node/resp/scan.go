package resp

import (
	"bytes"
	"cmp"
	"context"
	"math/rand/v2"
	"strconv"

	"github.com/replicatedstore/replicatedstore/node/store"
)

type scanOptions struct {
	cursor  uint64
	count   int64
	pattern []byte // nil: all
	kind    []byte // lower-case type name; nil: all
}

func (c *call) scanOptions() (o scanOptions, ok bool) {
	o.count = 10
	if o.cursor, ok = parseCursor(c.args[1]); !ok {
		c.w.fail("ERR invalid cursor")
		return o, false
	}
	for args := c.args[2:]; len(args) > 0; args = args[2:] {
		if len(args) == 1 {
			c.w.fail(errSyntax)
			return o, false
		}
		switch name, value := args[0], args[1]; {
		case is(name, "COUNT"):
			if o.count, ok = parseInt(value); !ok {
				c.w.fail(errNotInteger)
				return o, false
			}
			if o.count < 1 {
				c.w.fail(errSyntax)
				return o, false
			}
		case is(name, "MATCH"):
			o.pattern = value
			if string(value) == "*" {
				o.pattern = nil
			}
		case is(name, "TYPE"):
			o.kind = bytes.ToLower(value)
		default:
			c.w.fail(errSyntax)
			return o, false
		}
	}
	return o, true
}

// parseCursor parses a cursor as C's strtoul does, except for leading blanks: an optional sign and digits, and nothing else. An empty cursor is
// 0, and a negative number wraps.
func parseCursor(b []byte) (uint64, bool) {
	if len(b) == 0 {
		return 0, true
	}
	digits := b
	if b[0] == '-' || b[0] == '+' {
		digits = b[1:]
	}
	n, err := strconv.ParseUint(string(digits), 10, 64)
	if err != nil {
		return 0, false
	}
	if b[0] == '-' {
		n = -n
	}
	return n, true
}

// Bounds for one SCAN, whatever COUNT says, because its reply is held in memory as a whole.
const (
	maxScan      = 1 << 20 // keys visited
	maxScanBytes = 1 << 20 // bytes of reply, after which no further key is added
)

func scan(c *call) {
	o, ok := c.scanOptions()
	if !ok {
		return
	}
	at, n := c.w.mark(), 0
	next, err := c.view.Scan(o.cursor, int(min(o.count, maxScan)), func(e store.Entry) bool {
		if (o.pattern == nil || globMatch(o.pattern, e.Key, false)) &&
			(o.kind == nil || string(o.kind) == e.Value.Type.String()) {
			c.name(e.Key)
			n++
		}
		return len(c.w.buf)-at+c.short < maxScanBytes && !c.gone()
	})
	if c.fault = cmp.Or(err, c.fault); c.fault != nil {
		return
	}
	c.w.insertArray(at, n)
	// The cursor comes first in the reply, but is known last.
	head := append([]byte("*2\r\n$"), strconv.Itoa(len(strconv.FormatUint(next, 10)))...)
	head = append(append(append(head, "\r\n"...), strconv.FormatUint(next, 10)...), "\r\n"...)
	c.w.insert(at, head)
}

func keys(c *call) {
	pattern := c.args[1]
	all := string(pattern) == "*"
	at, n := c.w.mark(), 0
	err := c.view.ForEach(c.srv.blockCtx, func(e store.Entry) bool {
		if all || globMatch(pattern, e.Key, false) {
			c.name(e.Key)
			n++
		}
		return !c.w.over && !c.gone()
	})
	if c.fault = cmp.Or(err, c.fault); c.fault != nil {
		return
	}
	c.w.insertArray(at, n)
}

// name adds key to the reply, if there is memory for it. The framing counts too, because many keys are short.
func (c *call) name(key []byte) {
	if c.affords(bulkSize(len(key))) {
		c.w.bulk(key)
	}
}

func dbsize(c *call) {
	if c.gone() {
		return
	}
	ctx, cancel := context.WithCancel(c.srv.blockCtx)
	defer cancel()
	go c.conn.watchHangup(ctx, cancel)
	n, err := c.view.Count(ctx)
	if err != nil {
		c.fault = err
		return
	}
	c.w.integer(int64(n))
}

func randomkey(c *call) {
	key, ok, err := c.view.RandomKey(rand.Uint64())
	switch {
	case err != nil:
		c.fault = err
	case ok:
		c.w.bulk(key)
	default:
		c.w.null()
	}
}
