//go:build skewedclock

package node

import (
	"os"
	"strings"
	"time"
)

// wallClock returns the machine's time. In this build, which is for tests, it is an hour fast on a member whose name ends
// with -1, as if its machine's clock were.
func wallClock() time.Time {
	if name, err := os.Hostname(); err == nil && strings.HasSuffix(name, "-1") {
		return time.Now().Add(time.Hour)
	}
	return time.Now()
}
