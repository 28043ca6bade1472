package resp

import (
	"context"
	"errors"
	"math"
	"time"
)

// timeout returns argument i as milliseconds; 0 means no limit. False: an error was answered.
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

// isWait reports whether the command waits for acknowledgements.
func (c *command) isWait() bool { return c.name == "wait" || c.name == "waitaof" }

// wait answers how many followers hold everything this connection wrote, durably. Redis counts in memory; here a
// follower acknowledges after fsync, and a write was answered only once the store's own rule was met.
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

// waitaof (Redis 7.2) is WAIT with the local fsync counted separately.
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

// acknowledged waits until `want` followers (and this member, if local) hold the connection's newest write, the time is
// over (0: none), the client is gone, or the server stops. Inside a transaction it does not wait.
func (c *call) acknowledged(local bool, want int64, timeout time.Duration) (bool, int) {
	b, p := c.srv.backend, c.conn.written
	if c.conn.wroteElsewhere { // a leader has applied all of that
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

// errWouldWait is the fault of a hasty call that has to wait: it was not run.
var errWouldWait = errors.New("it would have to wait")

// blocking returns a context that ends after timeout (0: never), when the server stops, when the connection is killed, or
// when the client hangs up.
func (c *call) blocking(timeout time.Duration) (context.Context, func()) {
	if timeout == 0 {
		timeout = math.MaxInt64
	}
	ctx, cancel := context.WithTimeout(c.srv.blockCtx, timeout)
	c.conn.setWake(cancel)
	if c.conn.killed.Load() || c.conn.cut.Load() {
		cancel() // it was done just before wake was set
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

// tellSoFar sends the replies to what came before a command that may wait for long.
func (r *round) tellSoFar() {
	if r.flush() != nil || r.conn.drain() != nil {
		r.conn.closing = true
	}
}

// waitElsewhere makes a wait at the leader end when the client hangs up or the server stops, as it would here; gone tells whether it
// did. Other commands have their reply's time-out.
func (r *round) waitElsewhere(u *upstream, j *job) (gone func() bool, done func()) {
	if !j.cmd.isWait() {
		return func() bool { return false }, func() {}
	}
	r.tellSoFar()
	ctx, end := r.call.blocking(0)
	_ = u.nc.SetDeadline(r.waitDeadline(j))
	if _, leader := r.srv.backend.Place(); leader != "" {
		r.conn.leaveUpstream(leader) // whoever told of another one may have done so just before
	}
	stop := context.AfterFunc(ctx, func() { _ = u.nc.SetDeadline(time.Unix(1, 0)) })
	return func() bool { return ctx.Err() != nil }, func() {
		if !stop() {
			r.conn.disconnect() // the deadline may come at any time
		}
		end()
	}
}

// waitDeadline is when the leader has answered a wait at the latest; zero: it may take for ever.
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

// maxWait is what a longer wait is as good as.
const maxWait = 365 * 24 * time.Hour

// hangupCheck is how often a blocked connection is looked at for its client having gone.
const hangupCheck = time.Second

// watchHangup calls gone once the peer has closed the connection, until ctx ends. What the client sends meanwhile stays for later.
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
