package snapshot

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/replicatedstore/replicatedstore/replication/durable"
	"github.com/replicatedstore/replicatedstore/replication/meta"
)

// After a failed fsync nobody knows which pages are on disk, and the next one would succeed, so what was received of the
// file is discarded and not resumed.
func TestAFailedSyncTakesTheFileWithIt(t *testing.T) {
	for name, kind := range map[string]errorfs.OpKind{
		"as it is written back": errorfs.OpFileSyncTo, "amid the file": errorfs.OpFileSyncData, "at its end": errorfs.OpFileSync,
	} {
		t.Run(name, func(t *testing.T) {
			o := newOrigin(t, seeded(t), 10, syncEvery+2*ChunkBytes, 20)
			mem := vfs.NewMem()
			store := openMeta(t, mem)
			const failing = "000001.sst"
			broken := errors.New("the disk did not take it")
			var failed atomic.Bool
			fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
				if op.Kind == kind && strings.HasSuffix(op.Path, failing+partSuffix) && !failed.Swap(true) {
					return broken
				}
				return nil
			}))
			if _, _, err := transfer(t, o.Source, receiveOptions(fs, store), nil); !errors.Is(err, broken) {
				t.Fatalf("received with %v", err)
			}
			for _, name := range []string{failing, failing + partSuffix} {
				if _, err := mem.Stat(mem.PathJoin(store.StateDir(2), name)); !durable.IsNotExist(err) {
					t.Errorf("%s is still there: %v", name, err)
				}
			}
			o.seeds(t, fs, mem, store)
		})
	}
}

// The same holds for what was received when the directory could not be synced: seeing its names says nothing about the
// disk.
func TestAFailedSyncOfTheDirectoryTakesTheFilesWithIt(t *testing.T) {
	o := newOrigin(t, seeded(t), 10, 20)
	mem := vfs.NewMem()
	store := openMeta(t, mem)
	dir := store.StateDir(2)
	broken := errors.New("the disk did not take it")
	var failed atomic.Bool
	fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileSync && op.Path == dir && !failed.Swap(true) {
			return broken
		}
		return nil
	}))
	if _, _, err := transfer(t, o.Source, receiveOptions(fs, store), nil); !errors.Is(err, broken) {
		t.Fatalf("received with %v", err)
	}
	if names, err := mem.List(dir); len(names) > 0 || err != nil && !durable.IsNotExist(err) {
		t.Errorf("there is still %v, %v", names, err)
	}
	o.seeds(t, fs, mem, store)
}

// seeds makes a receiver take and install a snapshot.
func (o *origin) seeds(t *testing.T, fs, mem vfs.FS, store *meta.Store) {
	t.Helper()
	m, _, err := transfer(t, o.Source, receiveOptions(fs, store), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := Install(fs, store, m, smallLog); err != nil {
		t.Fatal(err)
	}
	o.holds(t, mem, store)
}
