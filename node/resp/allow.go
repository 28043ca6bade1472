package resp

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Long replies take turns, as long requests do: fifty clients that read the longest value at once would otherwise hold it fifty times, and
// so would those that read many shorter ones with one MGET. (Measured with values of 8 MiB: a member with a limit of 256Mi was killed by
// that at once.)

// allowance is what a connection may hold of replies that it has not sent yet.
type allowance struct {
	parts []*part // of Server.replies
	have  int     // bytes of parts
	spent spent
}

// spent is what the replies that wait to be sent take, in bytes.
type spent struct {
	part int // of what the connection has of Server.replies
	free int // without: up to largeBuffer of values that are no longer than that
}

// leastPart is what is asked of Server.replies at least, where that is there: short values do not ask for each of them.
const leastPart = 64 << 10

// errShort: the reply is longer than the connection may hold now; call.short tells by how much at least.
var errShort = errors.New("there is no memory for the reply yet")

// affords tells whether a value of n bytes may become a part of the reply. Otherwise the reply is given up, and goes on only to find how
// long it is. Inside the sequencer it may, see prefetch, and in a transaction what needs no data.
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

// spendFree takes up n bytes if nobody need be asked for them.
func (a *allowance) spendFree(n int) bool {
	if a.spent.free+n > largeBuffer {
		return false
	}
	a.spent.free += n
	return true
}

// spend takes up n bytes, if that needs no waiting.
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

// earn waits until n more bytes may be spent, and tells whether that took longer than limit (0: however long). Once the connection or the
// server ends they may be, too.
func (c *conn) earn(n int, limit time.Duration) (late bool) {
	a := &c.allow
	want := a.spent.part + n - a.have
	if want <= 0 {
		return false
	}
	c.hold(false) // others may be slow to take theirs
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

// headerRoom is what may be put in front of a reply once its length is known, in bytes.
const headerRoom = 64

// earn waits until the reply since at, which was given up, may become as long as it is; spent is from before it. Meanwhile nothing else
// waits: what came before is answered.
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

// letGo settles and sends what came before, so that who waits holds up nobody, and is held up by nobody. False: that ended the connection.
func (r *round) letGo() bool {
	if !r.settle() {
		return false
	}
	r.gated = false // a pass from before the wait is none now
	r.tellSoFar()
	return !r.conn.closing
}

// need is what it takes to evaluate commands that were read ahead, in bytes.
type need struct {
	size    int // of all that they read
	reply   int // of that, what may become a part of the replies
	toWrite int // and what long values take that are read to be written
}

func (n need) and(m need) need {
	return need{n.size + m.size, n.reply + m.reply, n.toWrite + m.toWrite}
}

// covers tells whether there is memory for n now, and then spends it.
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

// admit waits for what the job at i needs, if that is not there now. False: it is not to be evaluated. It was answered then, if that took too
// long, and r.from is behind it; or it is to be looked at once more, for what came before it has been settled.
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

// draw waits for n bytes of Server.ration for what is read to be written, and tells whether that took longer than limit.
func (c *conn) draw(n int, limit time.Duration) (late bool) {
	c.hold(false) // others may wait for what this one has
	defer c.hold(true)
	p, late := c.await(&c.srv.ration, n, limit)
	if p != nil {
		c.toWrite.add(p)
	}
	return late
}

func noTurn(limit time.Duration) string {
	return fmt.Sprintf("%s nothing was written, others have held the memory for long values for %v", codeTryAgain, limit)
}

// repay gives back what the replies took that were sent.
func (c *conn) repay() {
	for _, p := range c.allow.parts {
		c.srv.replies.give(p)
	}
	c.allow = allowance{}
}

// reserve spends n bytes as soon as that may be, and tells whether it had to wait.
func (c *conn) reserve(n int) (waited bool) {
	if c.srv.replies.size == 0 || c.spend(n) {
		return false
	}
	c.earn(n, 0)
	c.allow.spent.part += n
	return true
}

// makeRoom returns what reserves room for a long value of the leader's, which has all its time again then.
func (r *round) makeRoom(u *upstream) func(n int) {
	return func(n int) {
		if r.conn.reserve(n) {
			r.renew(u)
		}
	}
}

// copies reports whether what is stored at the command's keys becomes a part of its reply, or of what it writes.
func (c *command) copies() bool {
	switch c.name {
	case "del", "unlink", "exists", "touch", "msetnx":
		return false
	default:
		return true
	}
}

// tells reports whether a command that writes replies with what was stored.
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
