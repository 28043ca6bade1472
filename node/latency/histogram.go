package latency

import (
	"math/bits"
	"sync/atomic"
	"time"
)

const (
	first  = 4  // 2^4 µs
	bounds = 21 // 2^4 ... 2^24 µs
)

// Histogram counts durations in buckets whose upper bounds are powers of two of microseconds, from 16 µs to 16.8 s, plus
// one bucket for anything longer. The zero value is ready to use. A Histogram is safe for concurrent use.
type Histogram struct {
	classes [bounds + 1]atomic.Uint64
	sum     atomic.Uint64 // microseconds
}

// Observe counts n events that took d each. A negative d counts as zero.
func (h *Histogram) Observe(d time.Duration, n int) {
	us := uint64(max(0, d.Microseconds()))
	i := 0
	if us > 1<<first {
		i = min(bits.Len64(us-1)-first, bounds)
	}
	h.classes[i].Add(uint64(n))
	h.sum.Add(us * uint64(n))
}

// Cumulative returns the histogram in Prometheus's form: the number of events, their total duration in seconds, and the
// cumulative counts keyed by upper bound in seconds. The three results are not an atomic snapshot: a concurrent Observe
// may show up in some and not in others.
func (h *Histogram) Cumulative() (count uint64, sum float64, buckets map[float64]uint64) {
	buckets = make(map[float64]uint64, bounds)
	for i := range bounds {
		count += h.classes[i].Load()
		buckets[float64(uint64(1)<<(i+first))/1e6] = count
	}
	return count + h.classes[bounds].Load(), float64(h.sum.Load()) / 1e6, buckets
}
