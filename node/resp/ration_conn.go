package resp

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"math"
	"sync"
	"time"
)

// This file holds the connections' side of the server's rations.

// mayFill waits until there is memory for the missing rest of a long request. It returns false if something happened that
// ends the wait for input.
func (c *conn) mayFill() bool {
	want, have := c.parser.wants(), 0
	for _, p := range c.parts {
		have += p.n
	}
	if want <= have || c.srv.ration.size == 0 {
		return true
	}
	p, _ := c.await(&c.srv.ration, want-have, 0)
	if p == nil {
		return false
	}
	c.parts = append(c.parts, p)
	return true
}

// await waits for n bytes of r, for at most limit (0: no limit). It returns nil if the limit has passed (late is then
// true) or if something happened that ends the wait. If the client hangs up in the meantime, await kills the connection.
func (c *conn) await(r *ration, n int, limit time.Duration) (p *part, late bool) {
	if p := r.try(n, c); p != nil {
		return p, false
	}
	c.queued.Store(true)
	defer c.queued.Store(false)
	asked := time.Now()
	defer func() { // it was not the client that was silent, or slow
		c.srv.ration.excuse(c, time.Since(asked))
		c.touch()
	}()
	if c.writing.Swap(0) != 0 { // nothing is sent in the meantime
		defer func() { c.writing.Store(max(1, c.srv.uptime())) }()
	}
	ctx, cancel := context.WithTimeout(c.srv.blockCtx, cmp.Or(limit, math.MaxInt64))
	defer cancel()
	c.setWake(cancel)
	defer c.setWake(nil)
	if c.disturbed() {
		cancel() // it may have happened just before wake was set
	}
	var watching sync.WaitGroup
	watching.Go(func() { c.watchHangup(ctx, func() { c.kill("the client hung up while waiting for its turn") }) })
	defer watching.Wait()
	defer cancel() // runs before watching.Wait
	p = r.take(ctx, n, c)
	return p, p == nil && errors.Is(ctx.Err(), context.DeadlineExceeded)
}

// kept holds the parts of Server.ration for data that a connection keeps between commands or is working on.
type kept struct {
	parts []*part
	have  int // bytes that were waited for
}

// await waits until there is memory for bytes bytes in total, or until something happens that ends the wait. Data up to
// the size of the largest pooled buffer needs none; larger data takes turns with long requests.
func (k *kept) await(c *conn, bytes int) {
	if bytes <= largeBuffer || bytes <= k.have || c.srv.ration.size == 0 {
		return
	}
	c.hold(false) // others may wait for the memory that this request takes
	defer c.hold(true)
	n := max(bytes-k.have, largeBuffer)
	if p, _ := c.await(&c.srv.ration, n, 0); p != nil {
		k.parts = append(k.parts, p)
	}
	k.have += n
}

func (k *kept) add(p *part) {
	k.parts = append(k.parts, p)
	k.have += p.n
}

func (k *kept) give(c *conn) {
	for _, p := range k.parts {
		c.srv.ration.give(p)
	}
	*k = kept{}
}

// slim gives back the memory of a long request that is done.
func (c *conn) slim() {
	c.toWrite.give(c)
	p := &c.parser
	if len(p.buf) >= largeBuffer {
		c.hold(false)
		return
	}
	if cap(p.buf) > largeBuffer {
		p.buf = append(takeBuffer(len(p.buf)), p.buf...)
	}
	for _, p := range c.parts {
		c.srv.ration.give(p)
	}
	c.parts = nil
}

// shed gives back the memory of the commands before the next one, which may wait for a long time, unless what follows is
// long as well. Everything before the next command must be settled.
func (r *round) shed() {
	c, size := r.conn, 0
	for _, j := range r.jobs[r.next:] {
		size += argBytes(j.args)
	}
	if len(c.parts) == 0 || size > largeBuffer {
		return
	}
	for i, j := range r.jobs {
		for k, arg := range j.args {
			if j.args[k] = nil; i >= r.next {
				j.args[k] = bytes.Clone(arg) // the buffer that it points into is given back
			}
		}
	}
	c.parser.compact()
	c.slim()
}

// hold sets whether the parts that c has for its request are held, as they are while the request is being executed.
func (c *conn) hold(executing bool) {
	for _, parts := range [][]*part{c.parts, c.toWrite.parts} {
		if len(parts) > 0 {
			c.srv.ration.hold(parts, executing)
		}
	}
}

// wants returns the size to which the buffer has to grow next, in bytes, or 0 if a pooled buffer is enough for now.
func (p *parser) wants() int {
	if len(p.buf) < cap(p.buf) || cap(p.buf) < largeBuffer {
		return 0
	}
	if need := p.missing(); need > 0 {
		return len(p.buf) + need
	}
	return 2 * cap(p.buf)
}
