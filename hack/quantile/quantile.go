// Package quantile takes quantiles of durations that were measured, for the benchmarks and the soak.
package quantile

import (
	"slices"
	"time"
)

// Durations are durations in ascending order.
type Durations []time.Duration

// Of returns the durations of all parts, which may be in any order and are left as they are.
func Of(parts ...[]time.Duration) Durations {
	all := slices.Concat(parts...)
	slices.Sort(all)
	return all
}

// At returns the quantile q: a duration that the share q of all, from 0 to 1, do not exceed. 0 is the shortest and 1 the
// longest. It returns 0 if there are no durations.
func (d Durations) At(q float64) time.Duration {
	if len(d) == 0 {
		return 0
	}
	return d[min(len(d)-1, int(q*float64(len(d))))]
}
