package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// runExpire runs Expire while this goroutine seals and applies what it proposes.
func (l *leader) runExpire(t *testing.T, limit int) (removed, stale int, more bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), settleLate)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		var err error
		removed, stale, more, err = l.s.Expire(ctx, limit)
		done <- err
	}()
	for {
		select {
		case <-l.s.Pending():
			l.settle()
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			return removed, stale, more
		}
	}
}

// indexEntries counts the entries of the expiry index.
func indexEntries(t *testing.T, m *Machine) int {
	t.Helper()
	return strings.Count("\n"+dump(t, m), fmt.Sprintf("\n%x", spaceExpiry))
}

func TestExpire(t *testing.T) {
	l := newLeader(t, SequencerOptions{})
	now := l.clock.now
	for i := range 300 {
		l.put(fmt.Sprintf("due%d", i), "v", now+10)
	}
	l.put("later", "v", now+1000)
	l.put("never", "v", 0)
	l.put("extended", "v", now+10)
	l.put("persisted", "v", now+10)
	l.settle()
	// The first writes are applied already, so these overwrite blindly and leave their index entries behind.
	l.put("extended", "w", now+2000)
	l.put("persisted", "w", 0)
	l.settle()
	l.clock.now = now + 10

	if got := len(contents(t, l.m.View(l.clock.now))); got != 4 {
		t.Errorf("%d keys are visible, want 4", got)
	}
	removed, stale, more := l.runExpire(t, 250)
	if removed+stale != 250 || !more {
		t.Errorf("first round: removed %d, stale %d, more %t", removed, stale, more)
	}
	r2, s2, more := l.runExpire(t, 250)
	if removed+r2 != 300 || stale+s2 != 2 || more {
		t.Errorf("in two rounds: removed %d, stale %d, more %t", removed+r2, stale+s2, more)
	}
	if r, s, more := l.runExpire(t, 250); r != 0 || s != 0 || more {
		t.Errorf("third round: removed %d, stale %d, more %t", r, s, more)
	}
	// A view as of long ago shows everything that is stored.
	if got := contents(t, l.m.View(0)); len(got) != 4 || got["extended"] != fmt.Sprintf("w@%d", now+2000) {
		t.Errorf("left are %v", got)
	}
	if n := indexEntries(t, l.m); n != 2 {
		t.Errorf("%d index entries are left, want those of later and extended", n)
	}
	replica := openMachine(t, vfs.NewMem(), "replica")
	if err := replica.Apply(l.log); err != nil {
		t.Fatal(err)
	}
	if dump(t, replica) != dump(t, l.m) {
		t.Error("a replica disagrees about what expired")
	}
}

// TestExpireSeesFlight: a due index entry of applied state proves nothing about a key that is being written.
func TestExpireSeesFlight(t *testing.T) {
	l := newLeader(t, SequencerOptions{})
	now := l.clock.now
	l.put("rewritten", "old", now+10)
	l.put("flushed", "old", now+10)
	l.settle()
	l.clock.now = now + 20
	l.put("rewritten", "new", 0) // in flight while Expire looks
	if r, s, _ := l.runExpire(t, 10); r != 1 || s != 1 {
		t.Errorf("removed %d, stale %d, want 1 and 1", r, s)
	}
	if got := contents(t, l.m.View(0)); len(got) != 1 || got["rewritten"] != "new@0" {
		t.Errorf("left are %v", got)
	}
}

