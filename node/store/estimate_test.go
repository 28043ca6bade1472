package store

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

func TestEstimate(t *testing.T) {
	for _, n := range []int{0, 1, 4095, 4096, 50_000} {
		got, err := filled(t, n, plainName).View(900).Estimate()
		if err != nil || (n < estimateSample && got.Keys != n) || !about(got.Keys, n, 1.1) || !about(got.Expiring, (n+9)/10, 1.2) {
			t.Errorf("%d keys are estimated at %+v (%v)", n, got, err)
		}
		if n > 0 && got.MeanTTL != 100 {
			t.Errorf("%d keys: %d ms left, want 100", n, got.MeanTTL)
		}
	}
	if got, err := filled(t, 20, plainName).View(1000).Estimate(); err != nil || got != (Keyspace{20, 2, 0}) {
		t.Errorf("with expired keys that are there: %+v (%v)", got, err)
	}
}

// about reports whether got is within a factor of want.
func about(got, want int, factor float64) bool {
	return float64(got) <= factor*float64(want) && float64(want) <= factor*float64(got)
}

// An estimate does not read thousands of long values, nor is it made separately for each of many concurrent callers.
func TestEstimateOfLongValues(t *testing.T) {
	const keys, size = 600, 128 << 10 // more than is kept in memory
	var reads atomic.Int64
	fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileReadAt {
			reads.Add(1)
		}
		return nil
	}))
	m := openMachine(t, fs, "state")
	value := strings.Repeat("v", size)
	for i := range keys {
		applyEntries(t, m, entryOf(putOf(plainName(i), value, 0)))
	}
	if _, err := m.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	quietly(t, m, func() {
		reads.Store(0)
		m.estimate.known = false
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() {
				if got, err := m.View(0).Estimate(); err != nil || !about(got.Keys, keys, 1.5) {
					t.Errorf("%d keys are estimated at %+v (%v)", keys, got, err)
				}
			})
		}
		all.Wait()
	})
	if got := reads.Load(); got > 3*estimateLeast {
		t.Errorf("%d reads of the disk", got)
	}
}

// An estimate is cached for a moment, and for as long as nothing is applied.
func TestEstimateIsRemembered(t *testing.T) {
	m := filled(t, 10, plainName)
	for i, tc := range []struct {
		apply bool
		age   time.Duration
		want  int
	}{
		{false, 0, 10},
		{true, -time.Hour, 10}, // it will not be old for an hour, however busy this machine is
		{false, time.Hour + estimateAge, 11},
		{false, time.Hour, 11},
		{true, estimateAge, 12},
	} {
		if tc.apply {
			applyEntries(t, m, entryOf(putOf(fmt.Sprint("more", i), "", 0)))
		}
		m.estimate.made = m.estimate.made.Add(-tc.age)
		if got, err := m.View(0).Estimate(); err != nil || got.Keys != tc.want {
			t.Errorf("%d: %+v (%v), want %d", i, got, err, tc.want)
		}
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := m.View(0).Estimate(); err != ErrClosed {
		t.Errorf("closed: %v", err)
	}
}
