package resp

import (
	"errors"
	"slices"
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

// earn waits until n more bytes may be spent; or until the connection or the server ends, and then they may be, too.
func (c *conn) earn(n int) {
	a := &c.allow
	want := a.spent.part + n - a.have
	if want <= 0 {
		return
	}
	c.hold(false) // others may be slow to take theirs
	defer c.hold(true)
	if p := c.await(&c.srv.replies, want); p != nil {
		a.add(p)
	} else {
		a.have += want
	}
}

// headerRoom is what may be put in front of a reply once its length is known, in bytes.
const headerRoom = 64

// earn waits until the reply since at, which was given up, may become as long as it is; spent is from before it.
func (r *round) earn(at int, spent spent) {
	size := len(r.out.buf) - at + r.call.short
	r.out.rewind(at)
	r.conn.earn(r.call.short) // beside what was spent on its beginning
	r.conn.allow.spent = spent
	r.out.buf = slices.Grow(r.out.buf, size+headerRoom)
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
	c.earn(n)
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
