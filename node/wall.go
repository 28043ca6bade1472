//go:build !skewedclock

package node

import "time"

// wallClock is the machine's clock.
func wallClock() time.Time { return time.Now() }
