package resp

import (
	"bytes"

	"github.com/replicatedstore/replicatedstore/node/store"
)

func isStringOrAbsent(v store.Value) bool {
	return v.Type == store.TypeNone || v.Type == store.TypeString
}

func del(c *call) {
	n := int64(0)
	for _, key := range c.args[1:] {
		found, ok := c.exists(key)
		if !ok {
			return
		}
		if found {
			c.remove(key)
			n++
		}
	}
	c.w.integer(n)
}

// unlink is the same as DEL: either way deleting is an entry in the log, and space is freed in the background.
func unlink(c *call) { del(c) }

func exists(c *call) { c.countExisting() }
func touch(c *call)  { c.countExisting() }

func (c *call) countExisting() {
	n := int64(0)
	if c.tx != nil || c.batch != nil { // here Exists does not read the values
		for _, key := range c.args[1:] {
			found, ok := c.exists(key)
			if !ok {
				return
			}
			if found {
				n++
			}
		}
		c.w.integer(n)
		return
	}
	if c.each(c.args[1:], func(_ store.Value, found bool) {
		if found {
			n++
		}
	}) {
		c.w.integer(n)
	}
}

func typeOf(c *call) {
	if v, _, _, ok := c.head(c.args[1]); ok {
		c.w.simple(v.Type.String())
	}
}

func rename(c *call)   { c.rename(false) }
func renamenx(c *call) { c.rename(true) }

// rename moves a value together with its expiry. Renaming a key to itself changes nothing, but the key must exist.
func (c *call) rename(onlyNew bool) {
	from, to := c.args[1], c.args[2]
	v, found, ok := c.get(from)
	if !ok {
		return
	}
	if !found {
		c.w.fail(errNoKey)
		return
	}
	same := bytes.Equal(from, to)
	if onlyNew {
		taken, ok := c.exists(to)
		if !ok {
			return
		}
		if taken || same {
			c.w.integer(0)
			return
		}
	}
	if !same {
		c.put(to, v)
		c.remove(from)
	}
	if onlyNew {
		c.w.integer(1)
	} else {
		c.w.ok()
	}
}

func copyKey(c *call) {
	replace := false
	for i := 3; i < len(c.args); i++ {
		switch arg := c.args[i]; {
		case is(arg, "REPLACE"):
			replace = true
		case is(arg, "DB") && i+1 < len(c.args):
			i++
			if !c.database(i) {
				return
			}
		default:
			c.w.fail(errSyntax)
			return
		}
	}
	from, to := c.args[1], c.args[2]
	if bytes.Equal(from, to) {
		c.w.fail(errSameObject)
		return
	}
	v, found, ok := c.get(from)
	if !ok {
		return
	}
	taken, ok := c.exists(to)
	if !ok {
		return
	}
	if !found || (taken && !replace) {
		c.w.integer(0)
		return
	}
	c.put(to, v)
	c.w.integer(1)
}

// database checks that argument i names database 0, the only one.
func (c *call) database(i int) bool {
	n, ok := c.int32Arg(i)
	if !ok {
		return false
	}
	if n != 0 {
		c.w.fail("ERR DB index is out of range")
		return false
	}
	return true
}

func flushall(c *call) { c.flush() }
func flushdb(c *call)  { c.flush() }

func (c *call) flush() {
	if len(c.args) > 2 || (len(c.args) == 2 && !is(c.args[1], "SYNC") && !is(c.args[1], "ASYNC")) {
		c.w.fail(errSyntax)
		return
	}
	c.removeAll()
	c.w.ok()
}
