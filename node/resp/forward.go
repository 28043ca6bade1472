package resp

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Forwarding: a member that does not lead forwards the commands that need the leader, and passes the leader's replies
// back. While no leader is known, the connection waits for up to Options.Park, with its input in its own buffer and the
// socket's.
//
// Writes and WATCH need the leader. So does every command on data of a bound connection: one that has written, that was
// accepted while this member led or on the port for clients of the leader, or that may only read at a leader. A client
// therefore sees its own writes, and never reads older data than before.
//
// Outcomes: a command that was never sent, or was answered with NOTLEADER, was not run, and is tried again at the next
// leader. If a write was sent but not answered, the client gets an unknown outcome and the connection is closed. An
// unanswered read is sent again: to every leader that turns up in the meantime, and to one of them a second time.

const (
	burstBytes = 16 << 10 // bytes of arguments sent before replies are read; both sides' socket buffers hold more, so neither blocks
	retryFirst = 2 * time.Millisecond
	retryMost  = 50 * time.Millisecond
)

// forwards reports whether this server forwards commands.
func (s *Server) forwards() bool { return s.opt.Dial != nil }

// elsewhere reports whether j cannot run here and may run at the leader.
func (r *round) elsewhere(j *job, class class) bool {
	if r.seq != nil || !r.srv.forwards() || r.conn.multi != nil && class != classExec {
		return false
	}
	switch class {
	case classExec:
		t := r.conn.multi
		return !t.broken && (t.sends || r.conn.watchesUp != nil) && (t.writes || r.conn.bound || r.conn.forwarded)
	case classBatch, classRead, classSettled:
		return j.cmd.has(flagWrite) || j.cmd.name == "watch" || (r.conn.bound || r.conn.forwarded) && needsLeader(j.cmd)
	default:
		return false
	}
}

// needsLeader reports whether a bound connection's command runs at the leader.
func needsLeader(cmd *command) bool {
	return cmd.onData() || cmd.name == "watch" || cmd.isWait()
}

// lost reports whether a batch was refused with err because this member no longer leads, so that it may run elsewhere. If so, it binds the
// connection to the leader.
func (r *round) lost(err error) bool {
	if !r.srv.forwards() || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) || notRun(err) != errReadOnly {
		return false
	}
	r.seq, r.conn.bound = nil, true // later reads must not miss what was read here
	return true
}

// forward runs the job at i at the leader, together with the following ones that go there too. It returns the index of
// the first job that was not executed. That may be i, for example if this member leads by now.
func (r *round) forward(i int) int {
	if !r.settle() {
		return i
	}
	c := r.conn
	c.bound = true
	p := r.park()
	defer p.end()
	exec := r.jobs[i].cmd.name == "exec"
	if exec && c.watchLost() {
		r.answer(&r.jobs[i], func() { r.out.nullArray() })
		c.discard()
		return i + 1
	}
	for wait := time.Duration(0); !c.killed.Load(); wait = min(max(2*wait, retryFirst), retryMost) {
		looking := p.ctx
		if r.gaveUp() {
			looking = noPatience
		}
		here, addr, err := r.srv.place(looking, c.forwarded, wait)
		switch {
		case err != nil:
			return r.nowhere(i, err)
		case here:
			r.seq = r.srv.backend.Sequencer()
			r.gated, r.gateErr, r.silent = false, nil, silence{}
			return i
		case r.silent.last(addr):
			return r.givenUp(i)
		}
		u, err := c.connect(p.ctx, addr)
		switch {
		case errors.Is(err, errLost), c.cut.Load():
			return r.lostHistory(i)
		case err != nil:
			if r.lastRefusal == nil || p.ctx.Err() == nil { // an attempt that the end of the wait cut short tells less than those before
				r.lastRefusal = err
			}
			continue
		}
		if exec && c.watchLost() {
			return i // the session with the watched keys is gone: start over, which answers the EXEC
		}
		next, again := r.converse(u, i, r.burst(i))
		if next > i || !again || c.closing || r.out.over {
			return next
		}
		if exec && c.watchLost() {
			return i // start over, which answers the EXEC
		}
		if !r.unopened(addr) {
			p.renew()
		}
	}
	return i
}

// answer calls f to write the reply to j.
func (r *round) answer(j *job, f func()) {
	at := len(r.out.buf)
	r.silent = silence{}
	r.begin(j)
	f()
	r.finish(at, markKeep)
}

