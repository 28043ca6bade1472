package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"unsafe"
)

func TestReadOnlyBatchWaitsForTail(t *testing.T) {
	l := newLeader(t, SequencerOptions{})
	w := l.put("k", "v", 0)
	r, err := l.s.Run(t.Context(), func(b *Batch) {
		if _, found, _ := b.Get([]byte("k")); !found {
			t.Error("an entry in flight is invisible")
		}
	})
	if w.Wrote = false; err != nil || r != w {
		t.Errorf("a batch that only read has ticket %v (%v), want the tail %v", r, err, w)
	}
	if _, found, _ := l.m.View(0).Get([]byte("k")); found {
		t.Error("a view shows what is not applied")
	}
}

func TestTransactionIsOneEntry(t *testing.T) {
	l := newLeader(t, SequencerOptions{})
	before := l.end.Position
	ticket := l.write(func(tx *Tx) {
		for i := range 10 {
			tx.Put(fmt.Appendf(nil, "k%d", i), str("v", 0))
		}
	})
	if ticket.Position != before+1 {
		t.Errorf("ten puts of one transaction reach from %d to %d", before, ticket.Position)
	}
	if empty := l.write(func(tx *Tx) { _, _, _ = tx.Get([]byte("k1")) }); empty.Position != ticket.Position || empty.Wrote {
		t.Errorf("a transaction without effects moved the tail to %v", empty)
	}
	if none := l.write(func(tx *Tx) { _, _ = tx.Delete([]byte("absent")) }); none.Position != ticket.Position || none.Wrote {
		t.Errorf("deleting nothing moved the tail to %v", none)
	}
}

func TestBufferMayBeReused(t *testing.T) {
	l := newLeader(t, SequencerOptions{})
	key, data := []byte("key"), []byte("data")
	l.write(func(tx *Tx) { tx.Put(key, Value{Type: TypeString, Data: data}) })
	copy(key, "xxx")
	copy(data, "yyyy")
	if got := l.get("key"); got != "data" {
		t.Errorf("after the caller reused its buffers the value is %q", got)
	}
	l.settle()
	if got := contents(t, l.m.View(0)); got["key"] != "data@0" {
		t.Errorf("applied is %v", got)
	}
}

func TestEntryTooLarge(t *testing.T) {
	l := newLeader(t, SequencerOptions{MaxEntryBytes: 1000})
	l.put("k", "old", 0)
	_, err := l.s.Run(t.Context(), func(b *Batch) {
		tx := b.Begin()
		tx.Put([]byte("k"), str("new", 0))
		tx.Put([]byte("other"), Value{Type: TypeString, Data: make([]byte, 1000)})
		if err := b.End(); !errors.Is(err, ErrEntryTooLarge) {
			t.Errorf("error %v", err)
		}
	})
	if err != nil || l.get("k") != "old" || l.get("other") != "" {
		t.Errorf("a refused transaction left %q and %q (%v)", l.get("k"), l.get("other"), err)
	}
}

// A transaction that is too large takes no more memory than one that is not, however much more it writes.
func TestTransactionTooLargeStopsGrowing(t *testing.T) {
	l := newLeader(t, SequencerOptions{MaxEntryBytes: 100_000})
	_, err := l.s.Run(t.Context(), func(b *Batch) {
		tx := b.Begin()
		for range 100 {
			tx.Put([]byte("k"), Value{Type: TypeString, Data: make([]byte, 10_000)})
			if len(tx.entry) > 100_000 {
				t.Fatalf("an entry of %d bytes", len(tx.entry))
			}
		}
		tx.Flush()
		if err := b.End(); !errors.Is(err, ErrEntryTooLarge) {
			t.Errorf("error %v", err)
		}
		tx = b.Begin()
		tx.Put([]byte("k"), str("v", 0))
		if err := b.End(); err != nil {
			t.Errorf("the transaction after it: %v", err)
		}
	})
	if err != nil || l.get("k") != "v" {
		t.Errorf("%q, %v", l.get("k"), err)
	}
}

func TestPanicDiscards(t *testing.T) {
	l := newLeader(t, SequencerOptions{})
	for name, f := range map[string]func(b *Batch){
		"panics":      func(b *Batch) { b.Begin().Put([]byte("k"), str("v", 0)); panic("boom") },
		"left open":   func(b *Batch) { b.Begin().Put([]byte("k"), str("v", 0)) },
		"nested":      func(b *Batch) { b.Begin(); b.Begin() },
		"collection":  func(b *Batch) { b.Begin().Put([]byte("k"), Value{Type: TypeHash}) },
		"end first":   func(b *Batch) { _ = b.End() },
		"drop first":  func(b *Batch) { b.Discard() },
		"before 1970": func(b *Batch) { b.Begin().Put([]byte("k"), str("", -1)) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			_, _ = l.s.Run(t.Context(), f)
		}()
		if got := l.get("k"); got != "" { // would hang if the panic had left the lock held
			t.Errorf("%s: the transaction was kept: %q", name, got)
		}
	}
}

func TestTakeSizes(t *testing.T) {
	l := newLeader(t, SequencerOptions{})
	for i := range 10 {
		l.put(fmt.Sprint(i), strings.Repeat("v", 50), 0)
	}
	first, n, payload := l.s.Take(1)
	if first != 2 || n != 1 || len(payload) < 50 {
		t.Errorf("took %d entries from %d, %d bytes", n, first, len(payload))
	}
	one := len(payload)
	if _, n, payload = l.s.Take(3*one + 1); n != 3 || len(payload) != 3*one {
		t.Errorf("took %d entries of %d bytes into %d", n, one, len(payload))
	}
	select {
	case <-l.s.Pending():
	default:
		t.Error("six entries are left but Pending is silent")
	}
	if first, n, _ = l.s.Take(1 << 20); first != 6 || n != 6 {
		t.Errorf("took %d entries from %d", n, first)
	}
	if first, n, payload = l.s.Take(1 << 20); first != 12 || n != 0 || len(payload) != 0 {
		t.Errorf("took %d entries from %d out of nothing", n, first)
	}
}

