package resp

import (
	"fmt"
)

// maxEmbedded is the length of the longest string that Redis stores inside the object ("embstr"), in bytes; it stores integers as such
// ("int"). Here a value is stored as its bytes, and the encoding answered is the one that Redis chooses for a value that was just SET.
const maxEmbedded = 44

func encoding(data []byte) string {
	if _, ok := parseInt(data); ok {
		return "int"
	}
	if len(data) <= maxEmbedded {
		return "embstr"
	}
	return "raw"
}

func objectEncoding(c *call) {
	if _, size, _, ok := c.peek(c.args[2]); ok && size > maxEmbedded {
		c.srv.stats.lookup(true)
		c.w.text("raw")
		return
	}
	v, found, ok := c.get(c.args[2])
	switch {
	case !ok:
	case found:
		c.w.text(encoding(v.Data))
	default:
		c.w.null()
	}
}

func objectRefcount(c *call) { c.ofObject(func() { c.w.integer(1) }) }

// objectIdletime and objectFreq answer with errors: access times and frequencies are not tracked, because nothing is ever evicted by them.
func objectIdletime(c *call) {
	c.ofObject(func() { c.w.fail("ERR idle time is not tracked, because nothing is evicted") })
}

func objectFreq(c *call) {
	c.ofObject(func() {
		c.w.fail("ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.")
	})
}

// ofObject calls reply if the key of an OBJECT command exists, and otherwise answers null.
func (c *call) ofObject(reply func()) {
	found, ok := c.exists(c.args[2])
	switch {
	case !ok:
	case found:
		reply()
	default:
		c.w.null()
	}
}

// storedOverhead is what a key takes in storage besides its own bytes and its value's, in bytes: prefix, slot, hash and header.
const storedOverhead = 1 + 2 + 4 + 10

// memoryUsage answers with the size of the key and its value as stored, in bytes, before compression.
func memoryUsage(c *call) {
	for args := c.args[3:]; len(args) > 0; args = args[2:] {
		if len(args) == 1 || !is(args[0], "SAMPLES") {
			c.w.fail(errSyntax)
			return
		}
		n, ok := parseInt(args[1])
		if !ok {
			c.w.fail(errNotInteger)
			return
		}
		if n < 0 {
			c.w.fail(errSyntax)
			return
		}
	}
	_, size, found, ok := c.head(c.args[2])
	switch {
	case !ok:
	case found:
		c.w.integer(int64(storedOverhead + len(c.args[2]) + size))
	default:
		c.w.null()
	}
}

func debugObject(c *call) {
	if c.noView {
		c.w.fail(errLoading)
		return
	}
	v, found, ok := c.get(c.args[2])
	switch {
	case !ok:
	case found:
		c.w.simple(fmt.Sprintf("Value at:0x0 refcount:1 encoding:%s serializedlength:%d lru:0 lru_seconds_idle:0",
			encoding(v.Data), len(v.Data)))
	default:
		c.w.fail(errNoKey)
	}
}
