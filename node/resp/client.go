package resp

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
)

func clientId(c *call)       { c.w.integer(c.conn.id) }
func clientInfo(c *call)     { c.w.verbatim(c.conn.describe() + "\n") }
func clientGetredir(c *call) { c.w.integer(-1) }
func clientUnpause(c *call)  { c.w.ok() } // nothing is ever paused

// clientUnblock always answers 0: no command blocks a client in a way that another client may end.
func clientUnblock(c *call) {
	switch {
	case len(c.args) > 4:
		c.w.fail(unknownArity(c))
	case len(c.args) == 4 && !is(c.args[3], "TIMEOUT") && !is(c.args[3], "ERROR"):
		c.w.fail("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR")
	default:
		if _, ok := c.intArg(2); ok {
			c.w.integer(0)
		}
	}
}

func unknownArity(c *call) string {
	return fmt.Sprintf("ERR unknown subcommand or wrong number of arguments for '%s'. Try %s HELP.",
		clip(c.args[1], 128), upper(c.args[0]))
}

func clientTrackinginfo(c *call) {
	c.w.dict(3)
	c.w.text("flags")
	c.w.set(1)
	c.w.text("off")
	c.w.text("redirect")
	c.w.integer(-1)
	c.w.text("prefixes")
	c.w.array(0)
}

func clientGetname(c *call) {
	if name := c.conn.nameOf(); name != "" {
		c.w.text(name)
	} else {
		c.w.null()
	}
}

func clientSetname(c *call) {
	if c.setName(c.args[2]) {
		c.w.ok()
	}
}

// clientSetinfo (Redis 7.2) stores the client library's name or version, which CLIENT LIST shows.
func clientSetinfo(c *call) {
	value := c.args[3]
	name, isName := "lib-name", is(c.args[2], "LIB-NAME")
	if !isName {
		name = "lib-ver"
		if !is(c.args[2], "LIB-VER") {
			c.w.fail(fmt.Sprintf("ERR Unrecognized option '%s'", clip(c.args[2], 128)))
			return
		}
	}
	switch {
	case !printable(value):
		c.w.fail("ERR " + name + " cannot contain spaces, newlines or special characters.")
		return
	case len(value) > longestName:
		c.w.fail("ERR " + name + tooLongName)
		return
	}
	c.conn.setLibrary(isName, string(value))
	c.w.ok()
}

// CLIENT NO-EVICT and NO-TOUCH have no effect: neither keys nor connections are ever evicted, and access times are not tracked.
func clientNoEvict(c *call) { c.onOff() }
func clientNoTouch(c *call) { c.onOff() }

// onOff checks an ON or OFF argument that has no effect.
func (c *call) onOff() {
	if !is(c.args[2], "ON") && !is(c.args[2], "OFF") {
		c.w.fail(errSyntax)
		return
	}
	c.w.ok()
}

func clientReply(c *call) {
	switch {
	case is(c.args[2], "ON"):
		c.conn.quiet = replyOn
		c.w.ok()
	case is(c.args[2], "OFF"):
		c.conn.quiet = replyOff
	case is(c.args[2], "SKIP"):
		if c.conn.quiet != replyOff {
			c.conn.quiet = replySkipNext
		}
	default:
		c.w.fail(errSyntax)
	}
}

// clientTypes are the types of connections in Redis. Here all connections are normal.
var clientTypes = []string{"NORMAL", "MASTER", "REPLICA", "SLAVE", "PUBSUB"}

// clientType checks a TYPE argument and reports whether ordinary connections are of that type.
func (c *call) clientType(arg []byte) (normal, ok bool) {
	i := slices.IndexFunc(clientTypes, func(t string) bool { return is(arg, t) })
	if i < 0 {
		c.w.fail(fmt.Sprintf("ERR Unknown client type '%s'", clip(arg, len(arg))))
	}
	return i == 0, i >= 0
}

func clientList(c *call) {
	list := c.srv.clients.all()
	switch args := c.args[2:]; {
	case len(args) == 2 && is(args[0], "TYPE"):
		normal, ok := c.clientType(args[1])
		if !ok {
			return
		}
		if !normal {
			list = nil
		}
	case len(args) > 1 && is(args[0], "ID"):
		list = list[:0]
		for _, arg := range args[1:] {
			id, ok := parseInt(arg)
			if !ok {
				c.w.fail("ERR Invalid client ID")
				return
			}
			if cn := c.srv.clients.get(id); cn != nil {
				list = append(list, cn)
			}
		}
	case len(args) > 0:
		c.w.fail(errSyntax)
		return
	default:
		slices.SortFunc(list, func(a, b *conn) int { return cmp.Compare(a.id, b.id) })
	}
	c.describeAll(list)
}

// describeAll answers with one line per element of list, which may contain duplicates. It stops once the reply is too long to be sent.
func (c *call) describeAll(list []*conn) {
	at := c.w.mark()
	for _, cn := range list {
		line := cn.describe()
		if !c.w.fits(len(line) + 1) {
			return
		}
		if c.affords(len(line) + 1) {
			c.w.buf = append(append(c.w.buf, line...), '\n')
		}
	}
	c.w.insertVerbatim(at)
}

// killFilter selects connections for CLIENT KILL; a zero field selects all.
type killFilter struct {
	addr, laddr []byte
	id          int64
	none        bool // matches nothing: a type was given that no connection has
	skipMe      bool
}

func (f killFilter) matches(cn, me *conn) bool {
	switch {
	case f.none,
		f.addr != nil && !bytes.Equal(f.addr, []byte(cn.remote())),
		f.laddr != nil && !bytes.Equal(f.laddr, []byte(cn.local())),
		f.id != 0 && f.id != cn.id,
		f.skipMe && cn == me:
		return false
	default:
		return true
	}
}

func clientKill(c *call) {
	f := killFilter{addr: c.args[2]}
	old := len(c.args) == 3
	if !old {
		var ok bool
		if f, ok = c.killFilter(); !ok {
			return
		}
	}
	killed := int64(0)
	for _, cn := range c.srv.clients.all() {
		if !f.matches(cn, c.conn) {
			continue
		}
		killed++
		if cn == c.conn {
			c.conn.closing = true
		} else {
			cn.kill("CLIENT KILL")
		}
	}
	switch {
	case !old:
		c.w.integer(killed)
	case killed == 0:
		c.w.fail("ERR No such client")
	default:
		c.w.ok()
	}
}

func (c *call) killFilter() (killFilter, bool) {
	f := killFilter{skipMe: true}
	for args := c.args[2:]; len(args) > 0; args = args[2:] {
		if len(args) == 1 {
			c.w.fail(errSyntax)
			return f, false
		}
		switch name, value := args[0], args[1]; {
		case is(name, "ID"):
			id, ok := parseInt(value)
			if !ok || id < 1 {
				c.w.fail("ERR client-id should be greater than 0")
				return f, false
			}
			f.id = id
		case is(name, "TYPE"):
			normal, ok := c.clientType(value)
			if !ok {
				return f, false
			}
			f.none = f.none || !normal
		case is(name, "ADDR"):
			f.addr = value
		case is(name, "LADDR"):
			f.laddr = value
		case is(name, "USER"):
			if string(value) != "default" {
				c.w.fail(fmt.Sprintf("ERR No such user '%s'", clip(value, len(value))))
				return f, false
			}
		case is(name, "SKIPME") && (is(value, "YES") || is(value, "NO")):
			f.skipMe = is(value, "YES")
		default:
			c.w.fail(errSyntax)
			return f, false
		}
	}
	return f, true
}
