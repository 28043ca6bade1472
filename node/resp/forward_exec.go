package resp

import "fmt"

// watchLost reports whether it can no longer be known that the watched keys are unchanged: they were watched on this member, or over a
// connection to a leader that is gone.
func (c *conn) watchLost() bool { return c.watched != nil || c.watchesUp != nil && c.watchesUp != c.up }

// sent returns how many of the queued commands go to the leader.
func (t *transaction) sent() (n int) {
	for i := range t.jobs {
		if needsLeader(t.jobs[i].cmd) {
			n++
		}
	}
	return n
}

// takeExec takes the replies to a transaction: those to MULTI and to the queued commands, which matter only if one was refused, and the one to
// EXEC. Queued commands that do not need the leader were not sent: they run here, and their replies are inserted at their places.
func (r *round) takeExec(u *upstream) (ran bool, err error) {
	at := len(r.out.buf)
	t := r.conn.multi
	cause := ""
	for range 1 + t.sent() {
		if r.out.buf, err = copyReply(r.out.buf, u.in, r.out.limit, r.makeRoom(u)); err != nil {
			return false, err
		}
		if cause == "" {
			cause = r.errorAt(at)
		}
		r.out.rewind(at)
	}
	kind, n, line, err := replyHeader(u.in)
	if err != nil {
		return false, err
	}
	if kind != '*' || n < 0 {
		r.out.buf = append(r.out.buf, line...)
		notLeader := is(r.codeAt(at), codeNotLeader)
		if cause != "" && is(r.codeAt(at), codeExecAbort) { // replace "previous errors", which this client has not seen
			r.out.buf = fmt.Appendf(r.out.buf[:at], "-%s\r\n", execAborted(cause))
		}
		return !notLeader, nil
	}
	r.out.array(len(t.jobs))
	for i := range t.jobs {
		q := &t.jobs[i]
		if needsLeader(q.cmd) {
			if r.out.buf, err = copyReply(r.out.buf, u.in, r.out.limit, r.makeRoom(u)); err != nil {
				return false, err
			}
			continue
		}
		if q.cmd.name == "unwatch" { // EXEC has ended all watches anyway
			r.out.ok()
			continue
		}
		r.call.cmd, r.call.args, r.call.noView, r.call.inExec = q.cmd, q.args, true, true
		q.cmd.run(&r.call)
		r.call.inExec = false
	}
	return true, nil
}
