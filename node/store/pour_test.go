package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/bits"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/replicatedstore/replicatedstore/replication"
)

// Random effects, on keys with equal hashes and others, with pours, flushes and crashes in between: the state is the
// prefix of the log that Applied names, however it is read.
func TestStateIsAPrefixWhateverIsPoured(t *testing.T) {
	rng := newRand(t, 0)
	keys := collidingKeys(5)
	for i := range 6 {
		keys = append(keys, fmt.Appendf(nil, "k%d", i))
	}
	for began := time.Now(); time.Since(began) < 2*time.Second; {
		fs := vfs.NewCrashableMem()
		m, err := Open(fs, "state", Options{Memory: minMemory})
		if err != nil {
			t.Fatal(err)
		}
		m.settleWithin = settleLate
		type state struct {
			kv map[string]string
			x  map[string]bool
		}
		cur := state{map[string]string{}, map[string]bool{}}
		history := map[replication.Mark]state{{}: {map[string]string{}, map[string]bool{}}}
		var log []replication.Record
		checkState := func(m *Machine, what string) {
			t.Helper()
			want, ok := history[m.Applied()]
			if !ok {
				t.Fatalf("%s: unknown mark %v", what, m.Applied())
			}
			for _, k := range keys {
				v, found, err := m.View(0).Get(k)
				w, is := want.kv[string(k)]
				if err != nil || found != is || string(v.Data) != w {
					t.Fatalf("%s: get %q: %q %t %v, want %q %t", what, k, v.Data, found, err, w, is)
				}
			}
			err := m.View(0).GetMany(keys, func(i int, v Value, found bool) bool {
				w, is := want.kv[string(keys[i])]
				if found != is || string(v.Data) != w {
					t.Fatalf("%s: many %q: %q %t, want %q %t", what, keys[i], v.Data, found, w, is)
				}
				return true
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		scanState := func(m *Machine, what string) {
			t.Helper()
			want := history[m.Applied()]
			got := map[string]string{}
			if err := m.View(0).ForEach(context.Background(), func(e Entry) bool { got[string(e.Key)] = string(e.Value.Data); return true }); err != nil {
				t.Fatal(err)
			}
			if !maps.Equal(got, want.kv) {
				t.Fatalf("%s: scan %v, want %v", what, got, want.kv)
			}
			due, _, err := m.due([]byte{spaceExpiry}, 1<<40, 1000, 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			x := map[string]bool{}
			for _, d := range due {
				x[fmt.Sprint(d.expireAt, string(d.key))] = true
			}
			if !maps.Equal(x, want.x) {
				t.Fatalf("%s: index %v, want %v", what, x, want.x)
			}
		}
		for range 60 {
			var entries [][]byte
			for range 1 + rng.IntN(4) {
				e := []byte{entryVersion}
				for range 1 + rng.IntN(3) {
					k := keys[rng.IntN(len(keys))]
					switch n := rng.IntN(20); {
					case n == 0:
						e = appendFlush(e)
						cur = state{map[string]string{}, map[string]bool{}}
					case n < 6:
						e = appendDelete(e, k)
						delete(cur.kv, string(k))
					case n < 9:
						at := int64(1e9 + rng.IntN(3))
						e = appendUnindex(e, at, k)
						delete(cur.x, fmt.Sprint(at, string(k)))
					default:
						at := int64(0)
						if rng.IntN(2) == 0 {
							at = int64(1e9 + rng.IntN(3))
							cur.x[fmt.Sprint(at, string(k))] = true
						}
						v := fmt.Sprint(rng.Uint32())
						e = appendPut(e, k, Value{Type: TypeString, Data: []byte(v), ExpireAt: at})
						cur.kv[string(k)] = v
					}
				}
				entries = append(entries, e)
			}
			r := record(t, m.Applied(), 1, int64(len(log)+1), entries...)
			log = append(log, r)
			if err := m.Apply([]replication.Record{r}); err != nil {
				t.Fatal(err)
			}
			history[r.Mark()] = state{maps.Clone(cur.kv), maps.Clone(cur.x)}
			switch rng.IntN(12) {
			case 0:
				if err := m.pour(); err != nil {
					t.Fatal(err)
				}
			case 1:
				if _, err := m.Flush(t.Context()); err != nil {
					t.Fatal(err)
				}
			case 2:
				scanState(m, "live")
			case 3:
				crashed := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(101), RNG: rng})
				least := m.Durable()
				c, err := Open(crashed, "state", Options{Memory: minMemory})
				if err != nil {
					t.Fatal(err)
				}
				c.settleWithin = settleLate
				if c.Applied().Compare(least) < 0 {
					t.Fatalf("crash lost %v", least)
				}
				checkState(c, "crashed")
				scanState(c, "crashed")
				_ = c.Close()
			}
			checkState(m, "live")
		}
		_ = m.Close()
	}
}

// A reader that has seen a batch by a read also finds it by a scan, even while the batch is being applied.
func TestScanSeesWhatAReadBeforeItSaw(t *testing.T) {
	m := openMachine(t, vfs.NewMem(), "state")
	applyEntries(t, m, entryOf(putOf("k", "1", 0)))
	if err := m.settle(); err != nil {
		t.Fatal(err)
	}
	// This is applyBatch halted after visible.Store and before applied.Store (its own steps, in its own order).
	rec := record(t, m.Applied(), 1, m.AppliedTime()+1, entryOf(putOf("k", "2", 0)))
	to := applied{mark: rec.Mark(), unixMilli: rec.UnixMilli}
	r := m.recent
	r.mu.Lock()
	m.note(&rec)
	m.ceiling.Store(&to)
	r.visible.Store(r.last)
	done := make(chan string, 2)
	go func() {
		v, _, _ := m.View(0).Get([]byte("k"))
		done <- string(v.Data)
		if err := m.View(0).ForEach(context.Background(), func(e Entry) bool { done <- string(e.Value.Data); return true }); err != nil {
			done <- err.Error() // or the test would wait forever on a busy machine
		}
	}()
	get := <-done
	var scan string
	select {
	case scan = <-done:
	case <-time.After(500 * time.Millisecond): // it waits for the batch, as it should
	}
	m.applied.Store(&to)
	r.mu.Unlock()
	if scan == "" {
		scan = <-done
	}
	if get != scan {
		t.Fatalf("GET answered %q, and a scan after it %q", get, scan)
	}
}

// Close ends everything that is under way.
func TestCloseWhileBusy(t *testing.T) {
	before := runtime.NumGoroutine()
	for range 8 {
		m, err := Open(vfs.NewMem(), "state", Options{Memory: minMemory})
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			for n := 0; ; n++ {
				rec := record(t, m.Applied(), 1, m.AppliedTime()+1, entryOf(putOf(fmt.Sprint("k", n), strings.Repeat("v", 32<<10), int64(n%3)*1000)))
				if err := m.Apply([]replication.Record{rec}); err != nil {
					if !errors.Is(err, ErrClosed) {
						t.Error(err)
					}
					return
				}
			}
		})
		for range 2 {
			wg.Go(func() {
				for {
					if _, err := m.Flush(context.Background()); err != nil {
						return
					}
				}
			})
			wg.Go(func() {
				for {
					if _, err := m.View(0).Count(context.Background()); err != nil {
						return
					}
				}
			})
			wg.Go(func() {
				for {
					if _, _, err := m.due([]byte{spaceExpiry}, 5000, 10, 1<<20); err != nil {
						return
					}
				}
			})
		}
		wg.Go(func() {
			whole := context.WithoutCancel(m.closing) // Pebble 2.1 may panic if a compaction is canceled as it begins
			for m.closing.Err() == nil && m.gate.enter() {
				err := m.db.Compact(whole, []byte{spaceData}, []byte{spaceExpiry}, false) // as Reclaim does
				m.gate.leave()
				if err != nil {
					return
				}
			}
		})
		wg.Go(func() {
			for n := 0; ; n++ {
				if _, err := m.Checkpoint(fmt.Sprint("copy", n)); err != nil {
					return
				}
			}
		})
		time.Sleep(time.Duration(20+runtime.NumGoroutine()) * time.Millisecond)
		closed := make(chan struct{})
		go func() { _ = m.Close(); close(closed) }()
		select {
		case <-closed:
		case <-time.After(time.Minute):
			t.Fatal("Close hangs")
		}
		wg.Wait()
	}
	for range 12_000 {
		if runtime.NumGoroutine() <= before+5 {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Errorf("%d goroutines left", runtime.NumGoroutine()-before)
}

// collidingKeys returns keys with equal XXH64, which has no seed here: two words of a lane cancel each other.
func collidingKeys(n int) [][]byte {
	const p1, p2 = 11400714785074694791, 14029467366897019727
	var base = [64]byte{}
	for i := range base {
		base[i] = 'a'
	}
	round := func(acc, lane uint64) uint64 { return bits.RotateLeft64(acc+lane*p2, 31) * p1 }
	inv := uint64(1) // of p2 modulo 2^64
	p2v := uint64(p2)
	for range 6 {
		inv *= 2 - p2v*inv
	}
	start := uint64(p1)
	start += p2v // lane 1 of seed 0
	want := round(start, binary.LittleEndian.Uint64(base[0:])) + binary.LittleEndian.Uint64(base[32:])*p2v
	var out [][]byte
	for i := range n {
		k := base
		binary.LittleEndian.PutUint64(k[0:], uint64(i))
		acc := round(start, uint64(i))
		binary.LittleEndian.PutUint64(k[32:], (want-acc)*inv)
		out = append(out, k[:])
	}
	return out
}

// An applier that is told to end does not wait for room, which may take as long as a volume is full. What it was to apply
// is applied later.
func TestApplyingEndsWhereThereIsNoRoom(t *testing.T) {
	m := openMachine(t, vfs.NewMem(), "state")
	next := func() []replication.Record {
		entry := entryOf(putOf("k", strings.Repeat("v", 32<<10), 0))
		return []replication.Record{record(t, m.Applied(), 1, m.AppliedTime()+1, entry)}
	}
	crowded := func() bool {
		m.recent.mu.Lock()
		defer m.recent.mu.Unlock()
		return m.recent.crowded()
	}
	m.pourMu.Lock() // nothing reaches the database
	for !crowded() {
		if err := m.Apply(next()); err != nil {
			t.Fatal(err)
		}
	}
	before := m.Applied()
	why := errors.New("another log")
	for _, wait := range []time.Duration{0, 20 * time.Millisecond} {
		ctx, end := context.WithCancelCause(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- m.ApplyUntil(ctx, next()) }()
		time.Sleep(wait)
		end(why)
		select {
		case err := <-ended:
			if !errors.Is(err, why) || m.Applied() != before {
				t.Errorf("ended with %v at %v, not at %v", err, m.Applied(), before)
			}
		case <-time.After(time.Minute):
			t.Fatal("it waits for room")
		}
	}
	m.pourMu.Unlock()
	if err := m.Apply(next()); err != nil || m.Applied().Position != before.Position+1 {
		t.Errorf("with room again: %v, %v", m.Applied(), err)
	}
}
