package store

import (
	"errors"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/replicatedstore/replicatedstore/replication"
)

// TestResidentViewNeverReadsTheDatabase: the view knows what was written or read last, and reports that it does not know
// the rest.
func TestResidentViewNeverReadsTheDatabase(t *testing.T) {
	fs := vfs.NewMem()
	m := openMachine(t, fs, "d")
	end := m.Applied()
	apply := func(effects ...func([]byte) []byte) {
		t.Helper()
		rec := record(t, end, 1, 1, entryOf(effects...))
		if err := m.Apply([]replication.Record{rec}); err != nil {
			t.Fatal(err)
		}
		end = rec.Mark()
	}
	expect := func(key, want string, wantErr error) {
		t.Helper()
		got := "none"
		_, err := m.View(0).Resident().Read([]byte(key), func(v Value) { got = string(v.Data) })
		if got != want || !errors.Is(err, wantErr) {
			t.Errorf("%s: %s, %v; want %s, %v", key, got, err, want, wantErr)
		}
	}
	apply(putOf("a", "1", 0), putOf("b", "2", 0))
	expect("a", "1", nil)
	expect("never there", "none", ErrNotResident)
	apply(deleteOf("b"))
	expect("b", "none", nil)
	if _, err := m.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	m = openMachine(t, fs, "d") // it remembers nothing
	expect("a", "none", ErrNotResident)
	expect("b", "none", ErrNotResident)
	if v, found, err := m.View(0).Get([]byte("a")); err != nil || !found || string(v.Data) != "1" {
		t.Fatalf("read from the database: %v, %t, %v", v, found, err)
	}
	expect("a", "1", nil)
	if _, found, err := m.View(0).Get([]byte("b")); err != nil || found {
		t.Fatalf("read from the database: %t, %v", found, err)
	}
	expect("b", "none", nil)
	apply(putOf("b", "3", 0), deleteOf("a"), putOf("c", "4", 0))
	if _, err := m.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	expect("b", "3", nil) // what was read before it was changed is remembered
	expect("a", "none", nil)
	expect("c", "none", ErrNotResident)
	apply(putOf("d", "5", 0))
	expect("d", "5", nil)
	if _, err := m.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	expect("d", "5", nil)                                             // and what was read before it got to the database
	for key, want := range map[string]string{"a": "none", "b": "3"} { // what was recorded of them before is forgotten
		got := "none"
		if v, found, err := m.View(0).Get([]byte(key)); err != nil {
			t.Fatal(err)
		} else if found {
			got = string(v.Data)
		}
		if got != want {
			t.Errorf("%s is %s after it was flushed, want %s", key, got, want)
		}
	}
}
