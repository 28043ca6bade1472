package latency

import (
	"testing"
	"time"
)

func TestHistogram(t *testing.T) {
	var h Histogram
	for _, d := range []time.Duration{-time.Second, 0, 16 * time.Microsecond, 17 * time.Microsecond, 32 * time.Microsecond, 1 << 24 * time.Microsecond, time.Hour} {
		h.Observe(d, 1)
	}
	h.Observe(time.Second, 3)
	count, sum, buckets := h.Cumulative()
	if count != 10 || len(buckets) != bounds {
		t.Errorf("%d counted in %d classes", count, len(buckets))
	}
	if want := 3600 + 16.777216 + 3 + 65e-6; sum < want-1e-9 || sum > want+1e-9 {
		t.Errorf("they took %v s together, want %v", sum, want)
	}
	for bound, want := range map[float64]uint64{16e-6: 3, 32e-6: 5, 64e-6: 5, 0.524288: 5, 1.048576: 8, 8.388608: 8, 16.777216: 9} {
		if got, ok := buckets[bound]; !ok || got != want {
			t.Errorf("up to %v s: %d, want %d", bound, got, want)
		}
	}
}
