package wal

import (
	"errors"
	"fmt"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/replicatedstore/replicatedstore/replication/durable"
)

// sparePrefix begins the name of a file made for a future segment, until it gets its header and its segment name. Each file
// has its own number, because Prepare makes them concurrently with Append. Open removes leftovers.
const sparePrefix = "next-"

// syncStep is how much of a long file is written between two fsyncs. It keeps each fsync short, so that the log's own
// fsyncs do not wait long behind it.
const syncStep = 4 << 20

// spare holds files for future segments in dir: one that was prepared in the background, and those left by pruning.
type spare struct {
	fs    vfs.FS // for removing files
	dir   string
	wrote func() // Options.Wrote

	mu       sync.Mutex
	made     int           // files begun so far; numbers their names
	closed   bool          // no file is begun any more
	busy     chan struct{} // closed when the running preparation ends; nil if none is running
	prepared blank         // for the next segment; zero-filled and fsynced if it is new
	freed    []blank       // oldest first; see free.go
	limit    int           // of len(freed)
}

// blank is a file that may become a segment. The zero value means no file.
type blank struct {
	path string
	size int64
	used bool // it was a segment before, and still holds its contents
}

// start has a file of size bytes prepared through spawn, unless one is ready or being prepared.
func (s *spare) start(spawn func(func()), fs vfs.FS, size int64) {
	s.mu.Lock()
	if s.busy == nil && s.prepared.path == "" && len(s.freed) > 0 {
		s.prepared, s.freed = s.freed[0], s.freed[1:]
	}
	if s.closed || s.busy != nil || s.prepared.path != "" {
		s.mu.Unlock()
		return
	}
	done := make(chan struct{})
	s.busy = done
	s.mu.Unlock()
	spawn(func() { s.prepare(fs, size, done) })
}

// prepare makes the file announced by busy, and closes done.
func (s *spare) prepare(fs vfs.FS, size int64, done chan struct{}) {
	b, err := s.make(fs, size)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil { // otherwise whoever needs the file makes it, and learns why that fails
		s.prepared = b
	}
	s.busy = nil
	close(done)
}

// ensure makes a file of at least need bytes available if possible: it makes one of size bytes if there is none.
func (s *spare) ensure(fs vfs.FS, size, need int64) {
	s.wait()
	s.mu.Lock()
	if s.closed || s.busy != nil || s.fits(need) {
		s.mu.Unlock()
		return
	}
	small := s.makeWay()
	done := make(chan struct{})
	s.busy = done
	s.mu.Unlock()
	_ = removeBlanks(s.fs, small) // if this fails, Open removes the leftover
	s.prepare(fs, max(size, need), done)
}

// makeWay clears the place of the prepared file. A used file goes back to freed; a new one that is too small is returned,
// to be removed. The caller holds mu.
func (s *spare) makeWay() (small []blank) {
	if s.prepared.used {
		s.freed = append([]blank{s.prepared}, s.freed...)
	} else {
		small = []blank{s.prepared}
	}
	s.prepared = blank{}
	return small
}

// has reports whether a file of at least need bytes is available without waiting.
func (s *spare) has(need int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.busy == nil && s.fits(need)
}

// fits reports whether an available file has at least need bytes. The caller holds mu.
func (s *spare) fits(need int64) bool {
	return s.prepared.size >= need || len(s.freed) > 0 && s.freed[0].size >= need
}

// wait returns once the preparation that is running now, if any, has ended.
func (s *spare) wait() {
	s.mu.Lock()
	busy := s.busy
	s.mu.Unlock()
	if busy != nil {
		<-busy
	}
}

// take returns a file of at least need bytes: the prepared one, a freed one, or else a new one of size bytes. The caller
// renames it.
func (s *spare) take(fs vfs.FS, size, need int64) (blank, error) {
	s.wait()
	b, small := s.ready(need)
	if err := removeBlanks(s.fs, small); err != nil {
		return blank{}, err
	}
	if b.path != "" {
		return b, nil
	}
	return s.make(fs, max(size, need))
}

// ready takes an available file, or none if none is large enough, and returns the files to be removed.
func (s *spare) ready(need int64) (b blank, small []blank) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.prepared.size >= need:
		b, s.prepared = s.prepared, blank{}
	case len(s.freed) > 0 && s.freed[0].size >= need:
		b, s.freed = s.freed[0], s.freed[1:]
	case !s.prepared.used:
		small = s.makeWay()
	default:
	}
	return b, small
}

// make creates a file of size bytes under a unique name.
func (s *spare) make(fs vfs.FS, size int64) (blank, error) {
	s.mu.Lock()
	s.made++
	path := fs.PathJoin(s.dir, fmt.Sprintf("%s%d%s", sparePrefix, s.made, durable.TempSuffix))
	s.mu.Unlock()
	return blank{path: path, size: size}, createZeroed(fs, path, size, s.wrote)
}

// close prevents further preparations and waits for the running one.
func (s *spare) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.wait()
}

// discard removes all files.
func (s *spare) discard() error {
	s.mu.Lock()
	all := append(s.freed, s.prepared)
	s.freed, s.prepared = nil, blank{}
	s.mu.Unlock()
	return removeBlanks(s.fs, all)
}

func removeBlanks(fs vfs.FS, all []blank) (err error) {
	for _, b := range all {
		if b.path != "" {
			err = errors.Join(err, durable.Remove(fs, b.path))
		}
	}
	return err
}

// createZeroed makes a file of at least size zero bytes, all of them allocated, written and fsynced. They are allocated so
// that the volume cannot be full later, and written so that later writes do not change the file's extents (on ext4 and XFS
// the first write into fallocated space does, and fdatasync then commits the journal). After an error there is no file.
// wrote, unless nil, is called after each write.
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
	// Only a full volume is an error here: file systems without fallocate find out while writing.
	if err := f.Preallocate(0, size); durable.IsNoSpace(err) {
		return err
	}
	return zeroRange(f, 0, size, wrote)
}

// zeroRange overwrites [from, to) with zeros and fsyncs. With direct I/O the range must consist of whole blocks. wrote,
// unless nil, is called after each write.
func zeroRange(f *blockFile, from, to int64, wrote func()) error {
	buf := aligned(nil, int(min(to-from, 256<<10)))
	buf = buf[:cap(buf)]
	for at, unsynced := from, int64(0); at < to; {
		clear(buf) // vfs allows a write to modify the slice it is given
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
