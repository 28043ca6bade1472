package replication_test

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/wal"
)

// newLog returns an empty log in memory.
func newLog(t *testing.T) replication.Log {
	t.Helper()
	l, _, err := wal.Open(vfs.NewMem(), "wal", wal.Options{Create: true})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// memStable keeps promises in memory.
type memStable struct{ p replication.Promises }

func (s *memStable) Save(p replication.Promises) error { s.p = p; return nil }
