package resp

import "fmt"

// watchLost reports whether what is watched cannot be told any more to be unchanged: it was watched here while this member led, or
// over a connection that is gone.
func (c *conn) watchLost() bool { return c.watched != nil || c.watchesUp != nil && c.watchesUp != c.up }

// sent is how many of the queued commands go to the leader.
func (t *transaction) sent() (n int) {
	for i := range t.jobs {
		if needsLeader(t.jobs[i].cmd) {
			n++
		}
	}
	return n
}

// takeExec takes the replies to a transaction: of MULTI and of what was queued, which say nothing unless it was refused, and of EXEC.
// What does not need the leader was not sent; it runs here, and its replies go where they belong.
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
		if cause != "" && is(r.codeAt(at), codeExecAbort) { // for "previous errors", which this client was not told of
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
		if q.cmd.name == "unwatch" { // EXEC forgets what is watched
			r.out.ok()
			continue
		}
		r.call.cmd, r.call.args, r.call.noView, r.call.inExec = q.cmd, q.args, true, true
		q.cmd.run(&r.call)
		r.call.inExec = false
	}
	return true, nil
}