// burst returns the end of the range of jobs, starting at i, that are sent to the leader together.
func (r *round) burst(i int) int {
	end, size := i+1, argBytes(r.jobs[i].args)
	if alone(r.jobs[i].cmd) || r.silent.addr != "" { // after a silence ask job i alone: a later one may have been the cause
		return end
	}
	for end < len(r.jobs) {
		j := &r.jobs[end]
		size += argBytes(j.args)
		if size > burstBytes || alone(j.cmd) || !r.elsewhere(j, r.classify(j)) {
			break
		}
		end++
	}
	return end
}

// alone reports whether a command is sent by itself, because the commands after it depend on its reply or wait for it.
func alone(cmd *command) bool {
	return cmd == nil || cmd.name == "exec" || cmd.name == "watch" || cmd.isWait()
}

// converse sends jobs[i:end] to the leader and reads their replies. next is the index of the first job that was not
// executed; again reports whether it may be tried again.
func (r *round) converse(u *upstream, i, end int) (next int, again bool) {
	gone, done := func() bool { return false }, func() {}
	stopping := r.srv.blockCtx.Err() != nil
	if !stopping {
		gone, done = r.waitElsewhere(u, &r.jobs[i])
	}
	defer done()
	r.sent = r.sent[:0]
	for k := i; k < end; k++ {
		r.sent = r.encode(r.sent, &r.jobs[k], stopping)
	}
	r.sent = askShown(r.sent, u, &r.jobs[i])
	sent := u.send(r.sent)
	defer sent()
	r.srv.stats.forwarded.Add(uint64(end - i))
	for k := i; k < end; k++ {
		j, at, resp3 := &r.jobs[k], len(r.out.buf), r.out.resp3
		r.begin(j)
		ran, err := r.takeReply(u, j)
		switch {
		case err != nil:
			r.out.rewind(at)
			r.speak(resp3) // a HELLO of a transaction may have been run
			r.conn.disconnect()
			switch n, sendErr := sent(); {
			case gone() && r.srv.blockCtx.Err() == nil: // if the server stops, the job is asked again, without waiting
				r.answer(j, func() { r.out.fail(codeTryAgain + " the wait was ended") })
				r.conn.closing = true
				return k + 1, false
			case n == 0 && sendErr != nil: // nothing was sent
				r.lastRefusal = sendErr
				return i, true
			}
			return r.unanswered(u, k, end, err)
		case !ran:
			text := r.errorAt(at)
			r.toldShown(u, strings.TrimPrefix(text, codeNotLeader+" "))
			r.lastRefusal = refusalIn(text)
			r.out.rewind(at)
			r.conn.disconnect()
			return k, true
		}
		r.took(j, at)
		if len(r.out.buf) >= settleBytes {
			if r.flush() != nil {
				r.conn.disconnect()
				r.conn.closing = true
			}
			r.renew(u) // the client may have been slow
		}
		if r.conn.closing {
			return k + 1, false
		}
	}
	r.takeShown(u)
	return end, false
}

// renew gives the leader at u its full reply timeout again, unless another leader is known by now.
func (r *round) renew(u *upstream) {
	_ = u.nc.SetDeadline(r.srv.opt.Now().Add(r.srv.replyTimeout()))
	if _, leader := r.srv.backend.Place(); leader != "" {
		r.conn.leaveUpstream(leader) // LeaderMoved may have been called just before the deadline was set
	}
}

// encode appends the encoding of j for the leader. For EXEC, that includes MULTI and the commands that were queued here.
// If stopping is set, WAIT and WAITAOF are sent so that they do not wait.
func (r *round) encode(dst []byte, j *job, stopping bool) []byte {
	switch {
	case j.cmd.isWait() && stopping:
		return appendCommand(dst, withoutWaiting(j.args))
	case j.cmd.name != "exec":
		return appendCommand(dst, j.args)
	}
	dst = append(dst, "*1\r\n$5\r\nMULTI\r\n"...)
	for _, q := range r.conn.multi.jobs {
		if needsLeader(q.cmd) {
			dst = appendCommand(dst, q.args)
		}
	}
	return append(dst, "*1\r\n$4\r\nEXEC\r\n"...)
}

// withoutWaiting returns the arguments of a WAIT or WAITAOF with the timeout replaced by 1 ms. An invalid timeout stays as it is, so that the
// leader answers with the error.
func withoutWaiting(args [][]byte) [][]byte {
	last := len(args) - 1
	if ms, ok := parseInt(args[last]); !ok || ms < 0 {
		return args
	}
	return append(slices.Clone(args[:last]), []byte("1"))
}

