package resp

import (
	"context"
	"errors"
	"math"
	"time"
)

// timeout returns argument i, which is in milliseconds; 0 means no limit. It returns false if it answered with an error.
func (c *call) timeout(i int) (time.Duration, bool) {
	ms, ok := parseInt(c.args[i])
	switch {
	case !ok:
		c.w.fail("ERR timeout is not an integer or out of range")
	case ms < 0:
		c.w.fail("ERR timeout is negative")
	default:
		return time.Duration(min(ms, math.MaxInt64/int64(time.Millisecond))) * time.Millisecond, true
	}
	return 0, false
}

// isWait reports whether the command waits for acknowledgements of followers.
func (c *command) isWait() bool { return c.name == "wait" || c.name == "waitaof" }

// isLast reports whether a loop executes the command only as the last one of a pipeline.
func (c *command) isLast() bool { return c.isWait() || c.name == shownCommand }

// wait answers with the number of followers that durably hold everything this connection wrote. Redis counts replicas that hold it in
// memory. Here a follower acknowledges after fsync, and a write was answered only once the store's own commit rule was met.
func wait(c *call) {
	if c.srv.backend.Sequencer() == nil {
		c.w.fail(errWaitOnFollow)
		return
	}
	want, ok := c.intArg(1)
	if !ok {
		return
	}
	timeout, ok := c.timeout(2)
	if !ok {
		return
	}
	_, followers := c.acknowledged(false, want, timeout)
	c.w.integer(int64(followers))
}

// waitaof (Redis 7.2) is WAIT with the local fsync reported separately.
func waitaof(c *call) {
	local, ok := parseInt(c.args[1])
	if !ok || local < 0 || local > 1 {
		c.w.fail("ERR value is out of range, value must between 0 and 1")
		return
	}
	want, ok := parseInt(c.args[2])
	if !ok || want < 0 {
		c.w.fail("ERR value is out of range, must be positive")
		return
	}
	timeout, ok := c.timeout(3)
	if !ok {
		return
	}
	if c.srv.backend.Sequencer() == nil {
		c.w.fail("ERR WAITAOF cannot be used with replica instances. Please also note that writes to replicas are just local and are not propagated.")
		return
	}
	here, followers := c.acknowledged(local == 1, want, timeout)
	c.w.array(2)
	c.w.flag(here)
	c.w.integer(int64(followers))
}

// acknowledged waits until want followers (and this member, if local is set) hold the connection's newest write, the timeout has passed
// (0: none), the client is gone, or the server stops. It returns what Backend.Acknowledged does. Inside a transaction it does not wait.
func (c *call) acknowledged(local bool, want int64, timeout time.Duration) (bool, int) {
	b, p := c.srv.backend, c.conn.written
	if c.conn.wroteElsewhere { // a leader has applied everything that was committed elsewhere
		if m := b.Machine(); m != nil {
			p = max(p, m.Applied().Position)
		}
	}
	here, followers := b.Acknowledged(p)
	if c.inExec || (int64(followers) >= want && (here || !local)) {
		return here, followers
	}
	if c.cold = true; c.hasty {
		c.fault = errWouldWait
		return here, followers
	}
	ctx, done := c.blocking(timeout)
	defer done()
	return b.WaitAcknowledged(ctx, p, local, int(min(want, math.MaxInt32)))
}

// errWouldWait is the fault of a hasty call that would have to wait. The command was not run.
var errWouldWait = errors.New("it would have to wait")

// blocking returns a context that ends after timeout (0: never), when the server stops, when the connection is killed or cut, or when the
// client hangs up. The caller must call the returned function when it is done.
func (c *call) blocking(timeout time.Duration) (context.Context, func()) {
	if timeout == 0 {
		timeout = math.MaxInt64
	}
	ctx, cancel := context.WithTimeout(c.srv.blockCtx, timeout)
	c.conn.touch()
	c.conn.setWake(cancel)
	if c.conn.killed.Load() || c.conn.cut.Load() {
		cancel() // it may have happened just before wake was set
	}
	watching := make(chan struct{})
	go func() {
		defer close(watching)
		c.conn.watchHangup(ctx, cancel)
	}()
	return ctx, func() {
		c.conn.setWake(nil)
		cancel()
		<-watching
	}
}

// tellSoFar sends the replies to the commands before one that may wait for long. The memory that the connection has for its request no
// longer holds up others from here on.
func (r *round) tellSoFar() {
	r.conn.hold(false)
	if r.flush() != nil || r.conn.drain() != nil {
		r.conn.closing = true
	}
}

// waitElsewhere prepares for forwarding j if it is a WAIT or WAITAOF: the wait at the leader then ends when the client hangs up or the
// server stops, as it would here, and gone reports whether that has happened. The caller must call done afterwards. For other commands,
// which have the reply timeout, waitElsewhere does nothing.
func (r *round) waitElsewhere(u *upstream, j *job) (gone func() bool, done func()) {
	if !j.cmd.isWait() {
		return func() bool { return false }, func() {}
	}
	r.tellSoFar()
	r.shed()
	ctx, end := r.call.blocking(0)
	_ = u.nc.SetDeadline(r.waitDeadline(j))
	if _, leader := r.srv.backend.Place(); leader != "" {
		r.conn.leaveUpstream(leader) // LeaderMoved may have been called just before the deadline was set
	}
	stop := context.AfterFunc(ctx, func() { _ = u.nc.SetDeadline(time.Unix(1, 0)) })
	return func() bool { return ctx.Err() != nil }, func() {
		if !stop() {
			r.conn.disconnect() // the deadline in the past may be set at any time
		}
		end()
	}
}

// waitDeadline returns the time by which the leader must have answered j, a WAIT or WAITAOF. It is zero if that may take forever.
func (r *round) waitDeadline(j *job) time.Time {
	ms, ok := int64(0), len(j.args) > 2
	if ok {
		ms, ok = parseInt(j.args[len(j.args)-1])
	}
	limit := time.Duration(min(max(ms, 0), int64(maxWait/time.Millisecond))) * time.Millisecond
	if ok && ms == 0 {
		return time.Time{}
	}
	return r.srv.opt.Now().Add(limit + r.srv.replyTimeout())
}

// maxWait caps the timeout of a forwarded wait, so that computing its deadline does not overflow.
const maxWait = 365 * 24 * time.Hour

// hangupCheck is how often watchHangup checks whether the client of a blocked connection is gone.
const hangupCheck = time.Second

// watchHangup calls gone, once, if the client closes the connection before ctx ends. It reads nothing: what the client sends in the
// meantime stays in the socket.
func (c *conn) watchHangup(ctx context.Context, gone func()) {
	if c.raw == nil {
		return
	}
	tick := time.NewTicker(hangupCheck)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		closed := false
		err := c.raw.Control(func(fd uintptr) { closed = hungUp(fd) })
		if closed || err != nil {
			gone()
			return
		}
	}
}
