package store

import (
	"fmt"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Space of deleted data is given back piece by piece although nothing more is written, and everything else is still
// there.
func TestReclaim(t *testing.T) {
	rng := newRand(t, 0)
	m, err := Open(vfs.NewMem(), "state", Options{Memory: minMemory})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = m.Close() }()
	const keys, large = 1000, 8 << 10
	value := make([]byte, large)
	for i := range keys {
		for j := range value {
			value[j] = byte(rng.Uint32())
		}
		applyEntries(t, m, entryOf(putOf(fmt.Sprint("key", i), string(value), 0)))
	}
	flush := func() (bytes uint64) {
		t.Helper()
		if _, err := m.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		bytes, _ = m.garbage()
		return bytes
	}
	if n := flush(); n < keys*large {
		t.Fatalf("%d bytes are in tables", n)
	}
	for i := range keys {
		if i%4 != 0 {
			applyEntries(t, m, entryOf(deleteOf(fmt.Sprint("key", i))))
		}
	}
	const left = keys * large * 3 / 10 // a quarter, and what the tables need besides it
	before := flush()
	for began := time.Now(); ; time.Sleep(time.Millisecond) { // the database counts a little later
		if size, worth := m.garbage(); worth || size <= left { // or it has given it back already
			break
		}
		if time.Since(began) > time.Minute {
			t.Fatal("nothing to reclaim")
		}
	}
	if err := m.Reclaim(); err != nil {
		t.Fatal(err)
	}
	if n := flush(); n > left {
		t.Errorf("%d bytes are in tables for %d that are left, %d before", n, keys*large/4, before)
	}
	for i := range keys {
		if v, found, err := m.View(0).Get(fmt.Append(nil, "key", i)); err != nil || found != (i%4 == 0) || found && len(v.Data) != large {
			t.Fatalf("key%d: %d bytes, %t, %v", i, len(v.Data), found, err)
		}
	}
}

// On a volume that stays full, repeated calls of Reclaim leave only one flush waiting for room: they do not add up.
func TestReclaimOnAFullVolumeBeginsOneFlush(t *testing.T) {
	fs := &fullDisk{FS: vfs.NewMem(), why: syscall.ENOSPC, spare: true}
	m, err := Open(fs, "state", Options{Memory: minMemory})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = m.Close() }()
	m.pieceTime = 10 * time.Millisecond
	flush := func() {
		t.Helper()
		if _, err := m.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	const keys = 2 * reclaimKeys
	for i := range keys {
		applyEntries(t, m, entryOf(putOf(fmt.Sprint("key", i), "value", 0)))
	}
	flush()
	fs.full.Store(true) // tables are flushed but not compacted: deleted data stays
	for i := range keys {
		applyEntries(t, m, entryOf(deleteOf(fmt.Sprint("key", i))))
	}
	flush()
	for began := time.Now(); ; time.Sleep(time.Millisecond) { // the database counts a little later
		if _, worth := m.garbage(); worth {
			break
		}
		if time.Since(began) > time.Minute {
			t.Fatal("nothing to reclaim")
		}
	}
	m.pourMu.Lock() // held, as by a pour that waits for room
	before := runtime.NumGoroutine()
	for range 10 {
		if err := m.Reclaim(); err != nil {
			t.Fatal(err)
		}
	}
	if n := runtime.NumGoroutine() - before; n > 5 {
		t.Errorf("%d goroutines wait for room", n)
	}
	first := m.reclaiming
	m.pourMu.Unlock()
	select {
	case <-first.done:
	case <-time.After(time.Minute):
		t.Fatal("it does not end when there is room")
	}
	if err := m.Reclaim(); err != nil || m.reclaiming == first {
		t.Errorf("with room again no flush begins: %v", err)
	}
}
