package resp

import (
	"sync"
	"sync/atomic"

	"github.com/replicatedstore/replicatedstore/node/store"
	"github.com/replicatedstore/replicatedstore/replication"
)

// watchList records which connections watch which keys. On a leader, keys are watched and touched under the sequencer's lock, so that a
// write either precedes a WATCH or is seen by it.
type watchList struct {
	count atomic.Int64 // number of watches; writes check it before they take mu
	mu    sync.Mutex   // a leaf: nothing is locked under it
	byKey map[string]map[*conn]struct{}
}

// watched is the state of a connection's WATCH.
type watched struct {
	expiries map[string]int64 // watched keys and their expiry, in unix ms, when they were watched; 0: none
	touched  atomic.Bool
	bytes    int // memory that the keys take; see watchedKey
	kept
	// On a follower, where writes do not pass through watchList: the state when the first key was watched. Anything applied since then counts
	// as a change, which is more careful than necessary.
	machine  *store.Machine
	position replication.Position
}

// watchedKey is the memory that a watched key takes besides its own bytes, in bytes: entries in two maps, and in the map of the connections
// that watch it. (Measured: 260 to 300.)
const watchedKey = 288

// more returns how many bytes w would take if keys were watched as well.
func (w *watched) more(keys [][]byte) int {
	n := w.bytes
	for _, key := range keys {
		if _, again := w.expiries[string(key)]; !again {
			n += len(key) + watchedKey
		}
	}
	return n
}

// mayWatch waits until there is memory to watch keys. If there are too many, WATCH will be refused, and they need none.
func (c *conn) mayWatch(keys [][]byte) {
	w := c.watching()
	if n := w.more(keys); n <= c.srv.limits.MaxRequest {
		w.await(c, n)
	}
}

// watching returns the WATCH state of c, creating it if necessary.
func (c *conn) watching() *watched {
	if c.watched == nil {
		c.watched = &watched{expiries: map[string]int64{}}
	}
	return c.watched
}

func watch(c *call) {
	if c.conn.multi != nil {
		c.w.fail("ERR WATCH inside MULTI is not allowed")
		return
	}
	w := c.conn.watching()
	if c.batch == nil {
		if w.machine == nil {
			w.machine = c.srv.backend.Machine()
			if w.machine != nil {
				w.position = w.machine.Applied().Position
			}
		}
		c.w.ok()
		return
	}
	if w.more(c.args[1:]) > c.srv.limits.MaxRequest {
		c.w.fail("ERR the watched keys are longer than client-query-buffer-limit")
		return
	}
	for _, key := range c.args[1:] {
		if _, again := w.expiries[string(key)]; again {
			continue
		}
		v, _, _, ok := c.head(key)
		if !ok {
			return
		}
		name := string(key)
		w.expiries[name] = v.ExpireAt
		w.bytes += len(name) + watchedKey
		c.srv.watches.add(name, c.conn)
	}
	c.w.ok()
}

func unwatch(c *call) {
	c.conn.unwatch()
	c.w.ok()
}

func (c *conn) unwatch() {
	if c.watchesUp != nil {
		c.watchesUp = nil
		// A newer upstream may hold watches as well: those that were set after the first ones were lost.
		if u := c.up; u != nil && !u.unwatch(c.srv.opt.Now().Add(c.srv.replyTimeout())) {
			c.disconnect() // ends the watches, too
		}
	}
	if c.watched == nil {
		return
	}
	for key := range c.watched.expiries {
		c.srv.watches.remove(key, c)
	}
	c.watched.give(c)
	c.watched = nil
}

// watchBroken reports whether a watched key was changed or has expired by now (unix ms). Leader only.
func (c *conn) watchBroken(now int64) bool {
	w := c.watched
	if w == nil {
		return false
	}
	if w.touched.Load() || w.machine != nil {
		return true
	}
	for _, at := range w.expiries {
		if at != 0 && at <= now {
			return true
		}
	}
	return false
}

// watchMoved reports whether anything was applied since the first WATCH, or whether keys were watched while this member led. at is m's
// applied position. Followers only.
func (c *conn) watchMoved(m *store.Machine, at replication.Position) bool {
	w := c.watched
	return w != nil && (w.machine != m || w.position != at || len(w.expiries) > 0)
}

func (l *watchList) add(key string, c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.byKey == nil {
		l.byKey = map[string]map[*conn]struct{}{}
	}
	if l.byKey[key] == nil {
		l.byKey[key] = map[*conn]struct{}{}
	}
	l.byKey[key][c] = struct{}{}
	l.count.Add(1)
}

func (l *watchList) remove(key string, c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.byKey[key], c)
	if len(l.byKey[key]) == 0 {
		delete(l.byKey, key)
	}
	l.count.Add(-1)
}

// touch marks the connections that watch key: the key changes.
func (l *watchList) touch(key []byte) {
	if l.count.Load() == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.byKey[string(key)] {
		c.watched.touched.Store(true)
	}
}

// touchAll is touch for every watched key that exists.
func (l *watchList) touchAll(exists func(key []byte) bool) {
	if l.count.Load() == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for key, conns := range l.byKey {
		if exists([]byte(key)) {
			for c := range conns {
				c.watched.touched.Store(true)
			}
		}
	}
}
