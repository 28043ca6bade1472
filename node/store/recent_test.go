package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/replicatedstore/replicatedstore/replication"
)

// Random effects on keys of which many share a hash: every moment that was noted stays as it was, and the newest effect
// on each key is poured.
func TestRecentAgainstModel(t *testing.T) {
	rng := newRand(t, 0)
	for range 50 {
		r := newRecent(1 << 20)
		state := map[string]string{} // "" is deleted
		flushed := false
		type noted struct {
			moment
			state   map[string]string
			flushed bool
		}
		var past []noted
		hash := func(key string) uint64 { return uint64(len(key)) << 60 }
		for range 1 + rng.IntN(300) {
			r.mu.Lock()
			key := strings.Repeat("k", 1+rng.IntN(3)) + fmt.Sprint(rng.IntN(9))
			switch n := rng.IntN(100); {
			case n < 2:
				r.flush()
				clear(state)
				flushed = true
			case n < 30:
				r.put(hash(key), []byte(key), Value{}, false)
				state[key] = ""
			default:
				value := fmt.Sprint("v", rng.Uint32())
				r.put(hash(key), []byte(key), str(value, 0), true)
				state[key] = value
			}
			r.visible.Store(r.last)
			r.mu.Unlock()
			if rng.IntN(10) == 0 {
				past = append(past, noted{r.now(), maps.Clone(state), flushed})
			}
		}
		past = append(past, noted{r.now(), state, flushed})
		for _, p := range past {
			for n := range 4 {
				for d := range 9 {
					key := strings.Repeat("k", n) + fmt.Sprint(d)
					want, touched := p.state[key]
					raw, known := p.find(hash(key), []byte(key))
					got := ""
					if raw != nil {
						v, err := decodeValue(raw)
						if err != nil {
							t.Fatal(err)
						}
						got = string(v.Data)
					}
					if known != (touched || p.flushed) || got != want {
						t.Fatalf("%s at %d: %q, %t; want %q, touched %t, flushed %t", key, p.version, got, known, want, touched, p.flushed)
					}
				}
			}
		}
		g, poured := r.gens.Load().young, map[string]string{}
		for i := range g.shards {
			s := &g.shards[i]
			for hash, place := range s.index {
				for _, k := range s.newest(hash, place, g.flushedBefore(^uint64(0)), nil) {
					e := s.at(k.place)
					if _, twice := poured[string(e.key)]; twice {
						t.Fatalf("%s is poured twice", e.key)
					}
					poured[string(e.key)] = ""
					if e.raw != nil {
						poured[string(e.key)] = string(e.raw[valueHeaderSize:])
					}
				}
			}
		}
		if !maps.Equal(poured, state) {
			t.Fatalf("poured %v, the state is %v", poured, state)
		}
	}
}

