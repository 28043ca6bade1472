package resp

import (
	"context"
	"slices"
	"sync"
	"time"
)

// ration bounds the memory for requests or replies that are longer than the largest pooled buffer. A request is in memory several times
// before it is answered, so many long ones at once would take more memory than the process has; and so would many long replies. A connection
// that has to wait for its part is not read from, or not answered, in the meantime.
//
// A part that its holder has had for too long is lent: it no longer counts against size, so that others get theirs; see rationPatience.
// A holder that was granted more than size allows is large. There is at most one at a time. Short parts that would have to wait go aside
// as long as there is room: they do not count against size either, and so do not wait behind longer ones.
//
// Invariant: all parts together are at most size+most+mostAside bytes, not counting those of the large holder, if there is one.
type ration struct {
	mu        sync.Mutex
	size      int           // bytes; 0: no bound
	used      int           // bytes of the parts that are neither lent nor aside
	lent      int           // bytes of the lent parts, except those of large
	most      int           // bound on lent
	aside     int           // bytes of the parts that are aside
	mostAside int           // bound on aside; parts of up to half of that are short
	large     any           // the large holder, or nil
	parts     []*part       // granted parts, oldest first
	queue     []*part       // parts being waited for, first come, first served
	tooSlow   func(holding) // called while others wait, without mu, for each holder of parts that are not held; may be nil
}

// part is a part of a ration, granted or waited for.
type part struct {
	n     int           // bytes
	who   any           // the holder, which may have several parts
	lent  bool          // no longer counts against ration.size
	aside bool          // never counted against ration.size
	held  bool          // is not lent, however long ago it was granted
	got   chan struct{} // closed when the part is granted
	at    time.Time     // when it was granted
	since time.Time     // when it was granted, or was last held no longer; later if its holder had to wait (see excuse)
}

// holding is what one holder has in parts that are not held.
type holding struct {
	who   any
	n     int       // bytes
	since time.Time // the earliest since of the parts
}

// rationPatience is how long a part counts while others wait. Its holder may be slow to send a request or to take a reply, and must not
// hold up everybody, so the part is lent after that time. At most ration.most bytes may be lent, so that memory stays bounded. Clients that
// take nothing are cut off in the end, and so are those that send nothing while others wait; see cutOffIfSlow. The parts of the large holder
// are lent regardless of that bound. Until it has given them back, others that want more than ration.size wait, but do not hold up those
// that want less. A request that is being executed counts for as long as that takes: while the disk or the voters are slow, further requests
// would only wait for them in memory.
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
	case p.aside:
		r.aside += n
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

// fitsAside reports whether p may go aside. Only a holder's first part may.
func (r *ration) fitsAside(p *part) bool {
	return p.n <= r.mostAside/2 && r.aside+p.n <= r.mostAside &&
		!slices.ContainsFunc(r.parts, func(other *part) bool { return other.who == p.who })
}

// alone reports whether nobody but p's holder has a part that counts.
func (r *ration) alone(p *part) bool {
	return !slices.ContainsFunc(r.parts, func(other *part) bool { return !other.lent && !other.aside && other.who != p.who })
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

// hand grants p. If that exceeds size, its holder becomes large.
func (r *ration) hand(p *part) {
	if !p.aside && r.used+p.n > r.size && r.large == nil {
		for _, other := range r.parts {
			if other.lent && other.who == p.who {
				r.lent -= other.n
			}
		}
		r.large = p.who
	}
	r.parts = append(r.parts, p)
	r.count(p, p.n)
	p.at = time.Now()
	p.since = p.at
	close(p.got)
}

// serve grants the queued parts, in order, as far as they fit. The holder of the oldest part comes first. Of the others, short ones go aside.
func (r *ration) serve() {
	for {
		next := slices.IndexFunc(r.queue, func(p *part) bool { return r.first(p) && !r.late(p) })
		if next < 0 {
			next = slices.IndexFunc(r.queue, func(p *part) bool { return !r.late(p) })
		}
		if next < 0 || !r.fits(r.queue[next]) {
			next = slices.IndexFunc(r.queue, r.fitsAside)
			if next < 0 {
				return
			}
			r.queue[next].aside = true
		}
		p := r.queue[next]
		r.queue = slices.Delete(r.queue, next, next+1)
		r.hand(p)
	}
}

// relent lends the parts that were granted too long ago, oldest first, as far as most allows. If others still wait, it has the holders
// looked at that may be too slow.
func (r *ration) relent() {
	for _, h := range r.lend() {
		r.tooSlow(h)
	}
}

// lend does relent's work under mu, and returns the holders that may be too slow.
func (r *ration) lend() (suspects []holding) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.parts {
		if p.lent || p.held || p.aside {
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
	if len(r.queue) == 0 || r.tooSlow == nil {
		return nil
	}
	at := map[any]int{}
	for _, p := range r.parts {
		if p.held {
			continue
		}
		i, known := at[p.who]
		if !known {
			i = len(suspects)
			at[p.who], suspects = i, append(suspects, holding{who: p.who, since: p.since})
		}
		suspects[i].add(p)
	}
	return suspects
}

func (h *holding) add(p *part) {
	h.n += p.n
	if p.since.Before(h.since) {
		h.since = p.since
	}
}

// holdingOf returns what one holder has in parts that are not held.
func (r *ration) holdingOf(who any) holding {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := holding{who: who, since: time.Now()}
	for _, p := range r.parts {
		if p.who == who && !p.held {
			h.add(p)
		}
	}
	return h
}

// excuse leaves out of account, for all parts of who, the last d: who had to wait and could not go on.
func (r *ration) excuse(who any, d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	for _, p := range r.parts {
		if p.who != who {
			continue
		}
		if p.since = p.since.Add(d); p.since.After(now) {
			p.since = now // it was granted in the meantime
		}
	}
}

// hold sets whether parts are held. A held part counts, and is not lent, until it is no longer held.
func (r *ration) hold(parts []*part, held bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range parts {
		if p.held && !held {
			p.since = time.Now()
		}
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
