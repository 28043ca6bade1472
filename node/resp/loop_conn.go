package resp

import "syscall"

// This file holds the methods of a connection that its loop calls, and those that move it between loop and goroutine.

// took is the result of conn.take.
type took uint8

const (
	tookNothing took = iota
	tookInput
	tookEnd // end of input or an error; the next read reports it
)

// take reads what has arrived, without waiting. Only the loop calls it.
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
	// There may be more than was read, and the poller will not report it again.
	c.input = c.readErr != nil || len(c.parser.buf) >= maxBuffered || c.parser.stuffed()
	return tookInput
}

// trySend is flush for the loop. It returns false if the socket does not take everything at once, and leaves the rest in r.
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

// resume is the body of the goroutine that a handed-over connection gets. It continues r, unless that is nil, and then serves c.
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

// mayPark reports whether the loop may take c: nothing is buffered, and either c is idle, or its last pipeline was simple and it is warm.
func (c *conn) mayPark() bool {
	if c.loop == nil || !c.idle && (!c.simple || c.warm < warmEnough) {
		return false
	}
	c.parser.rest()
	return c.parser.buf == nil
}

// nudge makes c's goroutine hand c to the loop if it is waiting for input, so that an idle connection costs no goroutine, whatever it
// did last. Any goroutine may call it. If c's goroutine is not waiting, nudge only costs it one needless iteration.
func (c *conn) nudge() { _ = c.nc.SetReadDeadline(longAgo) } // fails only on a closed socket, which ends the wait as well

// disturbed reports whether something has happened that c's goroutine has to see.
func (c *conn) disturbed() bool { return c.cut.Load() || c.killed.Load() || c.srv.stopping.Load() }