// While a writer changes keys together and generations are poured at any moment, readers of all kinds see whole records,
// each at or after what was applied before, and never go back.
func TestReadersWhilePouring(t *testing.T) {
	const keys, rounds = 8, 4000
	m := openMachine(t, vfs.NewMem(), "state")
	var names [][]byte
	for k := range keys {
		names = append(names, fmt.Appendf(nil, "key%d", k))
	}
	var done atomic.Bool
	var wg sync.WaitGroup
	defer wg.Wait()
	defer done.Store(true)
	reader := func(what string, read func() (values []uint64, err error)) {
		wg.Go(func() {
			last := uint64(0)
			for !done.Load() {
				applied := uint64(m.Applied().Position)
				values, err := read()
				if err != nil {
					t.Errorf("%s: %v", what, err)
					return
				}
				if ceiling := uint64(m.Ceiling().Position); len(values) > 0 && values[0] > ceiling {
					t.Errorf("%s: saw %d, the ceiling is %d", what, values[0], ceiling)
				}
				// One record in ten removes every key.
				for _, v := range values {
					if v != values[0] || v < applied-applied%10 && v < applied || v < last {
						t.Errorf("%s: %v, applied was %d, seen before was %d", what, values, applied, last)
						return
					}
				}
				if len(values) != 0 && len(values) != keys {
					t.Errorf("%s: %d keys", what, len(values))
					return
				}
				if len(values) > 0 {
					last = values[0]
				}
			}
		})
	}
	reader("many", func() (values []uint64, err error) {
		err = m.View(0).GetMany(names, func(_ int, v Value, found bool) bool {
			if found {
				values = append(values, binary.LittleEndian.Uint64(v.Data))
			}
			return true
		})
		return values, err
	})
	reader("scan", func() (values []uint64, err error) {
		err = m.View(0).ForEach(t.Context(), func(e Entry) bool {
			values = append(values, binary.LittleEndian.Uint64(e.Value.Data))
			return true
		})
		return values, err
	})
	wg.Go(func() {
		for !done.Load() {
			if err := m.pour(); err != nil {
				t.Error(err)
			}
		}
	})
	wg.Go(func() {
		for !done.Load() {
			if _, err := m.Flush(t.Context()); err != nil {
				t.Error(err)
			}
			time.Sleep(time.Millisecond)
		}
	})
	for p := uint64(1); p <= rounds; p++ {
		entry := []byte{entryVersion}
		for _, name := range names {
			if p%10 == 0 {
				entry = appendFlush(entry)
				break
			}
			entry = appendPut(entry, name, Value{Type: TypeString, Data: binary.LittleEndian.AppendUint64(nil, p)})
		}
		if err := m.Apply([]replication.Record{record(t, m.Applied(), 1, int64(p), entry)}); err != nil {
			t.Fatal(err)
		}
	}
}

// While the database accepts nothing, applied data can still be read. Readers that need all of it in the database get an
// error after a while. Applying waits for room, and ends with the machine.
func TestDatabaseThatTakesNothing(t *testing.T) {
	m, err := Open(vfs.NewMem(), "state", Options{Memory: minMemory})
	if err != nil {
		t.Fatal(err)
	}
	m.settleWithin = 10 * time.Millisecond
	m.pourMu.Lock()
	applyEntries(t, m, entryOf(putOf("k", "v", 0)))
	if v, found, err := m.View(0).Get([]byte("k")); err != nil || !found || string(v.Data) != "v" {
		t.Errorf("%q, %t, %v", v.Data, found, err)
	}
	if err := m.View(0).ForEach(t.Context(), func(Entry) bool { return true }); !errors.Is(err, errUnsettled) {
		t.Errorf("a scan: %v", err)
	}
	ended := make(chan error, 1)
	go func() {
		for n := 0; ; n++ {
			rec := record(t, m.Applied(), 1, m.AppliedTime()+1, entryOf(putOf(fmt.Sprint("k", n), strings.Repeat("v", 64<<10), 0)))
			if err := m.Apply([]replication.Record{rec}); err != nil {
				ended <- err
				return
			}
		}
	}()
	at := replication.Mark{}
	for began := time.Now(); m.Applied() != at; time.Sleep(20 * time.Millisecond) {
		if at = m.Applied(); time.Since(began) > 30*time.Second {
			t.Fatal("it applies without bound")
		}
	}
	select {
	case err := <-ended:
		t.Fatalf("applying ended: %v", err)
	default:
	}
	closed := make(chan error, 1)
	go func() { closed <- m.Close() }()
	if err := <-ended; !errors.Is(err, ErrClosed) {
		t.Errorf("applying ended with %v", err)
	}
	m.pourMu.Unlock()
	if err := <-closed; err != nil {
		t.Error(err)
	}
}

// A value larger than a generation works like any other.
func TestRecordLargerThanAGeneration(t *testing.T) {
	fs := vfs.NewMem()
	m := openMachine(t, fs, "state")
	large := strings.Repeat("L", int(3*m.recent.budget))
	for range 3 {
		applyEntries(t, m, entryOf(putOf("large", large, 0), putOf("small", "s", 0)))
	}
	if _, err := m.Flush(context.Background()); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{"large": large, "small": "s"} {
		if v, found, err := m.View(0).Get([]byte(key)); err != nil || !found || string(v.Data) != want {
			t.Errorf("%s: %d bytes, %t, %v", key, len(v.Data), found, err)
		}
	}
}
