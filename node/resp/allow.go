package resp

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Long replies take turns, as long requests do. Otherwise, fifty clients that read the longest value at once would hold it fifty times in
// memory; the same goes for clients that read many shorter values with one MGET. (Measured with values of 8 MiB: a member with a memory
// limit of 256Mi was killed at once.)

// allowance is the memory that a connection may use for replies that it has not sent yet.
type allowance struct {
	parts []*part // of Server.replies
	have  int     // bytes of parts
	spent spent
}

// spent counts the memory that the replies waiting to be sent take, in bytes.
type spent struct {
	part int // taken from the connection's parts of Server.replies
	free int // taken without a part: up to largeBuffer in total per connection
}

// leastPart is the least that spend asks of Server.replies, in bytes, so that not every short value has to ask.
const leastPart = 64 << 10

// errShort is the fault of a call whose reply is longer than the connection may hold now. call.short then tells how many bytes are missing
// at least.
var errShort = errors.New("there is no memory for the reply yet")

// affords reports whether a value of n bytes may be added to the reply. If not, the reply is abandoned with errShort, and the command only
// goes on to find out how long its reply is. Values always fit inside the sequencer, because prefetch made sure of it, and so do the
// replies to commands without data in a transaction.
func (c *call) affords(n int) bool {
	if c.srv.replies.size == 0 || c.batch != nil || c.tx != nil || c.inExec {
		return true
	}
	if c.short == 0 && (c.conn.allow.spendFree(n) || !c.hasty && c.conn.spend(n)) {
		return true
	}
	c.short += n
	c.fault = errShort
	return false
}

// spendFree spends n bytes if that needs no part of Server.replies, and reports whether it did.
func (a *allowance) spendFree(n int) bool {
	if a.spent.free+n > largeBuffer {
		return false
	}
	a.spent.free += n
	return true
}

// spend spends n bytes if that needs no waiting, and reports whether it did.
func (c *conn) spend(n int) bool {
	a := &c.allow
	if a.spendFree(n) {
		return true
	}
	if a.spent.part+n > a.have {
		p := c.srv.replies.try(max(a.spent.part+n-a.have, leastPart), c)
		if p == nil {
			return false
		}
		a.add(p)
	}
	a.spent.part += n
	return true
}

func (a *allowance) add(p *part) {
	a.parts = append(a.parts, p)
	a.have += p.n
}

// earn waits until n more bytes may be spent. It gives up after limit (0: never), and reports whether it did. If the wait ends because the
// connection or the server ends, the bytes may be spent as well.
func (c *conn) earn(n int, limit time.Duration) (late bool) {
	a := &c.allow
	want := a.spent.part + n - a.have
	if want <= 0 {
		return false
	}
	c.hold(false) // others may be slow to take their replies
	defer c.hold(true)
	p, late := c.await(&c.srv.replies, want, limit)
	switch {
	case p != nil:
		a.add(p)
	case !late:
		a.have += want
	}
	return late
}

// headerRoom bounds the header that is put in front of a reply once its length is known, in bytes.
const headerRoom = 64

// earn drops the reply since offset at, which was abandoned with errShort, and waits until there is memory for all of it. before is what was
// spent before that reply. The replies before it are settled and sent first, so that they do not have to wait as well.
func (r *round) earn(at int, before spent) {
	c := r.conn
	size := len(r.out.buf) - at + r.call.short
	n := c.allow.spent.part - before.part + r.call.short
	r.out.rewind(at)
	if !r.letGo() {
		return
	}
	c.earn(n, 0)
	r.out.buf = slices.Grow(r.out.buf, size+headerRoom)
}

// letGo settles and sends the replies so far, so that a connection that is about to wait neither holds up others nor is held up by its own
// replies. It returns false if that ended the connection.
func (r *round) letGo() bool {
	if !r.settle() {
		return false
	}
	r.gated = false // the gate's answer from before the wait no longer counts
	r.tellSoFar()
	return !r.conn.closing
}

// need is the memory that it takes to evaluate commands whose keys were read ahead, in bytes.
type need struct {
	size    int // all values that they read
	reply   int // of those, the values that may become part of the replies
	toWrite int // of those, the long values that are read in order to be written
}

