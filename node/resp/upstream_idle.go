package resp

import "time"

// defaultUpstreamRest is how long a client may be silent before this member closes the connection to the leader that it has
// opened for it. The leader counts such connections against its maxclients. Without this bound, idle clients of other
// members would use up what the leader has for its own clients.
const defaultUpstreamRest = time.Minute

// dismissible reports whether c has an upstream, and was not dismissed yet. Any goroutine may call it.
func (c *conn) dismissible() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.up != nil && !c.dismissed.Load()
}

// dismiss makes c close its upstream, unless the client watches keys over it. Any goroutine may call it. If a command
// arrives at the same time, it opens a new upstream.
func (c *conn) dismiss() {
	c.dismissed.Store(true)
	if c.parked.Load() {
		c.loop.release(c)
	} else {
		c.nudge()
	}
}

// retires reports whether c was dismissed since the upstream was last used, and can do without it.
func (c *conn) retires() bool {
	return c.dismissed.Load() && c.up != nil && c.watchesUp == nil && !c.up.untold
}

// retire closes the upstream if c retires.
func (c *conn) retire() {
	if c.retires() {
		c.disconnect()
		c.dismissed.Store(false)
	}
}
