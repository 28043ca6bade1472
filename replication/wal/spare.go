package wal

import (
	"errors"
	"fmt"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/replicatedstore/replicatedstore/replication/durable"
)

// spareName is the file of the next segment until it gets its header and its name; Open removes a leftover one.
const spareName = "next" + durable.TempSuffix

// syncStep is how much of a file that is long is written between two fsyncs, so that none takes long, and none of the log's own waits long
// for it.
const syncStep = 4 << 20

// spare has files for segments to come: one that was prepared in the background, and those that pruning has left.
type spare struct {
	mu       sync.Mutex
	busy     chan struct{} // closed when the running preparation ends; nil when none runs
	prepared blank         // for the next segment; when it is new, zero-filled and fsynced
	freed    []blank       // oldest first; see free.go
	limit    int           // of freed
	wrote    func()        // Options.Wrote; nil: nobody is told
}

// blank is a file that may become a segment; the zero value is none.
type blank struct {
	path string
	size int64
	used bool // it was a segment before, and is full of what that held
}

// start prepares a file of size bytes, beside the caller by way of spawn, unless there is one or one is being made.
func (s *spare) start(spawn func(func()), fs vfs.FS, path string, size int64) {
	s.mu.Lock()
	if s.busy == nil && s.prepared.path == "" && len(s.freed) > 0 {
		s.prepared, s.freed = s.freed[0], s.freed[1:]
	}
	if s.busy != nil || s.prepared.path != "" {
		s.mu.Unlock()
		return
	}
	done := make(chan struct{})
	s.busy = done
	s.mu.Unlock()
	spawn(func() { s.prepare(fs, path, size, done) })
}

// prepare makes the file that busy tells of, which is done.
func (s *spare) prepare(fs vfs.FS, path string, size int64, done chan struct{}) {
	err := createZeroed(fs, path, size, s.wrote)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil { // or else whoever needs the file makes it, and learns why that does not work
		s.prepared = blank{path: path, size: size}
	}
	s.busy = nil
	close(done)
}

// ensure has a file of at least need bytes there, where that is possible: it makes one of size bytes if none is.
func (s *spare) ensure(fs vfs.FS, path string, size, need int64) {
	s.wait()
	s.mu.Lock()
	if s.busy != nil || s.fits(need) {
		s.mu.Unlock()
		return
	}
	if s.prepared.used {
		s.freed = append([]blank{s.prepared}, s.freed...)
	}
	s.prepared = blank{} // the new one has its name
	done := make(chan struct{})
	s.busy = done
	s.mu.Unlock()
	s.prepare(fs, path, max(size, need), done)
}

// has tells whether a file of at least need bytes is there and need not be waited for.
func (s *spare) has(need int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.busy == nil && s.fits(need)
}

// fits tells whether a file that is there has need bytes. Caller holds mu.
func (s *spare) fits(need int64) bool {
	return s.prepared.size >= need || len(s.freed) > 0 && s.freed[0].size >= need
}

// wait returns when no preparation runs.
func (s *spare) wait() {
	s.mu.Lock()
	busy := s.busy
	s.mu.Unlock()
	if busy != nil {
		<-busy
	}
}

// take returns a file of at least need bytes: the prepared one, one that was freed, or else a new one at path, of size bytes. The caller
// renames it.
func (s *spare) take(fs vfs.FS, path string, size, need int64) (blank, error) {
	s.wait()
	if b := s.ready(need); b.path != "" {
		return b, nil
	}
	return s.make(fs, path, max(size, need))
}

// ready takes a file that is there; none when none is large enough. What is prepared and too small is written over by the new one, which
// has its name.
func (s *spare) ready(need int64) (b blank) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.prepared.size >= need:
		b, s.prepared = s.prepared, blank{}
	case len(s.freed) > 0 && s.freed[0].size >= need:
		b, s.freed = s.freed[0], s.freed[1:]
	case s.prepared.used: // it has another name
	default:
		s.prepared = blank{}
	}
	return b
}

func (s *spare) make(fs vfs.FS, path string, size int64) (blank, error) {
	return blank{path: path, size: size}, createZeroed(fs, path, size, s.wrote)
}

// discard removes every file.
func (s *spare) discard(fs vfs.FS) error {
	s.mu.Lock()
	all := append(s.freed, s.prepared)
	s.freed, s.prepared = nil, blank{}
	s.mu.Unlock()
	return removeBlanks(fs, all)
}

func removeBlanks(fs vfs.FS, all []blank) (err error) {
	for _, b := range all {
		if b.path != "" {
			err = errors.Join(err, durable.Remove(fs, b.path))
		}
	}
	return err
}

// createZeroed makes a file of size zero bytes or some more, all of them allocated, written and fsynced: allocated so that the volume
// cannot be full later, written so that later writes need no change of the file's extents (on ext4 and XFS the first write
// into fallocated space does, and fdatasync then commits the journal). After an error there is no file. wrote is told of each write; nil:
// nobody is.
func createZeroed(fs vfs.FS, path string, size int64, wrote func()) error {
	size = roundUp(size)
	f, err := fs.Create(path, durable.Category)
	if err != nil {
		return fmt.Errorf("create %s: %w", path, err)
	}
	err = fillZero(blocksOf(f, size), size, wrote)
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(fmt.Errorf("prepare segment %s of %d bytes: %w", path, size, err), durable.Remove(fs, path))
	}
	return nil
}

func fillZero(f *blockFile, size int64, wrote func()) error {
	// Only a full volume is an answer; file systems without fallocate find out while writing.
	if err := f.Preallocate(0, size); durable.IsNoSpace(err) {
		return err
	}
	return zeroRange(f, 0, size, wrote)
}

// zeroRange overwrites [from, to) with zeros and fsyncs. Past the page cache it takes whole blocks. wrote is told of each write; nil: nobody is.
func zeroRange(f *blockFile, from, to int64, wrote func()) error {
	buf := aligned(nil, int(min(to-from, 256<<10)))
	buf = buf[:cap(buf)]
	for at, unsynced := from, int64(0); at < to; {
		clear(buf) // vfs lets a write change the slice it is given
		n := min(int64(len(buf)), to-at)
		if err := f.write(buf[:n], at); err != nil {
			return err
		}
		at, unsynced = at+n, unsynced+n
		if unsynced >= syncStep {
			if err := f.SyncData(); err != nil {
				return err
			}
			unsynced = 0
		}
		if wrote != nil {
			wrote()
		}
	}
	return f.Sync()
}
