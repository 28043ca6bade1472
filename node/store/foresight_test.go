package store

import (
	"bytes"
	"fmt"
	"testing"
)

// foresee reads keys ahead of a batch.
func (l *leader) foresee(keys ...string) *Foresight {
	f := l.s.Foresee()
	for _, k := range keys {
		f.Prefetch([]byte(k), false)
	}
	return f
}

// pour moves everything that is applied from the recent writes to the database.
func (l *leader) pour() {
	l.t.Helper()
	l.settle()
	if err := l.m.pour(); err != nil {
		l.t.Fatal(err)
	}
}

// with runs a batch that uses f.
func (l *leader) with(f *Foresight, use func(b *Batch)) {
	l.t.Helper()
	if _, err := l.s.Run(l.t.Context(), func(b *Batch) { b.Use(f); use(b) }); err != nil {
		l.t.Fatal(err)
	}
}

// shows returns what a batch that uses f reads of key.
func (l *leader) shows(f *Foresight, key string) (got string) {
	l.t.Helper()
	l.with(f, func(b *Batch) {
		exists, err := b.Exists([]byte(key))
		v, found, err2 := b.Get([]byte(key))
		if err != nil || err2 != nil || exists != found {
			l.t.Errorf("%s: exists %t (%v), got %t (%v)", key, exists, err, found, err2)
		}
		tx := b.Begin()
		for name, head := range map[string]func([]byte) (Value, int, bool, error){"batch": b.Head, "transaction": tx.Head} {
			h, size, found, err := head([]byte(key))
			if err != nil || found != exists || size != len(v.Data) || h.Type != v.Type || h.ExpireAt != v.ExpireAt || h.Data != nil {
				l.t.Errorf("%s: %s: head %+v, %d bytes, found %t (%v); got %v, %d, %d bytes", key, name, h, size, found, err, v.Type, v.ExpireAt, len(v.Data))
			}
		}
		b.Discard()
		if got = "none"; found {
			got = string(v.Data)
		}
	})
	return got
}

// Keys are in no cache any more, as if there were more than fit: the disk is not read while the sequencer is locked.
func TestForesightSparesTheDisk(t *testing.T) {
	l := newLeader(t, SequencerOptions{})
	const n = 30_000
	var keys []string
	for i := range n {
		keys = append(keys, fmt.Sprintf("key%06d", i))
		l.put(keys[i], string(bytes.Repeat([]byte{byte(i)}, 1024)), 0)
		if i%1000 == 0 {
			l.settle()
		}
	}
	l.pour()
	if _, err := l.m.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	remove := func(f *Foresight) (misses int64) {
		before := l.m.db.Metrics().BlockCache.Misses
		l.with(f, func(b *Batch) {
			tx := b.Begin()
			for _, k := range keys {
				if existed, err := tx.Delete([]byte(k)); !existed || err != nil {
					t.Fatalf("%s: existed %t (%v)", k, existed, err)
				}
			}
			b.Discard()
		})
		return l.m.db.Metrics().BlockCache.Misses - before
	}
	for _, k := range keys {
		l.s.Prefetch([]byte(k))
	}
	if misses := remove(nil); misses < 100 {
		t.Fatalf("%d misses without foresight: they are all in memory, and this test shows nothing", misses)
	}
	f := l.foresee(keys...)
	defer f.End()
	if len(f.keys) < 5_000 {
		t.Fatalf("%d keys are foreseen", len(f.keys))
	}
	first, misses := keys[:n/2], int64(0)
	keys = keys[:5_000]
	quietly(t, l.m, func() {
		for _, k := range first {
			l.s.Prefetch([]byte(k)) // so that what was read last is not what is needed first
		}
		misses = remove(f)
	})
	if misses != 0 {
		t.Errorf("%d misses with foresight", misses)
	}
}

