package snapshot

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/replicatedstore/replicatedstore/replication/durable"
	"github.com/replicatedstore/replicatedstore/replication/meta"
	"github.com/replicatedstore/replicatedstore/replication/wal"
)

// ErrLeftover means that the seed is installed, but the previous generation could not be removed. The next start tries again.
var ErrLeftover = errors.New("could not remove the old generation")

// ErrNotReceived means that the seed to be installed is not the one that META names, or its files are not all there.
var ErrNotReceived = errors.New("snapshot was not received")

// Install makes the seed for which Receive returned m the current generation: the received state, and an empty log that
// continues at m.Mark. This takes one replacement of META, which also ends the need for a seed (see meta.Store.Install).
// The caller must have closed the current log and state machine, and opens those of the new generation afterwards.
//
// A crash leaves the old generation with the whole seed, which the next Receive finds complete, or the new generation.
func Install(fs vfs.FS, store *meta.Store, m Manifest, o wal.Options) error {
	st := store.State()
	if st.Seed == nil || st.Seed.ID != m.ID {
		return fmt.Errorf("install snapshot %s: %w", m.ID, ErrNotReceived)
	}
	g := st.Seed.Generation
	if err := checkFiles(fs, store.StateDir(g), &m); err != nil {
		return fmt.Errorf("install snapshot %s: %w", m.ID, err)
	}
	if err := makeLog(fs, store.LogDir(g), m, o); err != nil {
		return fmt.Errorf("install snapshot %s: make the log of generation %d: %w", m.ID, g, err)
	}
	if err := durable.SyncDir(fs, store.Dir()); err != nil {
		return fmt.Errorf("install snapshot %s: %w", m.ID, err)
	}
	if err := store.Install(); err != nil {
		return fmt.Errorf("install snapshot %s: %w", m.ID, err)
	}
	if _, err := store.RemoveObsolete(); err != nil {
		return fmt.Errorf("install snapshot %s: %w: %w", m.ID, ErrLeftover, err)
	}
	return nil
}

// checkFiles verifies that the state directory holds the files of the manifest and nothing else.
func checkFiles(fs vfs.FS, dir string, m *Manifest) error {
	names, err := fs.List(dir)
	if err != nil {
		return fmt.Errorf("list %s: %w", dir, err)
	}
	if len(names) != len(m.Files) {
		return fmt.Errorf("%w: %d files in %s, %d in the manifest", ErrNotReceived, len(names), dir, len(m.Files))
	}
	for _, f := range m.Files {
		info, err := fs.Stat(fs.PathJoin(dir, f.Name))
		if err != nil {
			return fmt.Errorf("%w: stat %s: %w", ErrNotReceived, f.Name, err)
		}
		if info.Size() != f.Size {
			return fmt.Errorf("%w: %s has %d of %d bytes", ErrNotReceived, f.Name, info.Size(), f.Size)
		}
	}
	return nil
}

// makeLog makes an empty log that continues at the manifest's mark, replacing whatever an interrupted Install left.
func makeLog(fs vfs.FS, dir string, m Manifest, o wal.Options) error {
	if err := fs.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove %s: %w", dir, err)
	}
	o.Create = true
	log, _, err := wal.Open(fs, dir, o)
	if err != nil {
		return err
	}
	return errors.Join(log.Reset(m.Mark, m.Epochs), log.Close())
}
