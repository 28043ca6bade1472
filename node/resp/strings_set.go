package resp

import (
	"math"

	"github.com/replicatedstore/replicatedstore/node/store"
)

type setFlag uint16

const (
	setNX setFlag = 1 << iota
	setXX
	setGet
	setKeepTTL
	setPersist
	setEX
	setPX
	setEXAT
	setPXAT

	setAnyTTL = setEX | setPX | setEXAT | setPXAT
)

// setOptions holds the options of SET and GETEX. As in Redis, some exclude each other, and a time option may be repeated, in which case the
// last one counts.
type setOptions struct {
	flags setFlag
	ttl   []byte // as given; flags determine its unit and base
}

// setOption describes an option word: the flag that it sets, the flags that exclude it, and the commands that know it.
type setOption struct {
	word     string
	flag     setFlag
	excludes setFlag
	takes    bool // takes an argument
	in       byte // 's': only SET, 'g': only GETEX, 0: both
}

var setOptionTable = []setOption{
	{"NX", setNX, setXX, false, 's'},
	{"XX", setXX, setNX, false, 's'},
	{"GET", setGet, 0, false, 's'},
	{"KEEPTTL", setKeepTTL, setPersist | setAnyTTL, false, 's'},
	{"PERSIST", setPersist, setKeepTTL | setAnyTTL, false, 'g'},
	{"EX", setEX, setKeepTTL | setPersist | setAnyTTL&^setEX, true, 0},
	{"PX", setPX, setKeepTTL | setPersist | setAnyTTL&^setPX, true, 0},
	{"EXAT", setEXAT, setKeepTTL | setPersist | setAnyTTL&^setEXAT, true, 0},
	{"PXAT", setPXAT, setKeepTTL | setPersist | setAnyTTL&^setPXAT, true, 0},
}

// parseSetOptions parses the options of SET ('s') or GETEX ('g'). It returns false if it answered with a syntax error.
func (c *call) parseSetOptions(args [][]byte, command byte) (setOptions, bool) {
	var o setOptions
next:
	for i := 0; i < len(args); i++ {
		for _, opt := range setOptionTable {
			if !is(args[i], opt.word) || (opt.in != 0 && opt.in != command) || o.flags&opt.excludes != 0 {
				continue
			}
			if opt.takes {
				if i+1 == len(args) {
					continue
				}
				i++
				o.ttl = args[i]
			}
			o.flags |= opt.flag
			continue next
		}
		c.w.fail(errSyntax)
		return o, false
	}
	return o, true
}

// expiry returns the time option in unix ms, or 0 if there is none. It returns false if it answered with an error.
func (c *call) expiry(o setOptions) (int64, bool) {
	if o.flags&setAnyTTL == 0 {
		return 0, true
	}
	n, ok := parseInt(o.ttl)
	if !ok {
		c.w.fail(errNotInteger)
		return 0, false
	}
	seconds := o.flags&(setEX|setEXAT) != 0
	if n <= 0 || (seconds && n > math.MaxInt64/1000) {
		c.w.fail(c.invalidExpire())
		return 0, false
	}
	if seconds {
		n *= 1000
	}
	if o.flags&(setEX|setPX) != 0 {
		n += c.now
	}
	if n <= 0 {
		c.w.fail(c.invalidExpire())
		return 0, false
	}
	return n, true
}

func (c *call) invalidExpire() string {
	return "ERR invalid expire time in '" + c.cmd.name + "' command"
}

func set(c *call) {
	o, ok := c.parseSetOptions(c.args[3:], 's')
	if !ok {
		return
	}
	expireAt, ok := c.expiry(o)
	if !ok {
		return
	}
	key := c.args[1]
	if o.flags&(setGet|setNX|setXX|setKeepTTL) == 0 {
		c.putString(key, c.args[2], expireAt)
		c.w.ok()
		return
	}
	old, found, ok := c.old(key, o)
	if !ok {
		return
	}
	if (o.flags&setNX != 0 && found) || (o.flags&setXX != 0 && !found) {
		if o.flags&setGet == 0 {
			c.w.null()
		}
		return
	}
	if o.flags&setKeepTTL != 0 {
		expireAt = old.ExpireAt
	}
	c.putString(key, c.args[2], expireAt)
	if o.flags&setGet == 0 {
		c.w.ok()
	}
}

// old returns what SET has to know of the value before. With GET, that value is the reply.
func (c *call) old(key []byte, o setOptions) (v store.Value, found, ok bool) {
	if o.flags&setGet != 0 {
		return c.replyString(key)
	}
	v, _, found, ok = c.head(key)
	return v, found, ok
}

func getex(c *call) {
	o, ok := c.parseSetOptions(c.args[2:], 'g')
	if !ok {
		return
	}
	key := c.args[1]
	v, found, ok := c.getString(key)
	if !ok {
		return
	}
	if !found {
		c.w.null()
		return
	}
	expireAt, ok := c.expiry(o)
	if !ok {
		return
	}
	c.w.bulk(v.Data)
	switch {
	case o.flags&setAnyTTL != 0:
		v.ExpireAt = expireAt
		c.put(key, v)
	case o.flags&setPersist != 0 && v.ExpireAt != 0:
		v.ExpireAt = 0
		c.put(key, v)
	}
}
