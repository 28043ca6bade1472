package sim

import "time"

// maxDrift is how much faster or slower than true time a host's monotonic clock may run, in parts of a million: far more
// than hardware does, and less than what the Lease and the read windows allow for.
const maxDrift = 20_000

// Clock is one host's two clocks. Both go on while the host is frozen.
type Clock struct {
	loop  *Loop
	drift int64         // of the monotonic clock, in parts of a million
	base  time.Time     // of the monotonic clock at true time 0: says nothing
	skew  time.Duration // of the wall clock
}

// epochWall is what the calendar says when a world begins.
var epochWall = time.Unix(1_700_000_000, 0).UTC()

// NewClock returns a host's clock, with a rate and a skew of its own.
func (l *Loop) NewClock() *Clock {
	return &Clock{
		loop: l, drift: l.Rand.Int64N(2*maxDrift+1) - maxDrift,
		base: time.Unix(l.Rand.Int64N(1_000_000_000), 0).UTC(), skew: l.Between(-3*time.Hour, 3*time.Hour),
	}
}

// Mono is the monotonic clock. Only differences between two readings of one Clock mean anything.
func (c *Clock) Mono() time.Time { return c.MonoAt(c.loop.now) }

// MonoAt is what Mono is at true time t.
func (c *Clock) MonoAt(t time.Duration) time.Time {
	return c.base.Add(t + t*time.Duration(c.drift)/1_000_000)
}

// True is how much true time passes while the monotonic clock advances by d: what a timer of d takes on this host.
func (c *Clock) True(d time.Duration) time.Duration {
	return d - d*time.Duration(c.drift)/time.Duration(1_000_000+c.drift)
}

// Wall is the calendar as this host believes it.
func (c *Clock) Wall() time.Time { return epochWall.Add(c.loop.now + c.skew) }

// Jump sets the calendar forward, or back where d is negative.
func (c *Clock) Jump(d time.Duration) { c.skew += d }
