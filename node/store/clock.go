package store

import (
	"sync/atomic"
	"time"
)

// leaderClock derives leader time from two clocks. Leader time follows the wall clock but never goes back. If that would
// make it stand still, because another leader's clock was ahead or this one's was set back, it follows the monotonic
// clock instead; otherwise nothing would expire until the wall clock had caught up. It then runs slightly slower, so that
// the two meet again.
type leaderClock struct {
	wall   func() int64
	mono   func() time.Duration
	newest *atomic.Int64 // Machine.clock: the highest leader time that was returned
	base   atomic.Pointer[clockBase]
}

// clockBase is a leader time, and the monotonic clock's reading at that time.
type clockBase struct {
	milli int64
	at    time.Duration
}

// clockSlack is the fraction, 1/clockSlack, by which leader time runs slower while it is ahead of the wall clock.
const clockSlack = 100

func (b *clockBase) now(mono time.Duration) int64 {
	d := mono - b.at
	return b.milli + (d - d/clockSlack).Milliseconds()
}

// now returns leader time in unix milliseconds.
func (c *leaderClock) now() int64 { return c.raise(c.wall()) }

// raise advances leader time to milli, unless it is past that already, and returns it.
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

// told records that leader time is at least milli, and returns the highest that was recorded.
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
