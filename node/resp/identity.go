package resp

import (
	"fmt"
	"strings"
)

func (c *conn) setName(name []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.name = string(name)
}

func (c *conn) nameOf() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.name
}

func (c *conn) setLibrary(isName bool, value string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if isName {
		c.libName = value
	} else {
		c.libVer = value
	}
}

func (c *conn) remote() string { return c.nc.RemoteAddr().String() }
func (c *conn) local() string  { return c.nc.LocalAddr().String() }

// describe returns the connection's line in CLIENT LIST. Fields about features that do not exist here (pub/sub, tracking) have the values
// of a client that does not use them. Buffer sizes are left out, because only the owner of the buffers may read them.
func (c *conn) describe() string {
	now := c.srv.opt.Now()
	last := "NULL"
	if cmd := c.last.Load(); cmd != nil {
		last = cmd.name
	}
	resp := 2
	if c.resp3.Load() {
		resp = 3
	}
	flags, queued := "N", c.inMulti.Load()-1
	if queued >= 0 {
		flags = "x"
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var b strings.Builder
	fmt.Fprintf(&b, "id=%d addr=%s laddr=%s %s name=%s age=%d idle=%d flags=%s db=0 sub=0 psub=0 ssub=0 multi=%d",
		c.id, c.remote(), c.local(), c.descriptor(), c.name, int64(now.Sub(c.created).Seconds()),
		max(0, c.srv.uptime()-c.active.Load())/1000, flags, queued)
	fmt.Fprintf(&b, " events=r cmd=%s user=default redir=-1 resp=%d lib-name=%s lib-ver=%s", last, resp, c.libName, c.libVer)
	return b.String()
}

// descriptor returns "fd=<n>", with -1 if there is no descriptor.
func (c *conn) descriptor() string {
	text := "fd=-1"
	if c.raw != nil {
		_ = c.raw.Control(func(fd uintptr) { text = fmt.Sprintf("fd=%d", fd) }) // a closed socket has none
	}
	return text
}
