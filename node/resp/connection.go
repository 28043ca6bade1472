package resp

import (
	"bytes"
	"fmt"
	"slices"
)

// compatVersion is the Redis version whose behavior this server implements. Clients select features by it.
const compatVersion = "7.0.15"

func ping(c *call) {
	switch len(c.args) {
	case 1:
		c.w.simple("PONG")
	case 2:
		c.w.bulk(c.args[1])
	default:
		c.w.fail(arityError(c.cmd))
	}
}

func echo(c *call) { c.w.bulk(c.args[1]) }

func quit(c *call) {
	c.conn.closing = true
	c.w.ok()
}

func selectDB(c *call) {
	if c.database(1) {
		c.w.ok()
	}
}

// READONLY and READWRITE belong to Redis's cluster mode. Clients that are configured for replicas send them first.
func readonly(c *call)  { c.w.ok() }
func readwrite(c *call) { c.w.ok() }

func asking(c *call)          { c.w.fail(errClusterOff) }
func clusterDisabled(c *call) { c.w.fail(errClusterOff) }

func reset(c *call) {
	c.conn.discard()
	c.conn.unwatch()
	c.conn.setName(nil)
	if c.conn.quiet != replySkip { // replySkip applies to this very command
		c.conn.quiet = replyOn
	}
	c.conn.lock()
	c.conn.disconnect() // the upstream was authenticated with the password given before
	c.speak(false)
	c.w.simple("RESET")
}

// auth answers AUTH. If no password is required, it answers as Redis does in that case: the default user accepts any password, but AUTH
// <password> without a user is refused, because the client seems to expect that one is required.
func auth(c *call) {
	user := []byte(defaultUser)
	switch {
	case len(c.args) > 3:
		c.w.fail(errSyntax)
		return
	case len(c.args) == 3:
		user = c.args[1]
	case c.srv.opt.Passwords == nil:
		c.w.fail("ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?")
		return
	}
	if c.login(user, c.args[len(c.args)-1]) {
		c.w.ok()
	}
}

// hello switches the protocol version and describes the server. If an option is wrong, the version does not change, but as in Redis the
// options before it have taken effect.
func hello(c *call) {
	version, args := int64(0), c.args[1:]
	if len(args) > 0 {
		n, ok := parseInt(args[0])
		if !ok {
			c.w.fail("ERR Protocol version is not an integer or out of range")
			return
		}
		if n < 2 || n > 3 {
			c.w.fail("NOPROTO unsupported protocol version")
			return
		}
		version, args = n, args[1:]
	}
	for len(args) > 0 {
		switch {
		case is(args[0], "AUTH") && len(args) > 2:
			if !c.login(args[1], args[2]) {
				return
			}
			args = args[3:]
		case is(args[0], "SETNAME") && len(args) > 1:
			if !c.setName(args[1]) {
				return
			}
			args = args[2:]
		default:
			c.w.fail(fmt.Sprintf("ERR Syntax error in HELLO option '%s'", clip(args[0], len(args[0]))))
			return
		}
	}
	if c.conn.parser.locked {
		c.w.fail(errHelloNoAuth)
		return
	}
	if version != 0 {
		c.speak(version == 3)
	}
	c.describe()
}

// speak sets the version of the protocol for what is written from now on.
func (c *call) speak(resp3 bool) {
	c.w.resp3 = resp3
	c.conn.resp3.Store(resp3)
}

func (c *call) describe() {
	role := "replica"
	if leads, _ := c.srv.backend.Place(); leads || c.conn.byLeader {
		role = "master"
	}
	proto := int64(2)
	if c.w.resp3 {
		proto = 3
	}
	c.w.dict(7)
	c.w.text("server")
	c.w.text("redis")
	c.w.text("version")
	c.w.text(compatVersion)
	c.w.text("proto")
	c.w.integer(proto)
	c.w.text("id")
	c.w.integer(c.conn.id)
	c.w.text("mode")
	c.w.text("standalone")
	c.w.text("role")
	c.w.text(role)
	c.w.text("modules")
	c.w.array(0)
}

// setName sets the name of the connection. Only printable ASCII without spaces is allowed. An empty name removes the name. It returns false if
// it answered with an error.
func (c *call) setName(name []byte) bool {
	switch {
	case !printable(name):
		c.w.fail(errClientName)
		return false
	case len(name) > longestName:
		c.w.fail("ERR Client names" + tooLongName)
		return false
	}
	c.conn.setName(bytes.Clone(name))
	return true
}

// longestName bounds the names of a client and of its library, in bytes. Redis has no bound.
const longestName = 1 << 10

const tooLongName = " cannot be longer than 1024 bytes."

func printable(b []byte) bool {
	return !slices.ContainsFunc(b, func(ch byte) bool { return ch < '!' || ch > '~' })
}
