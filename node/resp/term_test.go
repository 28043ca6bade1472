package resp

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestTermsAreSharedForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = 16 * time.Second
		ctx, stop := context.WithCancel(t.Context())
		var all terms
		take := func(l time.Duration) context.Context { return all.take(ctx, 7, l, time.Now()) }
		first := take(limit)
		time.Sleep(time.Second - 1)
		if take(limit) != first {
			t.Error("not shared")
		}
		if other := take(limit / 2); other == first {
			t.Error("shared with another limit")
		}
		second := take(limit)
		time.Sleep(time.Second)
		if take(limit) == second {
			t.Error("shared for too long")
		}
		time.Sleep(limit - 2*time.Second)
		if first.Err() != nil {
			t.Error("ended early")
		}
		time.Sleep(2)
		if !errors.Is(context.Cause(first), context.DeadlineExceeded) || context.Cause(first).Error() != notInTime(limit).Error() {
			t.Errorf("ended with %v", context.Cause(first))
		}
		last := take(limit)
		stop()
		if last.Err() == nil {
			t.Error("goes on after what it was made from")
		}
	})
}
