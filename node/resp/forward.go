package resp

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Forwarding: a member that does not lead sends what needs the leader on to it, and its replies back. While no leader is known,
// the connection waits, its input in its own buffer and in the socket's, for up to Options.Park.
//
// What needs the leader: writes and WATCH; and every command on data of a connection that is bound, because it wrote before, or was
// made while this member led or at the port for clients of the leader, or may read at a leader only. So a client sees its own
// writes, and never goes back.
//
// Outcomes: what was never sent, or came back as NOTLEADER, was not run, and is tried again where the next leader is. A write that
// was sent and not answered is answered with an unknown outcome, and the connection is closed; a read is asked again, of each leader that there
// is by then, and of one of them once more.

const (
	burstBytes = 16 << 10 // arguments sent before replies are read: both sides' socket buffers hold more, so neither gets stuck
	retryFirst = 2 * time.Millisecond
	retryMost  = 50 * time.Millisecond
)

// forwards reports whether this server sends anything on.
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

// lost reports whether a batch was refused because this member does not lead any more, so that it may run elsewhere.
func (r *round) lost(err error) bool {
	if !r.srv.forwards() || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) || notRun(err) != errReadOnly {
		return false
	}
	r.seq, r.conn.bound = nil, true // what was read here must not be unseen
	return true
}

// forward runs the job at i, and those behind it that go the same way, at the leader. It returns the index of the first job that
// was not executed. It may be that one: this member leads by now.
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
		if err != nil {
			r.lastRefusal = err
			continue
		}
		if exec && c.watchLost() {
			return i // the session that watched is gone: once more from the top
		}
		next, again := r.converse(u, i, r.burst(i))
		if next > i || !again || c.closing || r.out.over {
			return next
		}
		if exec && c.watchLost() {
			return i // once more from the top
		}
		p.renew()
	}
	return i
}

// answer writes one reply by f.
func (r *round) answer(j *job, f func()) {
	at := len(r.out.buf)
	r.silent = silence{}
	r.begin(j)
	f()
	r.finish(at, markKeep)
}

// burst returns the end of the jobs from i on that go to the leader at once.
func (r *round) burst(i int) int {
	end, size := i+1, argBytes(r.jobs[i].args)
	if alone(r.jobs[i].cmd) || r.silent.addr != "" { // what comes after it may be why there was no answer
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

// alone reports whether a command is sent by itself: what comes after it depends on its reply, or waits for it.
func alone(cmd *command) bool {
	return cmd == nil || cmd.name == "exec" || cmd.name == "watch" || cmd.isWait()
}

// converse sends jobs i..end and takes their replies. next is the first one not executed; again says that it may be tried once
// more.
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
	sent := u.send(r.sent)
	defer sent()
	r.srv.stats.forwarded.Add(uint64(end - i))
	for k := i; k < end; k++ {
		j, at := &r.jobs[k], len(r.out.buf)
		r.begin(j)
		ran, err := r.takeReply(u, j)
		switch {
		case err != nil:
			r.out.rewind(at)
			r.conn.disconnect()
			switch n, sendErr := sent(); {
			case gone() && r.srv.blockCtx.Err() == nil: // else it is asked again, and does not wait
				r.answer(j, func() { r.out.fail(codeTryAgain + " the wait was ended") })
				r.conn.closing = true
				return k + 1, false
			case n == 0 && sendErr != nil: // nothing was sent
				r.lastRefusal = sendErr
				return i, true
			}
			return r.unanswered(u, k, end, err)
		case !ran:
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
			r.renew(u) // the client may have taken its time
		}
		if r.conn.closing {
			return k + 1, false
		}
	}
	return end, false
}

// renew gives the leader at u all its time again, unless another one is known by now.
func (r *round) renew(u *upstream) {
	_ = u.nc.SetDeadline(r.srv.opt.Now().Add(r.srv.replyTimeout()))
	if _, leader := r.srv.backend.Place(); leader != "" {
		r.conn.leaveUpstream(leader) // who told of it may have done so just before
	}
}

// encode appends what is sent for a job: EXEC takes with it what was queued here. While this member stops, nothing is waited for.
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

// withoutWaiting returns the arguments of a WAIT or WAITAOF that is answered at once. What is no timeout stays, for the error that it is.
func withoutWaiting(args [][]byte) [][]byte {
	last := len(args) - 1
	if ms, ok := parseInt(args[last]); !ok || ms < 0 {
		return args
	}
	return append(slices.Clone(args[:last]), []byte("1"))
}

// takeReply appends the reply to j, as its client is to get it. ran is false when the leader says that nothing was run.
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

// errorAt is the text of the error reply at at; empty where it is none.
func (r *round) errorAt(at int) string {
	if at >= len(r.out.buf) || r.out.buf[at] != '-' {
		return ""
	}
	text, _, _ := strings.Cut(string(r.out.buf[at+1:]), "\r\n")
	return text
}

// codeAt is the code of the error reply at at; empty where it is none.
func (r *round) codeAt(at int) []byte {
	code, _, _ := strings.Cut(r.errorAt(at), " ")
	return []byte(code)
}

// took accounts for a reply of the leader's, and for what it means here.
func (r *round) took(j *job, at int) {
	c := r.conn
	r.begin(j)
	wrote := j.cmd.has(flagWrite)
	c.wroteElsewhere = true
	r.silent = silence{}
	switch j.cmd.name {
	case "watch":
		if c.watchesUp == nil {
			c.watchesUp = c.up // else what was watched over an earlier one is lost, and stays so until EXEC says it
		}
	case "exec":
		wrote = c.multi.writes
		c.watchesUp = nil // EXEC forgets
		c.discard()
	}
	if text := r.errorAt(at); text != "" && r.tookError(text) {
		r.refused++
	} else {
		r.wrote = r.wrote || wrote
	}
	r.finish(at, markKeep)
}

// tookError accounts for an error that the leader replied, and tells whether it ran nothing.
func (r *round) tookError(text string) (refused bool) {
	r.out.errors++
	r.out.last, _, _ = strings.Cut(text, " ")
	cause := strings.TrimPrefix(text, execAborted(""))
	if strings.HasPrefix(cause, codeNoReplicas) || strings.HasPrefix(cause, aloneMayNotRead) {
		r.goAstray()
	}
	switch r.out.last {
	case codeUnknown:
		r.conn.closing = true // as the leader does
		r.srv.stats.unknown.Add(1)
	case codeNoReplicas, codeFull, codeMasterDown, codeTryAgain, codeExecAbort:
		return true
	}
	return false
}

// unanswered: the connection broke before jobs k..end were answered. If none of them writes, they are asked again, though not for ever.
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

// Deposed notes that this member leads no more: nothing that is watched here can be told to be unchanged. Connections go on, and
// what they ask for is forwarded; without forwarding they are cut. To be called after the sequencer was closed and before it is
// opened again.
func (s *Server) Deposed(reason string) {
	if !s.forwards() {
		s.Cut(reason)
		return
	}
	s.watches.touchAll(func([]byte) bool { return true })
	s.opt.Log.Info("forwarding what clients ask for", "reason", reason, "clients", s.clients.count())
}

// LeaderMoved notes where the leader is now, "" when that is not known.
func (s *Server) LeaderMoved(addr string) {
	if addr == "" {
		return // whoever was deposed says so
	}
	for _, c := range s.clients.all() {
		c.leaveUpstream(addr)
	}
}
