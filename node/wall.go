//go:build !skewedclock

package node

import "time"

// wallClock returns the machine's time.
func wallClock() time.Time { return time.Now() }
