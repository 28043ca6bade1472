package decide

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/replicatedstore/replicatedstore/replication"
)

// LeaseClock measures how long a Lease has not changed. The renew time in the Lease comes from another host: it is compared
// for equality only, never with a clock here. LeaseClock is safe for concurrent use, because news of the Lease arrives during
// passes too.
type LeaseClock struct {
	mu      sync.Mutex
	renewal int64
	epoch   replication.Epoch
	since   time.Time // mu guards all fields
}

// See records a Lease. renewal tells renewals apart, as the renew time does; 0 means that nobody has renewed it, or that
// there is no Lease. An older copy, as a cache may deliver, at worst restarts the clock.
func (c *LeaseClock) See(renewal int64, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.since.IsZero() || renewal != c.renewal {
		c.renewal, c.since = renewal, now
	}
}

// Led restarts the clock if another leadership is recorded, and returns how long the clock has run (Lease.UnchangedFor). rec
// is nil if there is no record.
func (c *LeaseClock) Led(rec *Record, now time.Time) time.Duration {
	var e replication.Epoch
	if rec != nil {
		e = rec.LedEpoch()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if e != c.epoch {
		c.epoch, c.since = e, now
	}
	return now.Sub(c.since)
}

// restart starts the clock anew; see Memory.Promoting. undo takes that back unless something was seen since.
func (c *LeaseClock) restart(now time.Time) (undo func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	before := c.since
	c.since = now
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.since.Equal(now) {
			c.since = before
		}
	}
}

// Known is what a Lease said about the authority record when it was last read uncached or written, without what renewals
// change. The zero value means that there was no Lease.
type Known struct {
	UID    types.UID // of the Lease
	Record string    // as the annotation holds it
	Epoch  replication.Epoch
	Phase  Phase
}

// KnownOf returns what a Lease says. rec is its decoded record; nil if it has none that can be believed.
func KnownOf(uid types.UID, text string, rec *Record) Known {
	k := Known{UID: uid, Record: text}
	if rec != nil {
		k.Epoch, k.Phase = rec.Epoch, rec.Phase
	}
	return k
}

// Shows reports whether a cached Lease says what is known. Both arguments are "" if there is no Lease.
func (k Known) Shows(uid types.UID, text string) bool { return k.UID == uid && k.Record == text }

// Moved reports whether leadership has moved on from k to to.
func (k Known) Moved(to Known) bool { return k.Epoch != to.Epoch || k.Phase != to.Phase }

// After reports whether k is newer than to, which was read uncached later: the Lease was restored from an older copy.
func (k Known) After(to Known) bool { return to.UID == k.UID && to.Epoch > 0 && to.Epoch < k.Epoch }
