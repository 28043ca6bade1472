package admin

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// TestStreamPace runs on a fake clock: one line at once, one per watchPeriod in silence, one soon after a change, and
// many changes in quick succession reported as few lines, of which the last has the newest state.
func TestStreamPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type line struct {
			at       time.Duration
			promised replication.Epoch
			news     bool
		}
		node, start := newScript(), time.Now()
		var mu sync.Mutex
		var lines []line
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			var newest replication.Epoch
			done <- stream(ctx, node, func(st *wire.Status) error {
				mu.Lock()
				defer mu.Unlock()
				if st != nil {
					newest = st.Promised
				}
				lines = append(lines, line{time.Since(start), newest, st != nil})
				return nil
			})
		}()
		expect := func(want ...line) {
			t.Helper()
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			if len(lines) != len(want) {
				t.Fatalf("lines %v, want %v", lines, want)
			}
			for i := range want {
				if lines[i] != want[i] {
					t.Fatalf("line %d is %v, want %v", i, lines[i], want[i])
				}
			}
			lines = nil
		}
		expect(line{0, 0, true})
		time.Sleep(5 * watchPeriod / 2)
		expect(line{watchPeriod, 0, false}, line{2 * watchPeriod, 0, false})
		node.change(func(st *wire.Status) { st.Promised = 1 })
		expect(line{5 * watchPeriod / 2, 1, true})
		for range 99 { // 100 ms of a change every millisecond
			time.Sleep(time.Millisecond)
			node.change(func(st *wire.Status) { st.Promised++ })
		}
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		mu.Lock()
		if n := len(lines); n < 4 || n > 6 || lines[n-1].promised != 100 {
			t.Fatalf("a burst of 99 changes in 100 ms gave %v", lines)
		}
		mu.Unlock()
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Fatalf("stream ended with %v", err)
		}
	})
}

func TestStreamEndsWithItsReader(t *testing.T) {
	gone := errors.New("broken pipe")
	if err := stream(t.Context(), newScript(), func(*wire.Status) error { return gone }); !errors.Is(err, gone) {
		t.Fatalf("stream ended with %v", err)
	}
}
