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
	size  int     // bytes; 0: no bound
	used  int     // by parts that are not lent
	lent  int     // by those that are
	most  int     // of lent
	parts []*part // that were given, oldest first
	queue []*part // that are waited for, first come first served
}

// part of a ration.
type part struct {
	n    int
	who  any           // has it; one may have several
	lent bool          // it counts no more
	held bool          // it counts however long ago it was given
	got  chan struct{} // closed once it is given
	at   time.Time     // when that was
}

// rationPatience is for how long a part counts while others wait: who has it may be slow to send or to take a reply, and is not to hold up
// everybody. Of replies only so much may count no more that memory stays bounded: who takes nothing is cut off in the end. What is being
// executed counts as long as that takes: while the disk or the voters are slow, more would only wait for them in memory.
const rationPatience = 2 * time.Second

// try is take for whoever does not wait: nil where that would have to be.
func (r *ration) try(n int, who any) *part {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := &part{n: n, who: who, got: make(chan struct{})}
	if len(r.queue) > 0 && !r.first(p) || !r.fits(p) {
		return nil
	}
	r.hand(p)
	return p
}

// take waits for n bytes, and returns nil where ctx ended before. More than all there is, is given while nobody else has any. Who has had a
// part for longest waits for nobody: else several who want more could wait for each other.
func (r *ration) take(ctx context.Context, n int, who any) *part {
	p := &part{n: n, who: who, got: make(chan struct{})}
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
	if i := slices.Index(r.parts, p); i >= 0 {
		r.parts = slices.Delete(r.parts, i, i+1)
		if p.lent {
			r.lent -= p.n
		} else {
			r.used -= p.n
		}
	}
	r.serve()
}

// first tells whether who wants p has had a part for longest. r.mu is held, as for what follows.
func (r *ration) first(p *part) bool { return len(r.parts) > 0 && r.parts[0].who == p.who }

// fits tells whether p may be given.
func (r *ration) fits(p *part) bool {
	if r.used+p.n <= r.size || r.first(p) {
		return true
	}
	for _, other := range r.parts {
		if !other.lent && other.who != p.who {
			return false
		}
	}
	return true // nobody else has any
}

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
		next := max(0, slices.IndexFunc(r.queue, r.first))
		p := r.queue[next]
		if !r.fits(p) {
			return
		}
		r.queue = slices.Delete(r.queue, next, next+1)
		r.hand(p)
	}
}

// relent has parts count no more that were given too long ago.
func (r *ration) relent() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.parts {
		if p.lent || p.held {
			continue
		}
		if time.Since(p.at) < rationPatience || r.lent+p.n > r.most {
			break
		}
		p.lent = true
		r.used -= p.n
		r.lent += p.n
	}
	r.serve()
}

// hold has parts count until they are let go, or no longer than others do.
func (r *ration) hold(parts []*part, held bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range parts {
		if p.held = held; held && p.lent {
			p.lent = false
			r.lent -= p.n
			r.used += p.n
		}
	}
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
	p := c.await(&c.srv.ration, want-have)
	if p == nil {
		return false
	}
	c.parts = append(c.parts, p)
	c.touch()
	return true
}

// await waits for a part of r; nil: something has happened that ends the wait.
func (c *conn) await(r *ration, n int) *part {
	c.queued.Store(true)
	defer c.queued.Store(false)
	ctx, cancel := context.WithCancel(c.srv.blockCtx)
	defer cancel()
	c.setWake(cancel)
	defer c.setWake(nil)
	if c.disturbed() {
		cancel() // just before wake was set
	}
	return r.take(ctx, n, c)
}

// kept is what a connection was given of Server.ration for what it keeps between commands.
type kept struct {
	parts []*part
	have  int // bytes that were waited for
}

// await waits until there is memory for so many bytes in all, or something has happened that ends the wait: beyond the largest pooled
// buffer what is kept takes turns with long requests.
func (k *kept) await(c *conn, bytes int) {
	if bytes <= largeBuffer || bytes <= k.have || c.srv.ration.size == 0 {
		return
	}
	c.hold(false) // others may wait for what this one's request takes
	defer c.hold(true)
	n := max(bytes-k.have, largeBuffer)
	if p := c.await(&c.srv.ration, n); p != nil {
		k.parts = append(k.parts, p)
	}
	k.have += n
}

func (k *kept) give(c *conn) {
	for _, p := range k.parts {
		c.srv.ration.give(p)
	}
	*k = kept{}
}

// slim gives back what a long request took, once it is done.
func (c *conn) slim() {
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

// hold tells whether what c was given for its request is for one that is being executed.
func (c *conn) hold(executing bool) {
	if len(c.parts) > 0 {
		c.srv.ration.hold(c.parts, executing)
	}
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
