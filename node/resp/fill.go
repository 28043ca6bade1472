package resp

import (
	"errors"
	"io"
	"syscall"
	"time"
)

// maxBuffered is how much input is read before it is executed, in bytes. A longer pipeline becomes several rounds.
const maxBuffered = largeBuffer

var errRequestTooLong = errors.New("request exceeds client-query-buffer-limit")

// fill waits for input and reads what has arrived. An idle connection holds no buffer while it waits: if a read finds nothing, ready gives
// the buffer back, and takes one again once the socket is readable. fill must start with a read, even though there may be nothing to
// read: if the end of the connection arrived together with earlier input, whoever only waits is not told of it.
func (c *conn) fill() error {
	if c.raw == nil {
		return c.fillPlain()
	}
	c.readErr = nil
	if err := c.raw.Read(c.onReady); err != nil {
		return err
	}
	return c.readErr
}

// fillRest reads what has arrived, without waiting, and reports whether there was anything. It is called before a connection is closed:
// closing a socket with unread input resets the connection, and the client could not know whether that input was executed.
func (c *conn) fillRest() bool {
	if c.raw == nil {
		return false
	}
	before := len(c.parser.buf)
	c.readErr = nil
	err := c.raw.Control(func(fd uintptr) { c.ready(fd) })
	return err == nil && c.readErr == nil && len(c.parser.buf) > before
}

// defaultLastWait is how long the server waits for another command before it closes a connection. If one arrives, the client learns of the
// end together with the reply, before it sends the next command. If the connection were closed while it is idle instead, the client might
// just be sending a command, and could not know what became of it. The wait is long enough for clients on a machine that stalls for a
// moment, as busy ones do.
const defaultLastWait = 500 * time.Millisecond

// lingerTime is how long linger discards input.
const lingerTime = 500 * time.Millisecond

// awaitLast waits for input for up to Server.lastWait, and reports whether there is any.
func (c *conn) awaitLast() bool {
	if c.raw == nil {
		return false
	}
	for end := time.Now().Add(time.Duration(c.srv.lastWait.Load())); !c.cut.Load() && !c.killed.Load(); {
		if !time.Now().Before(end) {
			return c.fillRest() // if the machine stalled, input may have arrived in time
		}
		if c.nc.SetReadDeadline(end) != nil {
			return false
		}
		c.readErr = nil
		if err := c.raw.Read(c.onReady); err == nil || !isTimeout(err) {
			return err == nil && c.readErr == nil
		} // before end, the timeout was from a nudge, or from the interrupt that announced the stop, that came late: wait on
	}
	return false
}

// cork makes the kernel hold back the last replies until shut closes the write side, so that both arrive at once. Client libraries check
// whether their connection has ended before they send the next command, and would miss an end that arrives a moment later.
func (c *conn) cork() {
	if c.raw != nil {
		_ = c.raw.Control(holdBack) // if this fails, the end arrives a moment later
	}
}

// shut closes the write side, which tells the client that no more replies will come. It returns false if the connection cannot do that.
func (c *conn) shut() bool {
	half, ok := c.nc.(interface{ CloseWrite() error })
	return ok && half.CloseWrite() == nil
}

// linger discards, for up to lingerTime, what a client that was told of the end still sends. If the connection were closed at once, further
// input would reset it, and replies that are still on their way would be lost.
func (c *conn) linger() {
	if c.nc.SetReadDeadline(time.Now().Add(lingerTime)) != nil {
		return
	}
	_, _ = io.Copy(io.Discard, c.nc) // ends when the client closes its side, or at the deadline
}

// ready reads from a socket that may have data. It reports whether the wait is over.
func (c *conn) ready(fd uintptr) bool {
	p := &c.parser
	got := 0
	for {
		if got > 0 && p.stuffed() {
			return true // the buffered input has to be executed first: it may unlock the connection
		}
		if c.readErr = p.makeRoom(); c.readErr != nil {
			return true
		}
		space := p.buf[len(p.buf):cap(p.buf)]
		n, err := syscall.Read(int(fd), space)
		switch {
		case err == syscall.EINTR:
			continue
		case err == syscall.EAGAIN:
			if got == 0 && len(p.buf) == 0 {
				p.release()
			}
			return got > 0
		case err != nil:
			c.readErr = err
			return true
		case n == 0:
			if got == 0 {
				c.readErr = io.EOF
			}
			return true
		}
		got += n
		c.srv.stats.received.Add(uint64(n))
		p.buf = p.buf[:len(p.buf)+n]
		if n < len(space) || len(p.buf) >= maxBuffered {
			return true
		}
	}
}

// fillPlain is fill for connections that are not sockets.
func (c *conn) fillPlain() error {
	p := &c.parser
	if err := p.makeRoom(); err != nil {
		return err
	}
	n, err := c.nc.Read(p.buf[len(p.buf):cap(p.buf)])
	p.buf = p.buf[:len(p.buf)+n]
	c.srv.stats.received.Add(uint64(n))
	if n > 0 {
		return nil
	}
	return err
}

// makeRoom makes sure that there is room in the buffer to read into. The buffer grows with what has arrived, not with what was announced.
// But once more than a ninth of an argument has arrived, the buffer grows to the argument's full size at once: further doubling would hold
// the argument twice in memory, and leave as much to the garbage collector.
func (p *parser) makeRoom() error {
	if len(p.buf) < cap(p.buf) {
		return nil
	}
	if p.pending() > p.limits.MaxRequest || p.stuffed() {
		return errRequestTooLong
	}
	size := max(2*cap(p.buf), smallBuffer)
	if need := p.missing(); need > 0 {
		if whole := len(p.buf) + need; size > whole || 9*len(p.buf) > whole {
			size = whole
		}
	}
	if size > smallBuffer && size <= largeBuffer {
		size = largeBuffer
	}
	p.buf = growBuffer(p.buf, size)
	return nil
}

// stuffed reports whether the buffer of a locked connection is full: no more may be read before its content was executed.
func (p *parser) stuffed() bool { return p.locked && len(p.buf) > 0 && len(p.buf) == cap(p.buf) }

// rest compacts the buffer, and gives it back if nothing is left in it.
func (p *parser) rest() {
	if p.compact(); len(p.buf) == 0 {
		p.release()
	}
}

// release gives the buffer back, with everything in it.
func (p *parser) release() {
	giveBuffer(p.buf)
	p.buf, p.start, p.pos = nil, 0, 0
	p.inline = nil // not worth keeping: inline commands come from people, not programs
	if cap(p.spans) > 16 {
		p.spans = nil
	}
}
