package store

import (
	"fmt"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// What was deleted is given back although nothing more is written, piece by piece, and what is left is all there.
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
	const left = keys * large * 3 / 10 // a quarter, and what the tables have beside it
	before := flush()
	for began := time.Now(); ; time.Sleep(time.Millisecond) { // the database counts a little later
		if size, worth := m.garbage(); worth || size <= left { // or has given it back already
			break
		}
		if time.Since(began) > 20*time.Second {
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
