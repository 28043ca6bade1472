package resp

import (
	"syscall"
	"time"
)

// Most client libraries write a whole pipeline before they read the first reply. If a client does not take its replies, the server keeps
// them, and executes what the client goes on to send all the same: if the server stopped reading instead, it and its client would wait
// for each other forever. But nothing is executed whose replies could not be kept: once there are too many, the server waits for the
// client to take them.

// unsent holds the replies that a client has not taken yet, in order.
type unsent struct {
	pieces [][]byte
	at     int           // bytes of the first piece that were sent
	size   int           // bytes not sent yet
	took   int           // bytes of memory in use
	have   int           // of those, the bytes covered by parts
	parts  []*part       // of Server.replies
	owed   int           // bytes that the client has to take before its stall timeout starts anew
	pause  time.Duration // length of the last wait for the client
}

const (
	// sendPatience is how long the server waits for a client to take its replies before it keeps the rest.
	sendPatience = 20 * time.Millisecond
	// While replies are kept, exchange alternates between looking for input and waiting for the client to take replies. Each such wait
	// takes between leastPause and mostPause.
	leastPause = time.Millisecond
	mostPause  = 50 * time.Millisecond
)

// deliver sends b, or keeps what the client does not take. If took is true, b itself is kept, and the caller must not reuse it.
func (c *conn) deliver(b []byte) (took bool, err error) {
	if c.raw == nil {
		return false, c.send(b)
	}
	if err := c.sendKept(); err != nil {
		return false, err
	}
	if c.unsent == nil {
		if b, err = c.sendAtOnce(b); err == nil && len(b) > 0 {
			b, err = c.sendWithin(b, sendPatience)
		}
		if err != nil || len(b) == 0 {
			return false, err
		}
	}
	if took, kept := c.keep(b); kept {
		return took, nil
	}
	if err := c.drain(); err != nil {
		return false, err
	}
	return false, c.send(b)
}

// sendAtOnce sends what the socket takes without waiting, and returns the rest.
func (c *conn) sendAtOnce(b []byte) (rest []byte, err error) {
	c.sending, c.sent, c.sendErr = b, 0, nil
	err = c.raw.Control(c.onSend)
	c.sending = nil
	c.srv.stats.sent.Add(uint64(c.sent))
	if err == nil && c.sendErr != syscall.EAGAIN {
		err = c.sendErr
	}
	return b[c.sent:], err
}

// sendWithin sends what the client takes within d, and returns the rest.
func (c *conn) sendWithin(b []byte, d time.Duration) (rest []byte, err error) {
	if err := c.nc.SetWriteDeadline(time.Now().Add(d)); err != nil {
		return b, err
	}
	n, err := c.nc.Write(b)
	c.srv.stats.sent.Add(uint64(n))
	if isTimeout(err) {
		err = nil
	}
	if err == nil {
		err = c.nc.SetWriteDeadline(time.Time{})
	}
	return b[n:], err
}

// keep keeps b, and reports in kept whether it could: it does not exceed the output limit or the memory for replies. If took is true, b
// itself is kept, and the caller must not reuse it; otherwise b was copied.
func (c *conn) keep(b []byte) (took, kept bool) {
	u := c.unsent
	if u == nil {
		u = new(unsent)
	}
	if limit := c.srv.maxOutput.Load(); limit > 0 && int64(u.size+len(b)) > limit {
		return false, false
	}
	last := len(u.pieces) - 1
	switch {
	case last >= 0 && len(b) <= cap(u.pieces[last])-len(u.pieces[last]):
		u.pieces[last] = append(u.pieces[last], b...)
	case len(b) > largeBuffer:
		if !c.afford(u, cap(b)) {
			return false, false
		}
		u.pieces, took = append(u.pieces, b), true
	default:
		if !c.afford(u, largeBuffer) {
			return false, false
		}
		u.pieces = append(u.pieces, append(takeBuffer(largeBuffer), b...))
	}
	u.size += len(b)
	c.unsent = u
	return took, true
}

// afford takes n bytes of memory for u, and reports whether it could. One pooled buffer is free; beyond that it takes only what nobody else
// needs.
func (c *conn) afford(u *unsent, n int) bool {
	if want := u.took + n - largeBuffer - u.have; want > 0 && c.srv.replies.size > 0 {
		p := c.srv.replies.spare(want, c)
		if p == nil {
			return false
		}
		u.parts = append(u.parts, p)
		u.have += want
	}
	u.took += n
	return true
}

// spare is try for memory that the caller can do without: it leaves half of the ration to others.
func (r *ration) spare(n int, who any) *part {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.queue) > 0 || r.used+r.lent+n > r.size/2 {
		return nil
	}
	p := &part{n: n, who: who, got: make(chan struct{})}
	r.hand(p)
	return p
}

// first returns the bytes to be sent next.
func (u *unsent) first() []byte { return u.pieces[0][u.at:] }

// tookSome records that the client took n bytes of what is kept.
func (c *conn) tookSome(n int) {
	u := c.unsent
	u.at += n
	u.size -= n
	u.owed -= n
	c.active.Store(c.srv.uptime())
	if u.at == len(u.pieces[0]) {
		u.took -= cap(u.pieces[0])
		giveBuffer(u.pieces[0])
		u.pieces, u.at = u.pieces[1:], 0
	}
	if u.size == 0 {
		c.forgetUnsent()
	} else if u.owed <= 0 {
		c.writing.Store(0)
	}
}

// forgetUnsent drops what is kept, and gives back its memory.
func (c *conn) forgetUnsent() {
	if c.unsent == nil {
		return
	}
	c.writing.Store(0)
	for _, p := range c.unsent.parts {
		c.srv.replies.give(p)
	}
	c.unsent = nil
}

// sendKept sends what is kept, as far as that is possible without waiting.
func (c *conn) sendKept() error {
	for c.unsent != nil {
		piece := c.unsent.first()
		rest, err := c.sendAtOnce(piece)
		if err != nil {
			c.forgetUnsent()
			return err
		}
		c.tookSome(len(piece) - len(rest))
		if len(rest) > 0 {
			break
		}
	}
	return nil
}

// drain sends everything that is kept, however long that takes.
func (c *conn) drain() error {
	for c.unsent != nil {
		piece := c.unsent.first()
		if err := c.send(piece); err != nil {
			c.forgetUnsent()
			return err
		}
		c.tookSome(len(piece))
	}
	return nil
}

// exchange serves a client that has not taken all its replies. It reads what the client sends, and reports whether there was anything. If
// not, it waits a moment for the client to take some replies; if sending fails, it drops them, and the next read reports the error. A client
// that neither sends nor takes enough within Options.StallTimeout is cut off.
func (c *conn) exchange() (arrived bool) {
	if c.sendKept() != nil || c.unsent == nil {
		return false
	}
	u := c.unsent
	if c.writing.Load() == 0 {
		c.writing.Store(max(1, c.srv.uptime()))
		u.owed = min(u.size, sentAtOnce)
	}
	if c.mayFill() && c.fillRest() {
		c.writing.Store(0)
		u.pause = 0
		return true
	}
	u.pause = min(max(2*u.pause, leastPause), mostPause)
	piece := u.first()
	rest, err := c.sendWithin(piece, u.pause)
	if err != nil {
		c.forgetUnsent()
		return false
	}
	if n := len(piece) - len(rest); n > 0 {
		u.pause = 0
		c.tookSome(n)
	}
	return false
}
