package store

import (
	"sync/atomic"
	"time"
)

// leaderClock makes leader time of two clocks. It is the wall clock's, and never goes back; where that would hold it back, because another
// leader's clock was ahead or this one's was set back, it goes on by the monotonic clock, or nothing would expire until the wall clock
// has caught up. It goes a little slower then, so that the two meet again.
type leaderClock struct {
	wall   func() int64
	mono   func() time.Duration
	newest *atomic.Int64 // Machine.clock: the newest leader time that was told
	base   atomic.Pointer[clockBase]
}

// clockBase is a leader time and when it was that, by the monotonic clock.
type clockBase struct {
	milli int64
	at    time.Duration
}

// clockSlack: leader time that is ahead of the wall clock goes slower than that by one part in so many.
const clockSlack = 100

func (b *clockBase) now(mono time.Duration) int64 {
	d := mono - b.at
	return b.milli + (d - d/clockSlack).Milliseconds()
}

// now returns leader time in unix milliseconds.
func (c *leaderClock) now() int64 { return c.raise(c.wall()) }

// raise has leader time go on from milli, unless it is there already, and returns it.
func (c *leaderClock) raise(milli int64) int64 {
	for {
		b, mono := c.base.Load(), c.mono()
		if b != nil {
			if now := b.now(mono); now >= milli {
				return c.told(now)
			}
		}
		if c.base.CompareAndSwap(b, &clockBase{milli, mono}) {
			return c.told(milli)
		}
	}
}

// told notes that leader time is at least milli, and returns it.
func (c *leaderClock) told(milli int64) int64 {
	for {
		now := c.newest.Load()
		if now >= milli {
			return now
		}
		if c.newest.CompareAndSwap(now, milli) {
			return milli
		}
	}
}
