package resp

import "syscall"

// What a connection does for its loop, and between loop and goroutine.

// took is what conn.take has found.
type took uint8

const (
	tookNothing took = iota
	tookInput
	tookEnd // or an error: whoever reads next meets it
)

// take takes in what has arrived, without waiting; for the loop.
func (c *conn) take() took {
	before := len(c.parser.buf)
	c.readErr, c.taken = nil, false
	err := c.raw.Control(c.onTake)
	switch {
	case err != nil || c.readErr != nil && len(c.parser.buf) == before:
		return tookEnd
	case !c.taken:
		return tookNothing
	}
	// There may be more than was taken, of which nobody tells again.
	c.input = c.readErr != nil || len(c.parser.buf) >= maxBuffered || c.parser.stuffed()
	return tookInput
}

// trySend is flush for the loop: false when the socket does not take all of it at once. What it has not taken is left in r.
func (c *conn) trySend(r *round) bool {
	c.srv.stats.round(r)
	if len(r.out.buf) == 0 {
		return true
	}
	if rest, err := c.sendAtOnce(r.out.buf); err != nil || len(rest) > 0 {
		r.out.buf = append(r.out.buf[:0], rest...)
		return false
	}
	r.out.buf = r.out.buf[:0]
	c.repay()
	return true
}

func (c *conn) sendNow(fd uintptr) {
	for {
		n, err := syscall.Write(int(fd), c.sending)
		if err == syscall.EINTR {
			continue
		}
		c.sent, c.sendErr = max(n, 0), err
		return
	}
}

// resume goes on with r, and then with what comes; nil: with what comes. It runs in a goroutine that c has now.
func (c *conn) resume(r *round) {
	c.simple, c.idle = false, false
	if r != nil {
		c.busy.Store(true)
		err := c.proceed(r)
		c.busy.Store(false)
		if err != nil || c.closing {
			c.end()
			return
		}
	}
	c.serve()
}

// mayPark tells whether the loop may take c: all is answered, and what it said last was simple or is long ago.
func (c *conn) mayPark() bool {
	if c.loop == nil || !c.idle && (!c.simple || c.warm < warmEnough) {
		return false
	}
	c.parser.rest()
	return c.parser.buf == nil
}

// nudge has c's goroutine leave c to the loop if it waits for input: an idle connection costs no goroutine then, whatever it did last.
// It is called from anywhere, and at any other time it only costs c a detour.
func (c *conn) nudge() { _ = c.nc.SetReadDeadline(longAgo) } // fails only on a closed socket, which is as good

// disturbed tells whether something has happened that c's goroutine is to see.
func (c *conn) disturbed() bool { return c.cut.Load() || c.killed.Load() || c.srv.stopping.Load() }
