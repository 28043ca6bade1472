package resp

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/replicatedstore/replicatedstore/replication"
)

// History: no connection is ever shown an older state than before, or told that followers hold a write that was lost. If
// that cannot be guaranteed, because the elected leader lacks something that was committed before, the connection ends.
//
// What a member has shown from its own state is in its own log; if a leader makes it cut that, Server.Cut ends all
// connections. This file deals with what leaders elsewhere have shown, which the forwarding member may not have. After
// each burst of forwarded commands, a leader reports the end of what it can have shown. The next leader must first
// confirm that its log holds that much, before it is sent anything.

// shownCommand asks a leader for the end of what it can have shown so far, as an epoch and a position. If its argument is
// such a mark, it first asks whether the leader's log holds that much.
const shownCommand = "replicatedstore.shown"

// tellsShown is the reply to forwardedCommand from a member that knows shownCommand. Members of earlier versions reply
// OK.
const tellsShown = "OK shown"

// codeLost starts the reply to a command that was not run because what the connection was shown before may be lost. The
// connection is closed after that reply.
const codeLost = "HISTORYLOST"

const errHistoryLost = codeLost + " nothing was run: data that this connection wrote or read before may be lost, because a member without the old leader's last writes " +
	"now leads; reconnect and check the data"

var errLost = errors.New("the leader's log lacks data that another leader has shown")

// shown implements shownCommand.
func shown(c *call) {
	b := c.srv.backend
	if len(c.args) > 1 {
		asked, ok := parseMark(string(c.args[1]))
		if !ok {
			c.w.fail(errSyntax)
			return
		}
		switch holds, leads := b.Holds(asked); {
		case !leads:
			c.w.fail(codeNotLeader + " " + errNotLeader.Error())
			return
		case !holds:
			c.w.fail(codeLost + " " + errLost.Error())
			return
		}
	}
	c.w.simple(formatMark(b.Shown()))
}

func formatMark(m replication.Mark) string { return fmt.Sprintf("%d:%d", m.Epoch, m.Position) }

// parseMark is the inverse of formatMark. It ignores everything after a space.
func parseMark(text string) (replication.Mark, bool) {
	text, _, _ = strings.Cut(text, " ")
	epoch, position, _ := strings.Cut(text, ":")
	e, err := strconv.ParseUint(epoch, 10, 64)
	p, err2 := strconv.ParseUint(position, 10, 64)
	return replication.Mark{Epoch: replication.Epoch(e), Position: replication.Position(p)}, err == nil && err2 == nil
}

// wasShown records m, the end of what a leader can have shown to the client. That leader's log holds everything the
// client was shown before.
func (c *conn) wasShown(m replication.Mark) {
	c.shown = replication.Mark{Epoch: m.Epoch, Position: max(m.Position, c.shown.Position)}
}

// goOn asks the leader at u whether its log holds what the client was shown, and returns errLost if it does not.
func (c *conn) goOn(u *upstream) error {
	if !u.tells {
		return nil
	}
	words := []string{shownCommand}
	if c.shown != (replication.Mark{}) {
		words = append(words, formatMark(c.shown))
	}
	reply, err := u.ask(words...)
	switch {
	case err == nil:
	case strings.Contains(err.Error(), codeLost):
		return errLost
	case strings.Contains(err.Error(), "NOAUTH"):
		u.tells = false // not logged in, so it shows nothing over this connection either
		return nil
	default:
		return err
	}
	m, ok := parseMark(reply)
	if !ok {
		return fmt.Errorf("%w: %q does not say how far its log was shown", errBadReply, reply)
	}
	if c.untold && m.Epoch != c.shown.Epoch { // the previous leader has shown more than it reported
		return errLost
	}
	c.wasShown(m)
	c.untold = false
	return nil
}

// askShown appends shownCommand to the commands for u, if their replies may show something.
func askShown(dst []byte, u *upstream, j *job) []byte {
	if !u.tells || j.cmd.isWait() {
		return dst
	}
	u.due = true
	return append(dst, "*1\r\n$21\r\n"+shownCommand+"\r\n"...)
}

// takeShown reads the reply to shownCommand. If there is none, it closes the connection to the leader.
func (r *round) takeShown(u *upstream) {
	if !u.due {
		return
	}
	at := len(r.out.buf)
	var err error
	r.out.buf, err = copyReply(r.out.buf, u.in, 0, func(int) {})
	text := strings.TrimSpace(string(r.out.buf[at:]))
	r.out.rewind(at)
	if err != nil || !r.toldShown(u, strings.TrimPrefix(text, "+")) {
		r.conn.disconnect()
	}
	u.due = false
}

// toldShown records the end of what the leader at u says it can have shown, and reports whether text says so.
func (r *round) toldShown(u *upstream, text string) bool {
	m, ok := parseMark(text)
	if ok && u.untold {
		r.conn.wasShown(m)
		u.untold = false
	}
	return ok
}

// inherits reports whether the log of this member, which leads now, holds what leaders elsewhere have shown to the
// client. If it does not, the next job has been answered with an error, or must be looked at again.
func (r *round) inherits() bool {
	c := r.conn
	if r.stuck = r.hasty; r.stuck {
		return false
	}
	switch holds, leads := r.srv.backend.Holds(c.shown); {
	case !leads:
		r.seq = nil
		return false
	case !holds || c.untold:
		r.next = r.lostHistory(r.next)
		return false
	default:
		c.shown = replication.Mark{} // from now on this member's own log decides
		return true
	}
}

// lostHistory answers the job at i, and closes the connection. It returns the index of the next job.
func (r *round) lostHistory(i int) int {
	r.answer(&r.jobs[i], func() { r.reject(errHistoryLost) })
	r.conn.closing = true
	return i + 1
}
