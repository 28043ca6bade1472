package snapshot

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// Two seeds share one rate, a pause is not made up for, and a seed that ends does not wait.
func TestLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		throttle := Limit(1 << 20)
		send := func(chunks int) {
			for range chunks {
				if err := throttle(t.Context(), ChunkBytes); err != nil {
					t.Error(err)
				}
			}
		}
		begun := time.Now()
		done := make(chan struct{})
		go func() { defer close(done); send(10) }()
		send(10)
		<-done
		// 20 chunks of half a second each; the first does not wait.
		if d := time.Since(begun); d != 9500*time.Millisecond {
			t.Fatalf("10 MiB at 1 MiB/s took %v", d)
		}
		time.Sleep(time.Hour)
		begun = time.Now()
		send(3)
		if d := time.Since(begun); d != time.Second {
			t.Fatalf("after a pause, 3 chunks took %v", d)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := throttle(ctx, ChunkBytes); !errors.Is(err, context.Canceled) {
			t.Fatalf("a seed that ended waits: %v", err)
		}
	})
}