// Nothing is read for the head of a long value that was foreseen. Otherwise it counts, as a copy of the value does.
func TestHeadsReadNothing(t *testing.T) {
	const size = 1 << 20
	l := newLeader(t, SequencerOptions{})
	l.put("k", string(make([]byte, size)), 0)
	l.pour()
	f := l.foresee("k")
	defer f.End()
	for name, tc := range map[string]struct {
		with       *Foresight
		head, read int64
	}{"foreseen": {f, 0, size}, "not foreseen": {nil, size, 2 * size}} {
		l.with(tc.with, func(b *Batch) {
			if _, n, found, err := b.Head([]byte("k")); n != size || !found || err != nil {
				t.Errorf("%s: %d bytes, found %t (%v)", name, n, found, err)
			}
			head := b.Read()
			_, _, _ = b.Get([]byte("k"))
			if read := b.Read(); head != tc.head || read != tc.read {
				t.Errorf("%s: the head took %d bytes, with the value %d", name, head, read)
			}
		})
	}
}

// A foreseen value is no longer used once the key was written, wherever that write is by now.
func TestForesightDoesNotHideWrites(t *testing.T) {
	where := map[string]func(*leader){
		"in flight": func(*leader) {},
		"recent":    (*leader).settle,
		"poured":    (*leader).pour,
	}
	change := map[string]struct {
		do   func(*leader)
		want string
	}{
		"put":    {func(l *leader) { l.put("k", "new", 0) }, "new"},
		"delete": {func(l *leader) { l.write(func(tx *Tx) { _, _ = tx.Delete([]byte("k")) }) }, "none"},
		"flush":  {func(l *leader) { l.write((*Tx).Flush) }, "none"},
		"expiry": {func(l *leader) {
			l.put("k", "short", l.clock.now+1)
			l.clock.pass(1e9)
		}, "none"},
	}
	for at, get := range where {
		for what, c := range change {
			for _, renewed := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, %s, renewed %t", what, at, renewed), func(t *testing.T) {
					l := newLeader(t, SequencerOptions{})
					l.put("k", "old", 0)
					l.pour()
					f := l.foresee("k", "absent")
					if got := l.shows(f, "k"); got != "old" {
						t.Fatalf("foreseen: %q", got)
					}
					c.do(l)
					get(l)
					l.put("absent", "made", 0)
					get(l)
					if renewed {
						f.Renew()
					}
					if got := l.shows(f, "k"); got != c.want {
						t.Errorf("shows %q, want %q", got, c.want)
					}
					if got := l.shows(f, "absent"); got != "made" {
						t.Errorf("shows %q of a key that was made", got)
					}
					if f.End(); l.m.foresight.left.Load() != foresightBytes(minMemory) {
						t.Errorf("%d bytes are left", l.m.foresight.left.Load())
					}
				})
			}
		}
	}
}

// With random writes, pours and prefetches, a batch shows the same with foresight as without.
func TestForesightAgrees(t *testing.T) {
	rnd := newRand(t, 1)
	l := newLeader(t, SequencerOptions{})
	key := func() string { return fmt.Sprintf("k%d", rnd.IntN(12)) }
	f := l.foresee()
	for i := range 20_000 {
		switch rnd.IntN(14) {
		case 0:
			l.settle()
		case 1:
			l.pour()
		case 2:
			f.End()
			f = l.foresee()
		case 3:
			f.Renew()
		case 4:
			l.write(func(tx *Tx) { _, _ = tx.Delete([]byte(key())) })
		case 5:
			if rnd.IntN(20) == 0 {
				l.write((*Tx).Flush)
			}
		case 6, 7:
			l.put(key(), string(bytes.Repeat([]byte{'x'}, longestForeseen-1+rnd.IntN(3))), 0)
		case 8, 9:
			l.put(key(), fmt.Sprint(i), l.clock.now+rnd.Int64N(40))
		case 10:
			l.clock.pass(7e6)
		default:
			f.Prefetch([]byte(key()), rnd.IntN(2) == 0)
		}
		k := key()
		if with, without := l.shows(f, k), l.shows(nil, k); with != without {
			t.Fatalf("step %d: %s is %.20q with foresight, %.20q without", i, k, with, without)
		}
	}
}
