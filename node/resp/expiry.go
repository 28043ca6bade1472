package resp

import "math"

type expireFlag uint8

const (
	expireNX expireFlag = 1 << iota
	expireXX
	expireGT
	expireLT
)

func expire(c *call)    { c.expire(1000, c.now) }
func expireat(c *call)  { c.expire(1000, 0) }
func pexpire(c *call)   { c.expire(1, c.now) }
func pexpireat(c *call) { c.expire(1, 0) }

// expire sets the expiry of a key to base + argument 2 * unit, in unix ms. If that time has passed, it deletes the key.
func (c *call) expire(unit, base int64) {
	cond, ok := c.expireFlags()
	if !ok {
		return
	}
	when, ok := c.intArg(2)
	if !ok {
		return
	}
	if when > math.MaxInt64/unit || when < math.MinInt64/unit || when*unit > math.MaxInt64-base {
		c.w.fail(c.invalidExpire())
		return
	}
	when = when*unit + base
	key := c.args[1]
	if cond != 0 { // maybe nothing is written, so the value is not copied yet
		if v, _, found, ok := c.peek(key); ok && (!found || !cond.allows(v.ExpireAt, when)) {
			c.srv.stats.lookup(found)
			c.w.integer(0)
			return
		}
	}
	v, found, ok := c.get(key)
	if !ok {
		return
	}
	if !found || !cond.allows(v.ExpireAt, when) {
		c.w.integer(0)
		return
	}
	if when <= c.now {
		c.remove(key)
	} else {
		v.ExpireAt = when
		c.put(key, v)
	}
	c.w.integer(1)
}

func (c *call) expireFlags() (f expireFlag, ok bool) {
	for _, arg := range c.args[3:] {
		switch {
		case is(arg, "NX"):
			f |= expireNX
		case is(arg, "XX"):
			f |= expireXX
		case is(arg, "GT"):
			f |= expireGT
		case is(arg, "LT"):
			f |= expireLT
		default:
			c.w.fail("ERR Unsupported option " + string(clip(arg, len(arg))))
			return 0, false
		}
	}
	if f&expireNX != 0 && f != expireNX {
		c.w.fail("ERR NX and XX, GT or LT options at the same time are not compatible")
		return 0, false
	}
	if f&expireGT != 0 && f&expireLT != 0 {
		c.w.fail("ERR GT and LT options at the same time are not compatible")
		return 0, false
	}
	return f, true
}

// allows reports whether the conditions allow changing a key's expiry from current to when. A current of 0 means that the key never expires,
// which counts as later than any time.
func (f expireFlag) allows(current, when int64) bool {
	switch {
	case f&expireNX != 0 && current != 0,
		f&expireXX != 0 && current == 0,
		f&expireGT != 0 && (current == 0 || when <= current),
		f&expireLT != 0 && current != 0 && when >= current:
		return false
	default:
		return true
	}
}

func ttl(c *call)         { c.remaining(c.now, 1000) }
func pttl(c *call)        { c.remaining(c.now, 1) }
func expiretime(c *call)  { c.remaining(0, 1000) }
func pexpiretime(c *call) { c.remaining(0, 1) }

// remaining answers with the time until the key expires, from base (unix ms) on, in units of unit ms, rounded to the nearest. It answers -1
// if the key never expires and -2 if there is no such key.
func (c *call) remaining(base, unit int64) {
	v, _, found, ok := c.head(c.args[1])
	switch {
	case !ok:
	case !found:
		c.w.integer(-2)
	case v.ExpireAt == 0:
		c.w.integer(-1)
	case unit == 1:
		c.w.integer(max(0, v.ExpireAt-base))
	default:
		c.w.integer(int64((uint64(max(0, v.ExpireAt-base)) + 500) / 1000)) // unsigned, so that the largest time does not overflow
	}
}

func persist(c *call) {
	key := c.args[1]
	v, _, found, ok := c.peek(key)
	if !ok {
		return
	}
	if !found || v.ExpireAt == 0 {
		c.srv.stats.lookup(found)
		c.w.integer(0)
		return
	}
	if v, _, ok = c.get(key); !ok {
		return
	}
	v.ExpireAt = 0
	c.put(key, v)
	c.w.integer(1)
}
