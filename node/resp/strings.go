package resp

import (
	"cmp"

	"github.com/replicatedstore/replicatedstore/node/store"
)

// getString returns the string at key. ok is false if the caller need not reply: the type was wrong, or the call has a fault.
func (c *call) getString(key []byte) (v store.Value, found, ok bool) {
	v, found, ok = c.get(key)
	if ok && found && v.Type != store.TypeString {
		c.w.fail(errWrongType)
		return store.Value{}, false, false
	}
	return v, found, ok
}

// replyString answers with the string at key, or null if there is none. ok is false as for getString.
func (c *call) replyString(key []byte) (v store.Value, found, ok bool) {
	v, found, ok = c.getString(key)
	switch {
	case !ok:
	case found:
		c.w.bulk(v.Data)
	default:
		c.w.null()
	}
	return v, found, ok
}

// putString stores data at key. expireAt is unix ms, 0 for never.
func (c *call) putString(key, data []byte, expireAt int64) {
	c.put(key, store.Value{Type: store.TypeString, ExpireAt: expireAt, Data: data})
}

// get answers GET, like replyString, but takes a shortcut for the most frequent case: on a view, the value is copied directly from the cache to
// the reply.
func get(c *call) {
	if c.batch != nil || c.tx != nil {
		c.replyString(c.args[1])
		return
	}
	found, err := c.view.Read(c.args[1], func(v store.Value) {
		switch {
		case v.Type != store.TypeString:
			c.w.fail(errWrongType)
		case c.affords(len(v.Data)):
			c.w.bulk(v.Data)
		}
	})
	if c.fault = cmp.Or(err, c.fault); c.fault == nil {
		c.srv.stats.lookup(found)
		if !found {
			c.w.null()
		}
	}
}

func getdel(c *call) {
	if _, found, ok := c.replyString(c.args[1]); ok && found {
		c.remove(c.args[1])
	}
}

func getset(c *call) {
	if _, _, ok := c.replyString(c.args[1]); ok {
		c.putString(c.args[1], c.args[2], 0)
	}
}

func mget(c *call) {
	c.w.array(len(c.args) - 1)
	c.each(c.args[1:], func(v store.Value, found bool) {
		switch {
		case !found || v.Type != store.TypeString:
			c.w.null()
		case c.affords(len(v.Data)):
			c.w.bulk(v.Data)
		}
	})
}

func mset(c *call) {
	if len(c.args)%2 == 0 {
		c.w.fail(arityError(c.cmd))
		return
	}
	for i := 1; i < len(c.args); i += 2 {
		c.putString(c.args[i], c.args[i+1], 0)
	}
	c.w.ok()
}

func msetnx(c *call) {
	if len(c.args)%2 == 0 {
		c.w.fail(arityError(c.cmd))
		return
	}
	for i := 1; i < len(c.args); i += 2 {
		found, ok := c.exists(c.args[i])
		if !ok {
			return
		}
		if found {
			c.w.integer(0)
			return
		}
	}
	for i := 1; i < len(c.args); i += 2 {
		c.putString(c.args[i], c.args[i+1], 0)
	}
	c.w.integer(1)
}

func setnx(c *call) {
	found, ok := c.exists(c.args[1])
	if !ok {
		return
	}
	if !found {
		c.putString(c.args[1], c.args[2], 0)
	}
	c.w.flag(!found)
}

func setex(c *call)  { c.setWithTTL(setOptions{ttl: c.args[2], flags: setEX}) }
func psetex(c *call) { c.setWithTTL(setOptions{ttl: c.args[2], flags: setPX}) }

func (c *call) setWithTTL(o setOptions) {
	if at, ok := c.expiry(o); ok {
		c.putString(c.args[1], c.args[3], at)
		c.w.ok()
	}
}

func strlen(c *call) {
	v, size, found, ok := c.head(c.args[1])
	switch {
	case !ok:
	case found && v.Type != store.TypeString:
		c.w.fail(errWrongType)
	default:
		c.w.integer(int64(size))
	}
}
