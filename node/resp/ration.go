package resp

import (
	"cmp"
	"context"
	"errors"
	"math"
	"slices"
	"sync"
	"time"
)

// ration bounds the memory of what is longer than the largest pooled buffer: of requests, each of which is in memory several times before
// it is answered, and of replies. Many at once would take more than the process has. Who does not get his part yet is not read from, or
// not answered, meanwhile.
//
// Invariant: what all have is size and most together at the most, and beside that what one of them has alone, who is large.
type ration struct {
	mu    sync.Mutex
	size  int     // bytes; 0: no bound
	used  int     // by parts that are not lent
	lent  int     // by those that are, but for what is large's
	most  int     // of lent; unbounded: however much
	large any     // who was given more than there is; nil: nobody. Where lent is bounded only
	parts []*part // that were given, oldest first
	queue []*part // that are waited for, first come first served
}

// unbounded, as ration.most: parts are lent however many are.
const unbounded = math.MaxInt

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
// everybody. Of replies only so much may count no more that memory stays bounded: who takes nothing is cut off in the end. The one who has
// more than that alone counts no more then either, and until he has given it back others who want as much wait, and do not hold up those
// who want less. What is being executed counts as long as that takes: while the disk or the voters are slow, more would only wait for them
// in memory.
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
// part for longest waits for nobody, or for who is large and does not: else several who want more could wait for each other.
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
		r.count(p, -p.n)
	}
	if !slices.ContainsFunc(r.parts, func(p *part) bool { return p.who == r.large }) {
		r.large = nil
	}
	r.serve()
}

// count adds n bytes to where p counts. r.mu is held, as for what follows.
func (r *ration) count(p *part, n int) {
	switch {
	case !p.lent:
		r.used += n
	case r.large == nil || p.who != r.large:
		r.lent += n
	}
}

// first tells whether who wants p has had a part for longest.
func (r *ration) first(p *part) bool { return len(r.parts) > 0 && r.parts[0].who == p.who }

// fits tells whether p may be given.
func (r *ration) fits(p *part) bool {
	if r.used+p.n <= r.size || r.large != nil && r.large == p.who {
		return true
	}
	return r.large == nil && (r.first(p) || r.alone(p))
}

// alone tells whether nobody else has any.
func (r *ration) alone(p *part) bool {
	return !slices.ContainsFunc(r.parts, func(other *part) bool { return !other.lent && other.who != p.who })
}

// late tells whether p is more than can be given while somebody else is large: others need not wait behind it.
func (r *ration) late(p *part) bool {
	if r.large == nil || r.large == p.who {
		return false
	}
	n := p.n
	for _, other := range r.parts {
		if !other.lent && other.who == p.who {
			n += other.n
		}
	}
	return n > r.size
}

// hand gives p.
func (r *ration) hand(p *part) {
	if r.used+p.n > r.size && r.most != unbounded && r.large == nil {
		for _, other := range r.parts {
			if other.lent && other.who == p.who {
				r.lent -= other.n
			}
		}
		r.large = p.who
	}
	r.parts = append(r.parts, p)
	r.used += p.n
	p.at = time.Now()
	close(p.got)
}

// serve gives parts to those that wait, as far as there is something.
func (r *ration) serve() {
	for {
		next := slices.IndexFunc(r.queue, func(p *part) bool { return r.first(p) && !r.late(p) })
		if next < 0 {
			next = slices.IndexFunc(r.queue, func(p *part) bool { return !r.late(p) })
		}
		if next < 0 || !r.fits(r.queue[next]) {
			return
		}
		p := r.queue[next]
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
		if time.Since(p.at) < rationPatience || p.who != r.large && r.lent+p.n > r.most {
			break
		}
		r.count(p, -p.n)
		p.lent = true
		r.count(p, p.n)
	}
	r.serve()
}

// hold has parts count until they are let go, or no longer than others do.
func (r *ration) hold(parts []*part, held bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range parts {
		if p.held = held; held && p.lent {
			r.count(p, -p.n)
			p.lent = false
			r.count(p, p.n)
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
	p, _ := c.await(&c.srv.ration, want-have, 0)
	if p == nil {
		return false
	}
	c.parts = append(c.parts, p)
	c.touch()
	return true
}

// await waits for a part of r, for as long as limit (0: however long). nil: that is over (late), or something has happened that ends the
// wait; as when the client hangs up, for then the connection is closed.
func (c *conn) await(r *ration, n int, limit time.Duration) (p *part, late bool) {
	if p := r.try(n, c); p != nil {
		return p, false
	}
	c.queued.Store(true)
	defer c.queued.Store(false)
	ctx, cancel := context.WithTimeout(c.srv.blockCtx, cmp.Or(limit, math.MaxInt64))
	defer cancel()
	c.setWake(cancel)
	defer c.setWake(nil)
	if c.disturbed() {
		cancel() // just before wake was set
	}
	var watching sync.WaitGroup
	watching.Go(func() { c.watchHangup(ctx, func() { c.kill("it hung up while it waited for its turn") }) })
	defer watching.Wait()
	defer cancel() // before
	p = r.take(ctx, n, c)
	return p, p == nil && errors.Is(ctx.Err(), context.DeadlineExceeded)
}

// kept is what a connection was given of Server.ration for what it keeps between commands, or works on.
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

// slim gives back what a long request took, once it is done.
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

// hold tells whether what c was given for its request is for one that is being executed.
func (c *conn) hold(executing bool) {
	for _, parts := range [][]*part{c.parts, c.toWrite.parts} {
		if len(parts) > 0 {
			c.srv.ration.hold(parts, executing)
		}
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
