package resp

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"math"
	"slices"
	"sync"
	"time"
)

// ration bounds the memory for requests or replies that are longer than the largest pooled buffer. A request is in memory several times
// before it is answered, so many long ones at once would take more memory than the process has; and so would many long replies. A connection
// that has to wait for its part is not read from, or not answered, in the meantime.
//
// A part that its holder has had for too long is lent: it no longer counts against size, so that others get theirs; see rationPatience.
// A holder that was granted more than size allows is large. There is at most one at a time.
//
// Invariant: all parts together are at most size+most bytes, not counting those of the large holder, if there is one.
type ration struct {
	mu    sync.Mutex
	size  int     // bytes; 0: no bound
	used  int     // bytes of the parts that are not lent
	lent  int     // bytes of the lent parts, except those of large
	most  int     // bound on lent, or unbounded
	large any     // the large holder, or nil; always nil if most is unbounded
	parts []*part // granted parts, oldest first
	queue []*part // parts being waited for, first come, first served
}

// unbounded, as ration.most, means that any number of parts may be lent.
const unbounded = math.MaxInt

// part is a part of a ration, granted or waited for.
type part struct {
	n    int           // bytes
	who  any           // the holder, which may have several parts
	lent bool          // no longer counts against ration.size
	held bool          // is not lent, however long ago it was granted
	got  chan struct{} // closed when the part is granted
	at   time.Time     // when it was granted
}

// rationPatience is how long a part counts while others wait. Its holder may be slow to send a request or to take a reply, and must not
// hold up everybody, so the part is lent after that time. Of replies, at most ration.most bytes may be lent, so that memory stays bounded;
// clients that take nothing are cut off in the end. The parts of the large holder are lent regardless of that bound. Until it has given them
// back, others that want more than ration.size wait, but do not hold up those that want less. A request that is being executed counts
// for as long as that takes: while the disk or the voters are slow, further requests would only wait for them in memory.
const rationPatience = 2 * time.Second

// try is take without waiting: it returns nil if it would have to wait.
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

// take waits for n bytes for who. It returns nil if ctx ends first. More than size is granted if nobody else has a part that counts. The
// holder of the oldest part waits for nobody except a large holder, which itself never waits: otherwise several holders that want more
// could wait for each other.
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

// give returns p to the ration.
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

// count adds n bytes to the counter that p belongs to. The caller holds r.mu, as for the functions from here to serve.
func (r *ration) count(p *part, n int) {
	switch {
	case !p.lent:
		r.used += n
	case r.large == nil || p.who != r.large:
		r.lent += n
	}
}

// first reports whether p's holder has the oldest part.
func (r *ration) first(p *part) bool { return len(r.parts) > 0 && r.parts[0].who == p.who }

// fits reports whether p may be granted.
func (r *ration) fits(p *part) bool {
	if r.used+p.n <= r.size || r.large != nil && r.large == p.who {
		return true
	}
	return r.large == nil && (r.first(p) || r.alone(p))
}

// alone reports whether nobody but p's holder has a part that counts.
func (r *ration) alone(p *part) bool {
	return !slices.ContainsFunc(r.parts, func(other *part) bool { return !other.lent && other.who != p.who })
}

// late reports whether p cannot be granted before another, large holder has given its parts back. Others need not wait behind p then.
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

// hand grants p. If that exceeds size, and most is bounded, its holder becomes large.
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

// serve grants the queued parts, in order, as far as they fit. The holder of the oldest part comes first.
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

// relent lends the parts that were granted too long ago, oldest first, as far as most allows.
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

// hold sets whether parts are held. A held part counts, and is not lent, until it is no longer held.
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

// leave removes p from the queue. It returns false if p was granted already.
func (r *ration) leave(p *part) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	i := slices.Index(r.queue, p)
	if i < 0 {
		return false
	}
	r.queue = slices.Delete(r.queue, i, i+1)
	r.serve() // p may have been in the way of smaller parts
	return true
}

// mayFill waits until there is memory for the missing rest of a long request. It returns false if something has happened that ends the wait
// for input.
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

// await waits for n bytes of r for at most limit (0: no limit). It returns nil if the limit has passed (late is then true), or if something
// has happened that ends the wait. If the client hangs up while it waits, await kills the connection.
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
		cancel() // it may have happened just before wake was set
	}
	var watching sync.WaitGroup
	watching.Go(func() { c.watchHangup(ctx, func() { c.kill("it hung up while it waited for its turn") }) })
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

// await waits until there is memory for bytes bytes in total, or something has happened that ends the wait. Up to the size of the largest
// pooled buffer nothing is needed; data beyond that takes turns with long requests.
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

// slim gives back the memory that a long request took, once it is done.
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

// shed gives back the memory of the commands before the next one, which may wait for long, unless what follows is long as well. Everything
// before it must be settled.
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

// hold sets whether the parts that c has for its request are held, which they are while it is being executed.
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
