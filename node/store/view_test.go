package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/replicatedstore/replicatedstore/replication"
)

// filled returns a machine with n keys made by name, each its own value; every tenth is due at 1000.
func filled(t testing.TB, n int, name func(i int) string) *Machine {
	t.Helper()
	m := openMachine(t, vfs.NewMem(), "state")
	var entries [][]byte
	for i := range n {
		expireAt := int64(0)
		if i%10 == 0 {
			expireAt = 1000
		}
		entries = append(entries, entryOf(putOf(name(i), name(i), expireAt)))
	}
	applyEntries(t, m, entries...)
	return m
}

func applyEntries(t testing.TB, m *Machine, entries ...[]byte) {
	t.Helper()
	for chunk := range slices.Chunk(entries, 5000) {
		if err := m.Apply([]replication.Record{record(t, m.Applied(), 1, m.AppliedTime()+1, chunk...)}); err != nil {
			t.Fatal(err)
		}
	}
}

func plainName(i int) string { return fmt.Sprintf("key%d", i) }

func TestViewReads(t *testing.T) {
	m := filled(t, 20, plainName)
	early, late := m.View(999), m.View(1000)
	for name, tc := range map[string]struct {
		v    View
		key  string
		want bool
	}{
		"lives":     {early, "key1", true},
		"due soon":  {early, "key10", true},
		"expired":   {late, "key10", false},
		"unexpired": {late, "key11", true},
		"absent":    {late, "key20", false},
		"prefix":    {late, "key", false},
	} {
		val, found, err := tc.v.Get([]byte(tc.key))
		if err != nil || found != tc.want || (found && (string(val.Data) != tc.key || val.Type != TypeString)) {
			t.Errorf("%s: %q %t (%v)", name, val.Data, found, err)
		}
		if exists, err := tc.v.Exists([]byte(tc.key)); err != nil || exists != tc.want {
			t.Errorf("%s: exists %t (%v)", name, exists, err)
		}
	}
	var got []string
	keys := [][]byte{[]byte("key1"), []byte("absent"), []byte("key10"), []byte("key1")}
	if err := late.GetMany(keys, func(i int, v Value, found bool) bool {
		got = append(got, fmt.Sprintf("%d %s %t", i, v.Data, found))
		return i < 3
	}); err != nil || !slices.Equal(got, []string{"0 key1 true", "1  false", "2  false", "3 key1 true"}) {
		t.Errorf("GetMany said %q (%v)", got, err)
	}
	calls := 0
	if err := late.GetMany(keys, func(int, Value, bool) bool { calls++; return calls < 2 }); err != nil || calls != 2 {
		t.Errorf("%d calls after one returned false (%v)", calls, err)
	}
}

// scanAll follows cursors to the end and counts how often each key came.
func scanAll(t *testing.T, v View, count int, between func()) map[string]int {
	t.Helper()
	seen := map[string]int{}
	for cursor, calls := uint64(0), 0; ; calls++ {
		next, err := v.Scan(cursor, count, func(e Entry) bool { seen[string(e.Key)]++; return true })
		if err != nil {
			t.Fatal(err)
		}
		if next == 0 {
			return seen
		}
		if next <= cursor || calls > 100_000 {
			t.Fatalf("cursor %d after %d", next, cursor)
		}
		cursor = next
		between()
	}
}

func TestScan(t *testing.T) {
	m := filled(t, 1000, plainName)
	for _, count := range []int{-1, 1, 7, 100, 1000, 5000} {
		got := scanAll(t, m.View(1000), count, func() {})
		if len(got) != 900 || slices.Max(slices.Collect(maps.Values(got))) != 1 {
			t.Errorf("count %d: %d keys", count, len(got))
		}
	}
	if next, err := m.View(0).Scan(uint64(endPoint), 10, func(Entry) bool { t.Error("visited beyond the end"); return true }); next != 0 || err != nil {
		t.Errorf("beyond the end: %d, %v", next, err)
	}
	if got := scanAll(t, filled(t, 0, plainName).View(0), 10, func() {}); len(got) != 0 {
		t.Errorf("an empty store has %v", got)
	}
}

// TestScanWhileChanging: keys that stay throughout are returned, exactly once, whatever else comes and goes.
func TestScanWhileChanging(t *testing.T) {
	rng := newRand(t, 0)
	m := filled(t, 500, plainName)
	got := scanAll(t, m.View(0), 5, func() {
		k := fmt.Sprintf("other%d", rng.IntN(200))
		if rng.IntN(2) == 0 {
			applyEntries(t, m, entryOf(putOf(k, "x", 0)))
		} else {
			applyEntries(t, m, entryOf(deleteOf(k)))
		}
	})
	for i := range 500 {
		if got[plainName(i)] != 1 {
			t.Errorf("%s came %d times", plainName(i), got[plainName(i)])
		}
	}
}

// TestScanSamePoint: keys that share slot and hash come in one call, however small count is, and none is lost.
func TestScanSamePoint(t *testing.T) {
	m := openMachine(t, vfs.NewMem(), "state")
	// Found by search: two keys of one hash tag with equal lower XXH64 halves.
	byHash := map[point]string{}
	var a, b string
	for i := 0; b == ""; i++ {
		k := fmt.Sprintf("{t}%d", i)
		p := pointOf([]byte(k))
		if other, ok := byHash[p]; ok {
			a, b = other, k
		}
		byHash[p] = k
	}
	applyEntries(t, m, entryOf(putOf(a, "", 0), putOf(b, "", 0), putOf("{t}other", "", 0)))
	if got := scanAll(t, m.View(0), 1, func() {}); len(got) != 3 || got[a] != 1 || got[b] != 1 {
		t.Errorf("%q and %q share a point; scanned %v", a, b, got)
	}
}

