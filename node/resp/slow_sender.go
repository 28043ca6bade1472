package resp

import (
	"syscall"
	"time"
)

// mostSilence is how long a client may be silent while its connection holds memory for an incomplete long request and
// others wait for memory. For a transaction or watched keys, it is the time without a command. It is long enough for a
// few lost packets in a row.
const mostSilence = 5 * time.Second

// cutOffIfSlow closes the connection that h belongs to, for which others wait, if its client is too slow. Otherwise clients
// that stop in the middle of a request would keep the memory for long requests from everybody else.
func (s *Server) cutOffIfSlow(h holding) {
	c, ok := h.who.(*conn)
	if !ok || !c.slow(h) {
		return
	}
	// h may be from before the connection gave back what it had, or from before a wait of it that has ended since, and that is excused
	// before slow sees its end.
	if now := s.ration.holdingOf(c); now.n > 0 && c.slow(now) {
		c.kill("other clients wait for the memory that its request takes")
	}
}

// slow reports whether the client is too slow to keep h, for which others wait. It counts everything that the connection
// has: a request of many arguments, or a transaction, takes one part after another. The time in which the connection
// itself waited for memory does not count.
func (c *conn) slow(h holding) bool {
	quiet, limit := time.Duration(c.srv.uptime()-c.active.Load())*time.Millisecond, c.srv.opt.StallTimeout
	switch {
	case c.queued.Load() || c.writing.Load() != 0:
		return false // it waits for others itself, or patrol takes care of it
	case c.busy.Load():
		return c.blocked() && quiet > limit
	case quiet > min(mostSilence, limit) && !c.unread():
		return true
	default: // it sends, but it must keep the pace demanded of clients that take replies
		return time.Since(h.since) > limit*time.Duration(1+h.n/sentAtOnce)
	}
}

// unread reports whether input has arrived that has not been read yet.
func (c *conn) unread() (some bool) {
	if c.raw == nil {
		return false
	}
	_ = c.raw.Control(func(fd uintptr) { // fails only once the connection is closed
		var b [1]byte
		n, _, _ := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		some = n > 0
	})
	return some
}