func (n need) and(m need) need {
	return need{n.size + m.size, n.reply + m.reply, n.toWrite + m.toWrite}
}

// covers reports whether there is memory for n without waiting, and if so spends it. A hasty round needs none: prefetch lets it read only
// values that fit a pooled buffer.
func (r *round) covers(n need) bool {
	c, before := r.conn, r.conn.allow.spent
	if r.hasty {
		return true
	}
	if c.srv.replies.size > 0 && !c.spend(n.reply) {
		return false
	}
	if n.toWrite > 0 && c.srv.ration.size > 0 {
		p := c.srv.ration.try(n.toWrite, c)
		if p == nil {
			c.allow.spent = before
			return false
		}
		c.toWrite.add(p)
	}
	return true
}

// admit waits, if necessary, for the memory that the job at i needs. It returns false if the job must not be evaluated now: the wait took
// too long, and the job was answered and r.from is past it; or what came before has been settled and sent, and the job has to be looked at
// again; or the connection was killed.
func (r *round) admit(i int, n need) bool {
	if r.covers(n) {
		return true
	}
	if r.pending || len(r.out.buf) > 0 || r.conn.allow.have > 0 || r.conn.toWrite.have > 0 {
		r.letGo()
		return false
	}
	c, limit := r.conn, time.Duration(0)
	if r.jobs[i].cmd.has(flagWrite) || c.multi != nil && c.multi.writes {
		limit = time.Duration(r.srv.commitTimeout.Load())
	}
	late := r.srv.replies.size > 0 && c.earn(n.reply, limit)
	late = late || n.toWrite > 0 && r.srv.ration.size > 0 && c.draw(n.toWrite, limit)
	switch {
	case c.killed.Load():
		return false
	case late:
		r.answer(&r.jobs[i], func() { r.reject(noTurn(limit)) })
		r.from = i + 1
		return false
	}
	c.allow.spent.part += n.reply
	r.aheadAgain()
	return true
}

// draw waits for n bytes of Server.ration for long values that are read in order to be written. It gives up after limit (0: never), and
// reports whether it did.
func (c *conn) draw(n int, limit time.Duration) (late bool) {
	c.hold(false) // others may wait for what this connection has
	defer c.hold(true)
	p, late := c.await(&c.srv.ration, n, limit)
	if p != nil {
		c.toWrite.add(p)
	}
	return late
}

func noTurn(limit time.Duration) string {
	return fmt.Sprintf("%s nothing was written: other clients have held the memory for long values for %v; try again", codeTryAgain, limit)
}

// repay gives back the memory of replies that were sent.
func (c *conn) repay() {
	for _, p := range c.allow.parts {
		c.srv.replies.give(p)
	}
	c.allow = allowance{}
}

// reserve spends n bytes, waiting if necessary, and reports whether it had to wait.
func (c *conn) reserve(n int) (waited bool) {
	if c.srv.replies.size == 0 || c.spend(n) {
		return false
	}
	c.earn(n, 0)
	c.allow.spent.part += n
	return true
}

// makeRoom returns a function that reserves memory for a string of n bytes in a reply of the leader at u. If it had to wait, the leader gets
// its full time again.
func (r *round) makeRoom(u *upstream) func(n int) {
	return func(n int) {
		if r.conn.reserve(n) {
			r.renew(u)
		}
	}
}

// copies reports whether the command copies the values at its keys, to reply with them or with a part of them, or to write them.
func (c *command) copies(args [][]byte) bool {
	switch c.name {
	case "set":
		return c.tells(args)
	case "del", "unlink", "exists", "touch", "setnx", "msetnx", "watch", "strlen", "type", "ttl", "pttl", "expiretime", "pexpiretime",
		"object|encoding", "object|freq", "object|idletime", "object|refcount", "memory|usage":
		return false
	default:
		return true
	}
}

// tells reports whether a write command replies with the value that was stored before.
func (c *command) tells(args [][]byte) bool {
	switch c.name {
	case "getdel", "getex", "getset":
		return true
	case "set":
		return slices.ContainsFunc(args[3:], func(arg []byte) bool { return is(arg, "GET") })
	default:
		return false
	}
}