// takeReply appends the leader's reply to j in the form that the client gets. ran is false if the leader says that
// nothing was run.
func (r *round) takeReply(u *upstream, j *job) (ran bool, err error) {
	at := len(r.out.buf)
	if j.cmd.name == "exec" {
		return r.takeExec(u)
	}
	if r.out.buf, err = copyReply(r.out.buf, u.in, r.out.limit, r.makeRoom(u)); err != nil {
		return false, err
	}
	return !is(r.codeAt(at), codeNotLeader), nil
}

// errorAt returns the text of the error reply at offset at, or "" if the reply there is not an error.
func (r *round) errorAt(at int) string {
	if at >= len(r.out.buf) || r.out.buf[at] != '-' {
		return ""
	}
	text, _, _ := strings.Cut(string(r.out.buf[at+1:]), "\r\n")
	return text
}

// codeAt returns the code of the error reply at offset at; empty if the reply there is not an error.
func (r *round) codeAt(at int) []byte {
	code, _, _ := strings.Cut(r.errorAt(at), " ")
	return []byte(code)
}

// took accounts for the leader's reply to j, which starts at offset at, and updates the connection's state.
func (r *round) took(j *job, at int) {
	c := r.conn
	r.begin(j)
	wrote := j.cmd.has(flagWrite)
	c.wroteElsewhere = true
	r.silent = silence{}
	switch j.cmd.name {
	case "watch":
		if c.watchesUp == nil {
			c.watchesUp = c.up // if already set to an earlier upstream, those watches are lost, which EXEC will report
		}
	case "exec":
		wrote = c.multi.writes
		c.watchesUp = nil // EXEC ends all watches
		c.discard()
	}
	if text := r.errorAt(at); text != "" && r.tookError(text) {
		r.refused++ // which shows nothing of what the leader holds
	} else {
		c.up.untold = c.up.due
		r.wrote = r.wrote || wrote
	}
	r.finish(at, markKeep)
}

// tookError accounts for an error reply of the leader, and reports whether it means that nothing was run.
func (r *round) tookError(text string) (refused bool) {
	r.out.errors++
	r.out.last, _, _ = strings.Cut(text, " ")
	cause := strings.TrimPrefix(text, execAborted(""))
	if strings.HasPrefix(cause, codeNoReplicas) || strings.HasPrefix(cause, aloneMayNotRead) {
		r.goAstray()
	}
	switch r.out.last {
	case codeUnknown:
		r.conn.closing = true // as the leader closes its connection
		r.srv.stats.unknown.Add(1)
	case codeNoReplicas, codeFull, codeMasterDown, codeTryAgain, codeExecAbort:
		return true
	}
	return false
}

// unanswered handles jobs[k:end], which were sent but not answered before the connection to the leader broke. If none of
// them writes, they are sent again, though not forever (see silence). Otherwise they get an unknown outcome, and the
// connection is closed.
func (r *round) unanswered(u *upstream, k, end int, cause error) (next int, again bool) {
	if errors.Is(cause, errLongReply) {
		r.out.over = true
		return k + 1, false
	}
	r.lastRefusal = cause
	cause = fmt.Errorf("the connection to the leader broke: %w", cause)
	writes := func(j job) bool {
		return j.cmd.has(flagWrite) || j.cmd.name == "exec" && r.conn.multi != nil && r.conn.multi.writes
	}
	if !slices.ContainsFunc(r.jobs[k:end], writes) && !errors.Is(cause, errBadReply) {
		r.silent.note(u.addr)
		return k, true
	}
	r.conn.closing = true
	r.srv.stats.unknown.Add(1)
	for ; k < end; k++ {
		text := unknownBefore(cause)
		if writes(r.jobs[k]) {
			text = unknownOutcome(cause)
		}
		r.answer(&r.jobs[k], func() { r.out.fail(text) })
	}
	return end, false
}

// Deposed tells the server that this member no longer leads. Keys that are watched here count as changed from now on.
// Connections stay open and their commands are forwarded; if this server does not forward, it cuts them instead. Deposed
// must be called after the sequencer was closed and before it is opened again.
func (s *Server) Deposed(reason string) {
	if !s.forwards() {
		s.Cut(reason)
		return
	}
	s.watches.touchAll(func([]byte) bool { return true })
	s.opt.Log.Info("forwarding client commands to the leader", "reason", reason, "clients", s.clients.count())
}

// LeaderMoved tells the server the leader's new client address, or "" if it is not known.
func (s *Server) LeaderMoved(addr string) {
	if addr == "" {
		return // nothing to do: a deposed leader answers at once by itself
	}
	for _, c := range s.clients.all() {
		c.leaveUpstream(addr)
	}
}
