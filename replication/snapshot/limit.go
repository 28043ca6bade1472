package snapshot

import (
	"context"
	"sync"
	"time"
)

// Limit returns a Throttle that lets at most rate bytes per second pass, summed over all seeds that share it. rate must be
// above 0. Unused bandwidth is not saved up: after a pause the rate is no higher than before.
func Limit(rate int64) func(ctx context.Context, n int) error {
	var mu sync.Mutex
	var free time.Time // when everything let through so far is paid for; guarded by mu
	return func(ctx context.Context, n int) error {
		mu.Lock()
		now := time.Now()
		if free.Before(now) {
			free = now
		}
		wait := free.Sub(now)
		free = free.Add(time.Duration(float64(n) / float64(rate) * float64(time.Second)))
		mu.Unlock()
		if wait <= 0 {
			return ctx.Err()
		}
		t := time.NewTimer(wait)
		defer t.Stop()
		select {
		case <-t.C:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
