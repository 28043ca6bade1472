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

// Histogram has a class for each power of two of microseconds, from 16 µs up to 16.8 s, and one above. The zero value is ready;
// safe for concurrent use.
type Histogram struct {
	classes [bounds + 1]atomic.Uint64
	sum     atomic.Uint64 // microseconds
}

// Observe counts n things that took d each; less than nothing is nothing.
func (h *Histogram) Observe(d time.Duration, n int) {
	us := uint64(max(0, d.Microseconds()))
	i := 0
	if us > 1<<first {
		i = min(bits.Len64(us-1)-first, bounds)
	}
	h.classes[i].Add(uint64(n))
	h.sum.Add(us * uint64(n))
}

// Cumulative returns the histogram in Prometheus's form: all that were counted, the seconds that they took together, and the counts
// at or below each bound in seconds. What is observed meanwhile may be in one of them and not in another.
func (h *Histogram) Cumulative() (count uint64, sum float64, buckets map[float64]uint64) {
	buckets = make(map[float64]uint64, bounds)
	for i := range bounds {
		count += h.classes[i].Load()
		buckets[float64(uint64(1)<<(i+first))/1e6] = count
	}
	return count + h.classes[bounds].Load(), float64(h.sum.Load()) / 1e6, buckets
}
