package sim

import "time"

// maxDrift bounds how much faster or slower than true time a host's monotonic clock may run, in parts per million. It is far more
// than real hardware drifts, and less than the Lease and the read windows allow for.
const maxDrift = 20_000

// Clock is a host's pair of clocks, monotonic and wall. Both go on while the host is frozen.
type Clock struct {
	loop  *Loop
	drift int64         // of the monotonic clock, in parts per million
	base  time.Time     // the monotonic clock's reading at true time 0; meaningless by itself
	skew  time.Duration // of the wall clock
}

// epochWall is the wall-clock time at which a world begins.
var epochWall = time.Unix(1_700_000_000, 0).UTC()

// NewClock returns the clock of a host, with its own rate and skew.
func (l *Loop) NewClock() *Clock {
	return &Clock{
		loop: l, drift: l.Rand.Int64N(2*maxDrift+1) - maxDrift,
		base: time.Unix(l.Rand.Int64N(1_000_000_000), 0).UTC(), skew: l.Between(-3*time.Hour, 3*time.Hour),
	}
}

// Mono returns the monotonic time. Only differences between two readings of the same Clock are meaningful.
func (c *Clock) Mono() time.Time { return c.MonoAt(c.loop.now) }

// MonoAt returns what Mono returns at true time t.
func (c *Clock) MonoAt(t time.Duration) time.Time {
	return c.base.Add(t + t*time.Duration(c.drift)/1_000_000)
}

// True returns how much true time passes while the monotonic clock advances by d, that is, how long a timer of d takes on this
// host.
func (c *Clock) True(d time.Duration) time.Duration {
	return d - d*time.Duration(c.drift)/time.Duration(1_000_000+c.drift)
}

// Wall returns the wall-clock time of this host.
func (c *Clock) Wall() time.Time { return epochWall.Add(c.loop.now + c.skew) }

// Jump sets the wall clock forward by d, or back if d is negative.
func (c *Clock) Jump(d time.Duration) { c.skew += d }
