package resp

import (
	"context"
	"slices"
	"sync"
	"time"
)

// ration bounds the memory of what is longer than the largest pooled buffer: of requests, each of which is in memory several times before
// it is answered, and of replies. Many at once would take more than the process has. Who does not get his part yet is not read from, or
// not answered, meanwhile.
type ration struct {
	mu    sync.Mutex
	size  int // bytes; 0: no bound
	used  int
	lent  int     // by parts that count no more, and were not given back
	most  int     // of lent
	parts []*part // that were given, oldest first
	queue []*part // that are waited for, first come first served
}

// part of a ration.
type part struct {
	n    int
	own  int // what the same one has beside it
	lent bool
	got  chan struct{} // closed once it is given
	at   time.Time     // when that was
}

// rationPatience is for how long a part counts while others wait: who has it may be slow to send or to take a reply, and is not to hold up
// everybody. Of replies only so much may count no more that memory stays bounded: who takes nothing is cut off in the end.
const rationPatience = 2 * time.Second

// try is take for whoever does not wait: nil where that would have to be.
func (r *ration) try(n, own int) *part {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.queue) > 0 || !r.fits(n, own) {
		return nil
	}
	p := &part{n: n, own: own, got: make(chan struct{})}
	r.hand(p)
	return p
}

// take waits for n bytes beside own ones, and returns nil where ctx ended before. A part larger than all there is, is given while nobody
// else has one.
func (r *ration) take(ctx context.Context, n, own int) *part {
	p := &part{n: n, own: own, got: make(chan struct{})}
	r.mu.Lock()
	r.queue = append(r.queue, p)
	r.serve()
	r.mu.Unlock()
	tick := time.NewTicker(rationPatience / 4)
	defer tick.Stop()
	for {
		select {
		case <-p.got:
			return p
		default:
		}
		select {
		case <-p.got:
		case <-tick.C:
			r.relent()
		case <-ctx.Done():
			if r.leave(p) {
				return nil
			}
		}
	}
}

// give takes a part back.
func (r *ration) give(p *part) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.end(p)
	r.serve()
}

// end has p count no more, if it does yet. r.mu is held, as for what follows.
func (r *ration) end(p *part) {
	if i := slices.Index(r.parts, p); i >= 0 {
		r.parts = slices.Delete(r.parts, i, i+1)
		r.used -= p.n
	} else if p.lent {
		r.lent -= p.n
		p.lent = false
	}
}

// fits tells whether n more bytes may be given to who has own ones.
func (r *ration) fits(n, own int) bool { return r.used <= own || r.used+n <= r.size }

// hand gives p.
func (r *ration) hand(p *part) {
	r.parts = append(r.parts, p)
	r.used += p.n
	p.at = time.Now()
	close(p.got)
}

// serve gives parts to those that wait, as far as there is something.
func (r *ration) serve() {
	for len(r.queue) > 0 {
		p := r.queue[0]
		if !r.fits(p.n, p.own) {
			return
		}
		r.queue = slices.Delete(r.queue, 0, 1)
		r.hand(p)
	}
}

// relent has parts count no more that were given too long ago.
func (r *ration) relent() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.parts) > 0 {
		p := r.parts[0]
		if time.Since(p.at) < rationPatience || r.lent+p.n > r.most {
			break
		}
		r.end(p)
		p.lent = true
		r.lent += p.n
	}
	r.serve()
}

// leave ends the wait for p, and reports false where it was over already.
func (r *ration) leave(p *part) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	i := slices.Index(r.queue, p)
	if i < 0 {
		return false
	}
	r.queue = slices.Delete(r.queue, i, i+1)
	r.serve() // it may have stood in the way of smaller ones
	return true
}

// mayFill waits until c may take in more: what is missing of a long request, once there is memory for it. False: something has happened
// that ends the wait for input.
func (c *conn) mayFill() bool {
	want, have := c.parser.wants(), 0
	for _, p := range c.parts {
		have += p.n
	}
	if want <= have || c.srv.ration.size == 0 {
		return true
	}
	p := c.await(&c.srv.ration, want-have, have)
	if p == nil {
		return false
	}
	c.parts = append(c.parts, p)
	c.touch()
	return true
}

// await waits for a part of r; nil: something has happened that ends the wait.
func (c *conn) await(r *ration, n, own int) *part {
	c.queued.Store(true)
	defer c.queued.Store(false)
	ctx, cancel := context.WithCancel(c.srv.blockCtx)
	defer cancel()
	c.setWake(cancel)
	defer c.setWake(nil)
	if c.disturbed() {
		cancel() // just before wake was set
	}
	return r.take(ctx, n, own)
}

// slim gives back what a long request took, once it is done.
func (c *conn) slim() {
	p := &c.parser
	if len(p.buf) >= largeBuffer {
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

// wants is how long the buffer gets for the current argument, where that is more than a pooled one; else 0.
func (p *parser) wants() int {
	if len(p.buf) < cap(p.buf) || cap(p.buf) < largeBuffer {
		return 0
	}
	if need := p.missing(); need > 0 {
		return len(p.buf) + need
	}
	return 2 * cap(p.buf)
}
