package sim

import (
	"slices"
	"time"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
)

// The kinds of objects. Each is watched on its own.
const (
	kindStore = iota
	kindPods
	kindClaims
	kindLease
	kinds
)

// versioned is one state of all objects of a kind.
type versioned struct {
	at      time.Duration
	version int
	value   any
}

// maxRecent is how many past states of each kind are kept, so that a list can be answered from an old one.
const maxRecent = 6

// Cache is one operator's view of the API objects. It lags the truth, usually by milliseconds and at times by seconds, and each
// kind lags independently.
type Cache struct {
	Store  *v1alpha1.ReplicatedStore
	Pods   map[string]decide.Pod
	Claims map[string]decide.Claim
	Lease  *LeaseObject

	api      *API
	from     string
	versions [kinds]int
	told     func(kind int)
	frozen   time.Duration // no update arrives before then
	ended    bool
}

// watchRetry is the interval at which a broken watch is retried.
const watchRetry = 200 * time.Millisecond

// NewCache lists everything, retrying until that succeeds, and then watches. It calls told after every change that arrives. The
// list may be up to two seconds old.
func (a *API) NewCache(p *Proc, from string, told func(kind int)) *Cache {
	c := &Cache{api: a, from: from, told: func(int) {}}
	for {
		lists, err := a.request(p, from, apiTimeout, false, func() (any, error) {
			var out [kinds]versioned
			for kind := range out {
				out[kind] = a.listed(kind)
			}
			return out, nil
		})
		if err == nil { // only the first answer counts: a duplicate of the request may arrive when the watch is far ahead
			for kind, v := range lists.([kinds]versioned) {
				c.take(kind, v)
			}
			break
		}
		p.Sleep(watchRetry)
	}
	c.told = told
	a.caches = append(a.caches, c)
	for kind := range kinds { // catch up with what changed since the list
		newest := a.recent[kind]
		c.deliver(kind, newest[len(newest)-1])
	}
	return c
}

// listed returns the answer to a list: usually the current state, otherwise one from the last two seconds.
func (a *API) listed(kind int) versioned {
	recent := a.recent[kind]
	newest := len(recent) - 1
	if a.loop.Chance(0.8) {
		return recent[newest]
	}
	oldest := newest
	for oldest > 0 && recent[oldest].at > a.loop.now-2*time.Second {
		oldest--
	}
	return recent[oldest+a.loop.Rand.IntN(newest-oldest+1)]
}

// Freeze delays every update for d.
func (c *Cache) Freeze(d time.Duration) { c.frozen = c.api.loop.now + d }

// Stop ends the watch.
func (c *Cache) Stop() {
	c.ended = true
	c.api.caches = slices.DeleteFunc(c.api.caches, func(o *Cache) bool { return o == c })
}

// publish sends a new state to every cache.
func (a *API) publish(kind int, value any) {
	a.version++
	v := versioned{a.loop.now, a.version, value}
	if len(a.recent[kind]) == maxRecent {
		a.recent[kind] = append(a.recent[kind][:0], a.recent[kind][1:]...)
	}
	a.recent[kind] = append(a.recent[kind], v)
	for _, c := range a.caches {
		c.deliver(kind, v)
	}
}

// deliver schedules the arrival of v.
func (c *Cache) deliver(kind int, v versioned) {
	if v.version <= c.versions[kind] {
		return
	}
	l := c.api.loop
	lag := l.Between(time.Millisecond, 30*time.Millisecond)
	switch n := l.Rand.IntN(100); {
	case n < 2:
		lag = l.Between(0, 2*time.Second)
	case n < 20:
		lag = l.Between(0, 300*time.Millisecond)
	}
	l.After(lag, func() { c.arrive(kind, v) })
}

func (c *Cache) arrive(kind int, v versioned) {
	l, api := c.api.loop, c.api.net.Host(APIHost)
	switch {
	case c.ended || v.version <= c.versions[kind]:
	case l.now < c.frozen || api.process == nil || !c.api.net.open(api, c.api.net.Host(c.from)):
		l.After(watchRetry, func() { c.arrive(kind, v) })
	default:
		c.take(kind, v)
		c.told(kind)
	}
}

func (c *Cache) take(kind int, v versioned) {
	c.versions[kind] = v.version
	switch kind {
	case kindStore:
		c.Store = v.value.(*v1alpha1.ReplicatedStore)
	case kindPods:
		c.Pods = v.value.(map[string]decide.Pod)
	case kindClaims:
		c.Claims = v.value.(map[string]decide.Claim)
	case kindLease:
		c.Lease = v.value.(*LeaseObject)
	}
}