// TestKnownExpiryLeavesNoIndex: a transaction that reads a key before writing it cleans up its index entry at once.
func TestKnownExpiryLeavesNoIndex(t *testing.T) {
	for name, write := range map[string]func(tx *Tx){
		"read, put": func(tx *Tx) { _, _, _ = tx.Get([]byte("k")); tx.Put([]byte("k"), str("w", 0)) },
		"delete":    func(tx *Tx) { _, _ = tx.Delete([]byte("k")) },
		"flush":     func(tx *Tx) { tx.Flush() },
		"in flight": func(tx *Tx) {
			tx.Put([]byte("k"), str("w", tx.Now()+77))
			tx.Put([]byte("k"), str("x", 0))
			_, _ = tx.Delete([]byte("k"))
		},
		"read, expired": func(tx *Tx) { _, _, _ = tx.Get([]byte("k")); tx.Put([]byte("k"), str("w", 1)) },
	} {
		t.Run(name, func(t *testing.T) {
			l := newLeader(t, SequencerOptions{})
			l.put("k", "v", l.clock.now+1000)
			if name != "in flight" {
				l.settle()
				if indexEntries(t, l.m) != 1 {
					t.Fatal("no index entry to begin with")
				}
			}
			l.write(write)
			l.settle()
			if n := indexEntries(t, l.m); n != 0 {
				t.Errorf("%d index entries are left", n)
			}
		})
	}
}

// TestExpireFindsLateEntries: an index entry that appears behind the mark is found by a later full scan.
func TestExpireFindsLateEntries(t *testing.T) {
	l := newLeader(t, SequencerOptions{})
	now := l.clock.now
	l.put("early", "v", now+10)
	l.put("latest", "v", now+20)
	l.settle()
	l.put("late", "v", now+15) // in time, but applied only after the scan has passed
	l.clock.now = now + 30
	due, _, err := l.m.due(l.s.expiry.start(), l.clock.now, 10, 1<<20)
	if err != nil || len(due) != 2 {
		t.Fatalf("due are %v (%v)", due, err)
	}
	l.s.expiry.passed(due[1])
	l.settle()
	if r, s, _ := l.runExpire(t, 10); r != 0 || s != 0 {
		t.Errorf("behind the mark, %d were removed and %d stale", r, s)
	}
	removed := 0
	for range fullScanEvery {
		r, _, _ := l.runExpire(t, 10)
		removed += r
	}
	if left := contents(t, l.m.View(0)); removed != 3 || len(left) != 0 {
		t.Errorf("full scans removed %d, left are %v", removed, left)
	}
}

// Keys that are so long that one entry removes only some of them are removed all the same. No key too long for that can
// be written.
func TestExpireLongKeys(t *testing.T) {
	const keys, entry = 9, 64 << 10
	l := newLeader(t, SequencerOptions{MaxEntryBytes: entry})
	now := l.clock.now
	for i := range keys {
		l.put(fmt.Sprint(i, strings.Repeat("k", entry/keyPart-1)), "v", now+10)
		l.settle()
	}
	l.clock.now = now + 10
	for left := keys; left > 0; left-- {
		if removed, _, more := l.runExpire(t, 1000); removed != 1 || more != (left > 1) {
			t.Fatalf("of %d keys: removed %d, more %t", left, removed, more)
		}
	}
	_, err := l.s.Run(t.Context(), func(b *Batch) {
		b.Begin().Put(make([]byte, entry/keyPart+1), str("v", 0))
		if err := b.End(); !errors.Is(err, ErrKeyTooLong) {
			t.Errorf("error %v", err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}

// The limits on keys and writes in docs/commands.md hold: the longest possible key is written, expires and is removed; a
// longer one is rejected, as is an entry that a record could not hold.
func TestLongestKey(t *testing.T) {
	const key, entry = 33_554_418, 134_217_675
	l := newLeader(t, SequencerOptions{})
	l.put(strings.Repeat("k", key), "v", l.clock.now+10)
	l.settle()
	l.clock.now += 10
	if removed, _, more := l.runExpire(t, 1000); removed != 1 || more {
		t.Errorf("removed %d, more %t", removed, more)
	}
	for _, c := range []struct {
		key, value int
		want       error
		says       int
	}{{key + 1, 1, ErrKeyTooLong, key}, {1, entry, ErrEntryTooLarge, entry}} {
		_, err := l.s.Run(t.Context(), func(b *Batch) {
			b.Begin().Put(make([]byte, c.key), Value{Type: TypeString, Data: make([]byte, c.value)})
			if err := b.End(); !errors.Is(err, c.want) || !strings.Contains(err.Error(), fmt.Sprint(c.says)) {
				t.Errorf("a key of %d bytes and a value of %d: %v", c.key, c.value, err)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}
