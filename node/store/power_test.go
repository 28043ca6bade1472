package store

import (
	"bytes"
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/durable"
)

// TestPowerLossAtEveryStep cuts the power before each change of the file system in turn, while a state is created,
// applied to, flushed and copied, and loses none, some or all of what was not synced. What is left opens, is a prefix of
// the log that holds at least what was durable, and replay leads to the end.
func TestPowerLossAtEveryStep(t *testing.T) {
	rng := newRand(t, 0)
	log := blockLog(t, rng, 24)
	marks, states := map[replication.Mark]int{{}: 0}, []string{""}
	reference := openMachine(t, vfs.NewMem(), "state")
	for i := range log {
		if err := reference.Apply(log[i : i+1]); err != nil {
			t.Fatal(err)
		}
		marks[log[i].Mark()] = i + 1
		states = append(states, dump(t, reference))
	}
	steps := 0
	for _, percent := range []int{0, 50, 100} {
		// Every step once, and some again with other losses.
		for at, stride := 0, 1+percent/20; ; at += 1 + rng.IntN(stride) {
			fs := vfs.NewCrashableMem()
			var mu sync.Mutex // Pebble writes from several goroutines
			var clone *vfs.MemFS
			var machine atomic.Pointer[Machine]
			var least replication.Mark
			left := at
			hooked := errorfs.Wrap(fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
				if op.Kind.ReadOrWrite() != errorfs.OpIsWrite {
					return nil
				}
				mu.Lock()
				defer mu.Unlock()
				if left--; left == -1 {
					if m := machine.Load(); m != nil {
						least = m.Durable()
					}
					clone = fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rng})
				}
				return nil
			}))
			if err := work(t, hooked, log, &machine); err != nil {
				t.Fatal(err)
			}
			if clone == nil {
				break
			}
			steps++
			m, err := Open(clone, "state", Options{Memory: minMemory})
			if err != nil {
				t.Fatalf("step %d, %d %%: %v", at, percent, err)
			}
			from, ok := marks[m.Applied()]
			if !ok || m.Applied().Compare(least) < 0 || dump(t, m) != states[from] {
				t.Fatalf("step %d, %d %%: found %v, durable was %v", at, percent, m.Applied(), least)
			}
			if err := m.Apply(log[from:]); err != nil || dump(t, m) != states[len(log)] {
				t.Fatalf("step %d, %d %%: replay from %v: %v", at, percent, m.Applied(), err)
			}
			if err := m.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Logf("%d steps", steps)
	if steps < 100 {
		t.Fatal("steps are missing")
	}
}

// work applies the log in pieces, flushes between them, and makes a checkpoint.
func work(t *testing.T, fs vfs.FS, log []replication.Record, machine *atomic.Pointer[Machine]) error {
	m, err := Open(fs, "state", Options{Memory: minMemory})
	if err != nil {
		return err
	}
	machine.Store(m)
	for i := 0; i < len(log); i += 6 {
		if err := m.Apply(log[i:min(i+6, len(log))]); err != nil {
			return err
		}
		if _, err := m.Flush(t.Context()); err != nil {
			return err
		}
	}
	_, err = m.Checkpoint("copy")
	return errors.Join(err, m.Close())
}

// A process that was killed may leave records of a MANIFEST that are in the page cache only. What the next process calls
// durable, or deletes, must not rest on them.
func TestManifestIsSettled(t *testing.T) {
	fs := vfs.NewCrashableMem()
	m := openMachine(t, fs, "state")
	flushed := func(key string) (path string, data []byte) {
		t.Helper()
		applyEntries(t, m, entryOf(putOf(key, "v", 0)))
		_, err := m.Flush(t.Context())
		if err == nil {
			path, data, err = checkManifest(fs, "state")
		}
		if err != nil {
			t.Fatal(err)
		}
		return path, data
	}
	_, synced := flushed("a")
	path, written := flushed("b")
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if !bytes.HasPrefix(written, synced) || len(written) == len(synced) {
		t.Fatal("another MANIFEST was begun")
	}
	f, err := fs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.Write(bytes.Clone(synced)) // a clone, because Pebble overwrites the buffer under the race detector
	if err = errors.Join(err, f.Sync(), durable.SyncDir(fs, "state")); err != nil {
		t.Fatal(err)
	}
	_, err = f.Write(bytes.Clone(written[len(synced):]))
	if err = errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	// Do not open the whole database: a compaction may start another MANIFEST at once, or not for long.
	if path, written, err = checkManifest(fs, "state"); err != nil {
		t.Fatal(err)
	}
	if err := settleManifest(fs, "state", path, bytes.Clone(written)); err != nil {
		t.Fatal(err)
	}
	_, left, err := checkManifest(fs.CrashClone(vfs.CrashCloneCfg{}), "state")
	if err != nil || !bytes.Equal(left, written) {
		t.Errorf("a power loss leaves %d of %d bytes: %v", len(left), len(written), err)
	}
}