func TestOpenChecks(t *testing.T) {
	l := newLeader(t, SequencerOptions{})
	if err := l.s.Open(9, l.end.Position+1); err == nil {
		t.Error("opened twice")
	}
	l.s.Close(nil)
	if err := l.s.Open(1, l.end.Position+1); err == nil {
		t.Error("opened again in the same epoch")
	}
	if err := l.s.Open(9, l.end.Position+2); err == nil {
		t.Error("opened above what is applied")
	}
	if _, err := l.s.Run(t.Context(), func(*Batch) {}); !errors.Is(err, ErrNotOpen) {
		t.Errorf("Run when closed: %v", err)
	}
	if err := l.s.Open(9, l.end.Position+1); err != nil {
		t.Error(err)
	}
}

func TestAppliedBeyondTakenPanics(t *testing.T) {
	l := newLeader(t, SequencerOptions{})
	ticket := l.put("k", "v", 0)
	defer func() {
		if recover() == nil {
			t.Error("applying what was never taken passed")
		}
	}()
	l.s.Applied(ticket.Position)
}

func TestLeaderTimeNeverFalls(t *testing.T) {
	l := newLeader(t, SequencerOptions{})
	start := l.s.Now()
	l.put("k", "v", start+50)
	l.clock.now = start + 60
	if l.get("k") != "" {
		t.Error("the key outlived its expiry")
	}
	l.clock.now = start - 1000
	if l.get("k") != "" || l.s.Now() != start+60 {
		t.Errorf("the wall clock went back and leader time followed to %d", l.s.Now()-start)
	}
	l.settle()
	if l.m.AppliedTime() != start+60 {
		t.Errorf("the record is of %d", l.m.AppliedTime()-start)
	}
	// A new leader's wall clock is behind: leader time continues from the last record.
	s := NewSequencer(l.m, SequencerOptions{Clock: l.clock.read, Monotonic: l.clock.elapsed})
	if err := s.Open(9, l.end.Position+1); err != nil || s.Now() != start+60 {
		t.Errorf("the next leader starts at %d (%v)", s.Now()-start, err)
	}
}

// TestOverlayFreesOldKeys checks what the overlay relies on: assigning to a string key of a map replaces the key's bytes,
// so a key that is written all the time does not keep the first entry that wrote it alive.
func TestOverlayFreesOldKeys(t *testing.T) {
	var o overlay
	o.reset()
	first, second := []byte("same key"), []byte("same key")
	o.set(first, pendingKey{at: 1})
	o.set(second, pendingKey{at: 2})
	for k := range o.keys {
		if unsafe.StringData(k) != &second[0] {
			t.Error("the map kept the first key's bytes")
		}
	}
	o.revert()
	if len(o.keys) != 0 {
		t.Errorf("after revert there are %d keys", len(o.keys))
	}
	o.set(first, pendingKey{at: 1})
	o.keep()
	o.set(second, pendingKey{at: 2})
	o.revert()
	copy(second, "rewritten by the next transaction")
	if p, known := o.get([]byte("same key")); !known || p.at != 1 {
		t.Errorf("a reverted key is %+v, %t", p, known)
	}
}

// TestLargeEntries walks every way an entry can outgrow the arena.
func TestLargeEntries(t *testing.T) {
	const small, medium, large = 100, arenaBytes / 5, arenaBytes
	l := newLeader(t, SequencerOptions{MaxBytes: 1 << 30})
	rng := newRand(t, 0)
	want := map[string][]byte{}
	for i := range 300 {
		discard := rng.IntN(5) == 0
		kept := map[string][]byte{}
		_, err := l.s.Run(t.Context(), func(b *Batch) {
			tx := b.Begin()
			for range 1 + rng.IntN(4) {
				key := fmt.Sprint("k", rng.IntN(30))
				data := bytes.Repeat([]byte{byte(i)}, []int{small, medium, large}[rng.IntN(3)])
				tx.Put([]byte(key), Value{Type: TypeString, Data: data})
				kept[key] = data
			}
			if discard {
				b.Discard()
			} else if err := b.End(); err != nil {
				t.Error(err)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		for key, data := range kept {
			if !discard {
				want[key] = data
			}
		}
		if i%50 == 49 {
			l.settle()
		}
		for key, data := range want {
			if l.get(key) != string(data) {
				t.Fatalf("after entry %d, %s is not what was written", i, key)
			}
		}
	}
}

func TestPrefetchAndCloseOfMachine(t *testing.T) {
	l := newLeader(t, SequencerOptions{})
	l.put("k", "v", 0)
	l.settle()
	l.s.Prefetch([]byte("k"))
	l.s.Prefetch([]byte("absent"))
	if l.get("k") != "v" {
		t.Error("prefetch changed something")
	}
	_ = l.m.Close()
	l.s.Prefetch([]byte("k"))
	if _, err := l.s.Run(t.Context(), func(*Batch) { t.Error("ran on a closed machine") }); !errors.Is(err, ErrClosed) {
		t.Errorf("Run on a closed machine: %v", err)
	}
	if _, _, _, err := l.s.Expire(context.Background(), 1); !errors.Is(err, ErrClosed) {
		t.Errorf("Expire on a closed machine: %v", err)
	}
}