func TestCount(t *testing.T) {
	m := filled(t, 10_000, plainName)
	check := func(want int) {
		t.Helper()
		for range 2 { // counted, then remembered
			if n, err := m.View(5000).Count(t.Context()); err != nil || n != want {
				t.Fatalf("counted %d (%v), want %d", n, err, want)
			}
		}
	}
	check(10_000)
	applyEntries(t, m, entryOf(putOf("new", "", 0), putOf("key5", "again", 0), deleteOf("key6"), deleteOf("key7")))
	check(9_999)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	applyEntries(t, m, entryOf(deleteOf("key8")))
	if _, err := m.View(0).Count(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled count: %v", err)
	}
	if err := m.View(0).ForEach(ctx, func(Entry) bool { return true }); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled iteration: %v", err)
	}
	check(9_998)
	applyEntries(t, m, entryOf(appendFlush))
	check(0)

	// A count taken while a batch is being committed is right for some moment, but not to be remembered for a position.
	applyEntries(t, m, entryOf(putOf("k", "", 0)))
	if err := m.pour(); err != nil {
		t.Fatal(err)
	}
	next := *m.applied.Load()
	next.mark.Position++
	m.ceiling.Store(&next)
	m.poured.Store(&next)
	if n, err := m.View(0).Count(t.Context()); err != nil || n != 1 || m.count.known {
		t.Errorf("counted %d (%v), remembered %t", n, err, m.count.known)
	}
}

func TestRandomKey(t *testing.T) {
	rng := newRand(t, 0)
	m := filled(t, 50, plainName)
	got := map[string]int{}
	for range 5000 {
		key, ok, err := m.View(1000).RandomKey(rng.Uint64())
		if err != nil || !ok {
			t.Fatalf("%t, %v", ok, err)
		}
		got[string(key)]++
	}
	if len(got) != 45 {
		t.Errorf("5000 draws found %d of 45 keys", len(got))
	}
	if key, ok, err := openMachine(t, vfs.NewMem(), "empty").View(0).RandomKey(7); ok || err != nil {
		t.Errorf("an empty store has %q, %v", key, err)
	}
	few := filled(t, 6, plainName)
	clear(got)
	for range 5000 {
		key, _, _ := few.View(1000).RandomKey(rng.Uint64())
		got[string(key)]++
	}
	for key, n := range got {
		if share := n * len(got); share < 4250 || share > 5750 {
			t.Errorf("of %d keys, %s came %d times of 5000", len(got), key, n)
		}
	}
	tagged := filled(t, 1000, func(i int) string { return fmt.Sprintf("{tag}%d", i) }) // all in one slot
	clear(got)
	for range 10_000 {
		key, _, _ := tagged.View(1000).RandomKey(rng.Uint64())
		got[string(key)]++
	}
	if len(got) < 800 {
		t.Errorf("10000 draws found %d of 900 keys of one slot", len(got))
	}
	only := filled(t, 2, plainName)
	for range 100 {
		if key, ok, err := only.View(1000).RandomKey(rng.Uint64()); !ok || string(key) != "key1" {
			t.Errorf("the only key is %q, %t, %v", key, ok, err)
		}
	}
}

// A scan that its visitor ends goes on behind what was visited; keys of one place are visited together all the same.
func TestScanThatEndsEarly(t *testing.T) {
	m := filled(t, 300, plainName)
	for _, most := range []int{1, 7, 1000} {
		seen, cursor := map[string]int{}, uint64(0)
		for calls := 0; calls == 0 || cursor != 0; calls++ {
			n := 0
			next, err := m.View(0).Scan(cursor, 100_000, func(e Entry) bool {
				n++
				seen[string(e.Key)]++
				return n < most
			})
			if err != nil || n > most {
				t.Fatalf("%d keys (%v), want %d at most", n, err, most)
			}
			cursor = next
		}
		if len(seen) != 300 || slices.Max(slices.Collect(maps.Values(seen))) != 1 {
			t.Errorf("%d at a time: %d keys", most, len(seen))
		}
	}
}

// Whatever count says, a scan over long values reads only so much at a time, expired or not, and finds every key once.
func TestScanOfLongValues(t *testing.T) {
	const keys, length = 100, 1 << 20
	m := openMachine(t, vfs.NewMem(), "state")
	for i := range keys {
		applyEntries(t, m, entryOf(putOf(plainName(i), strings.Repeat("x", length), int64(i%2))))
	}
	for now, want := range map[int64]int{0: keys, 1: keys / 2} { // half of them are expired from 1 on
		calls, found := 0, map[string]int{}
		for cursor := uint64(0); calls == 0 || cursor != 0; calls++ {
			var err error
			cursor, err = m.View(now).Scan(cursor, 1_000_000, func(e Entry) bool { found[string(e.Key)]++; return true })
			if err != nil {
				t.Fatal(err)
			}
		}
		if want := (keys*length + scanBytes - 1) / scanBytes; calls != want {
			t.Errorf("%d calls, want %d", calls, want)
		}
		for key, n := range found {
			if n != 1 {
				t.Errorf("%s is found %d times", key, n)
			}
		}
		if len(found) != want {
			t.Errorf("%d keys are found, want %d", len(found), want)
		}
	}
}
