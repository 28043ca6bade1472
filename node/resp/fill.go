package resp

import (
	"errors"
	"io"
	"syscall"
	"time"
)

// maxBuffered is how much input is taken in before it is executed; a longer pipeline becomes several rounds.
const maxBuffered = largeBuffer

var errRequestTooLong = errors.New("request exceeds client-query-buffer-limit")

// fill waits for input and takes in what has arrived. While it waits, an idle connection holds no buffer: the socket is
// waited for first, and a buffer taken only once there is something to read. That it begins with reading what may not be there is
// needed: a client's end that arrived together with what it said is told to nobody who only waits.
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

// fillRest takes in what has arrived, without waiting, and tells whether that is anything. To close a socket with unread input resets
// the connection, and its client could not know whether that input was executed.
func (c *conn) fillRest() bool {
	if c.raw == nil {
		return false
	}
	before := len(c.parser.buf)
	c.readErr = nil
	err := c.raw.Control(func(fd uintptr) { c.ready(fd) })
	return err == nil && c.readErr == nil && len(c.parser.buf) > before
}

// lastWait is how long a connection that is to be closed is given to say something once more. A client learns of the end together
// with the reply then, and before it says the next thing; ended while it waited, it may be saying that just now, and could not know
// what became of it. It is long enough for clients on a machine that stands still for a moment, as busy ones do.
const lastWait = 500 * time.Millisecond

// awaitLast waits for input once more, and tells whether there is any.
func (c *conn) awaitLast() bool {
	if c.raw == nil {
		return false
	}
	for end := time.Now().Add(lastWait); !c.cut.Load() && !c.killed.Load() && time.Now().Before(end); {
		if c.nc.SetReadDeadline(end) != nil {
			return false
		}
		c.readErr = nil
		if err := c.raw.Read(c.onReady); err == nil || !isTimeout(err) {
			return err == nil && c.readErr == nil
		} // a nudge, or the interrupt that told of the stop, came late
	}
	return false
}

// cork keeps what is sent from leaving before shut tells of the end, so that both arrive at once: who looks whether its connection has ended
// before it says the next thing, as client libraries do, would miss an end that comes a moment later.
func (c *conn) cork() {
	if c.raw != nil {
		_ = c.raw.Control(holdBack) // without, the end comes a moment later
	}
}

// shut tells the client that it was told its last; false when the connection can not do that.
func (c *conn) shut() bool {
	half, ok := c.nc.(interface{ CloseWrite() error })
	return ok && half.CloseWrite() == nil
}

// linger takes in what a client that was told of the end still says, unread, for a moment: a connection that is closed at once would be
// reset by that, and what is on its way to the client lost.
func (c *conn) linger() {
	if c.nc.SetReadDeadline(time.Now().Add(lastWait)) != nil {
		return
	}
	_, _ = io.Copy(io.Discard, c.nc) // it ends with the client's end, or in time
}

// ready reads from a socket that may have data. It reports whether the wait is over.
func (c *conn) ready(fd uintptr) bool {
	p := &c.parser
	got := 0
	for {
		if got > 0 && p.stuffed() {
			return true // what is there may unlock it
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

// fillPlain is for connections that are no sockets.
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

// makeRoom makes sure that something can be read. A buffer grows with what has arrived, not with what was announced, but for the rest
// of an argument of which a ninth is there: it would be there twice, and as much left to the garbage collector.
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

// stuffed tells that no more may be taken in before what is there was looked at.
func (p *parser) stuffed() bool { return p.locked && len(p.buf) > 0 && len(p.buf) == cap(p.buf) }

// rest makes room in the buffer, or gives it back when nothing is left in it.
func (p *parser) rest() {
	if p.compact(); len(p.buf) == 0 {
		p.release()
	}
}

// release gives the buffer back. What is in it is lost.
func (p *parser) release() {
	giveBuffer(p.buf)
	p.buf, p.start, p.pos = nil, 0, 0
	p.inline = nil // rare: people type inline commands, programs do not
	if cap(p.spans) > 16 {
		p.spans = nil
	}
}
