package wal

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/replicatedstore/replicatedstore/replication"
)

const sector = 512

// sectorFS is a disk that may lose power: each sector then holds what was synced, or any of what was written to it since. A
// block that is rewritten several times before a sync may thus be torn between all its versions, which vfs.MemFS does not
// simulate. Names are durable at once.
type sectorFS struct {
	*vfs.MemFS
	mu     sync.Mutex
	synced map[string][]byte
	since  map[string]map[int64][][]byte // versions of sectors, oldest first
}

func newSectorFS() *sectorFS {
	return &sectorFS{MemFS: vfs.NewMem(), synced: map[string][]byte{}, since: map[string]map[int64][][]byte{}}
}

func (s *sectorFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, err := s.MemFS.Create(name, c)
	s.synced[name], s.since[name] = nil, map[int64][][]byte{}
	return &sectorFile{File: f, fs: s, name: name}, err
}

func (s *sectorFS) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	f, err := s.MemFS.OpenReadWrite(name, c, o...)
	return &sectorFile{File: f, fs: s, name: name}, err
}

func (s *sectorFS) Rename(from, to string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.synced[to], s.since[to] = s.synced[from], s.since[from]
	delete(s.synced, from)
	delete(s.since, from)
	return s.MemFS.Rename(from, to)
}

func (s *sectorFS) Remove(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.synced, name)
	delete(s.since, name)
	return s.MemFS.Remove(name)
}

type sectorFile struct {
	vfs.File
	fs   *sectorFS
	name string
}

func (f *sectorFile) WriteAt(b []byte, off int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	for at := off / sector * sector; at < off+int64(len(b)); at += sector {
		now := make([]byte, sector)
		_, _ = f.ReadAt(now, at) // short at the end of the file
		from := max(at, off)
		copy(now[from-at:], b[from-off:])
		f.fs.since[f.name][at] = append(f.fs.since[f.name][at], now)
	}
	return f.File.WriteAt(b, off)
}

func (f *sectorFile) Sync() error { return f.SyncData() }

func (f *sectorFile) SyncData() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	for at, versions := range f.fs.since[f.name] {
		f.fs.synced[f.name] = overwrite(f.fs.synced[f.name], versions[len(versions)-1], at)
	}
	f.fs.since[f.name] = map[int64][][]byte{}
	return nil
}

func overwrite(b, with []byte, at int64) []byte {
	if n := int(at) + len(with); len(b) < n {
		b = append(b, make([]byte, n-len(b))...)
	}
	copy(b[at:], with)
	return b
}

// crash returns what is found if the power is lost now.
func (s *sectorFS) crash(t *testing.T, rng *rand.Rand) *vfs.MemFS {
	s.mu.Lock()
	defer s.mu.Unlock()
	after := vfs.NewMem()
	if err := after.MkdirAll("wal", 0o755); err != nil {
		t.Fatal(err)
	}
	percent := rng.IntN(101)
	for name, b := range s.synced {
		b = bytes.Clone(b)
		for at, versions := range s.since[name] {
			if rng.IntN(100) < percent {
				b = overwrite(b, versions[rng.IntN(len(versions))], at)
			}
		}
		writeFile(t, after, name, b)
	}
	return after
}

// TestPowerLossTearsSectors loses power while records are concurrently appended, written, synced, pruned, read and
// scrubbed.
func TestPowerLossTearsSectors(t *testing.T) {
	rng := seeded(t)
	for range 15 {
		fs := newSectorFS()
		l, _ := mustOpen(t, fs, "wal", Options{Create: true, TailBytes: 1 + rng.Int64N(20_000)})
		var durable atomic.Uint64
		stop := make(chan struct{})
		var wg sync.WaitGroup
		beside := func(f func(rng *rand.Rand) error) {
			own := rand.New(rand.NewPCG(rng.Uint64(), 0))
			wg.Go(func() {
				if err := untilStopped(stop, func() error { return f(own) }); err != nil {
					t.Error(err)
				}
			})
		}
		beside(func(*rand.Rand) error {
			m, err := l.Sync()
			durable.Store(uint64(m.Position))
			return err
		})
		beside(func(rng *rand.Rand) error { return readAnything(l, rng) })
		var all []replication.Record
		for range 10 + rng.IntN(50) {
			all = append(all, appendAnything(t, l, rng))
			if rng.IntN(4) == 0 {
				if err := l.Prune(l.Durable().Position); err != nil {
					t.Fatal(err)
				}
			}
			if rng.IntN(3) == 0 {
				crashAndRecover(t, fs, rng, replication.Position(durable.Load()), all)
			}
		}
		close(stop)
		wg.Wait()
		sameRecords(t, readAll(t, l), all[l.First()-1:])
		closeLog(t, l)
	}
}

func appendAnything(t *testing.T, l *Log, rng *rand.Rand) replication.Record {
	t.Helper()
	size := rng.IntN(6000)
	if rng.IntN(15) == 0 {
		size = rng.IntN(3 * testSegment)
	}
	if rng.IntN(6) == 0 {
		if err := l.Room(); err != nil {
			t.Fatal(err)
		}
	}
	r := dataAfter(t, l.Last(), 1, byte(rng.Uint32()), size)
	if err := l.Append(r); err != nil {
		t.Fatal(err)
	}
	if rng.IntN(10) == 0 {
		if err := l.relieve(); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

// readAnything reads, looks up and scrubs at a random place.
func readAnything(l *Log, rng *rand.Rand) error {
	last := uint64(l.Last().Position)
	if last == 0 {
		return nil
	}
	p := replication.Position(1 + rng.Uint64N(last))
	recs, err := l.Read(p, rng.IntN(30_000), nil)
	if err == nil && len(recs) == 0 {
		err = errors.New("nothing was read before the end")
	}
	_, markErr := l.FindMark(p)
	_, _, scrubErr := l.Scrub(replication.Position(rng.Uint64N(last)), func(int) error { return nil })
	if errors.Is(err, ErrPruned) {
		err = nil
	}
	if errors.Is(markErr, ErrPruned) {
		markErr = nil
	}
	return errors.Join(err, markErr, scrubErr)
}

// crashAndRecover requires that what was durable is there, that nothing is there that was not appended, and that zeros
// follow; and then the same once more.
func crashAndRecover(t *testing.T, fs *sectorFS, rng *rand.Rand, durable replication.Position, all []replication.Record) {
	t.Helper()
	after := fs.crash(t, rng)
	for range 2 {
		l, rep := mustOpen(t, after, "wal", Options{TailBytes: 1})
		if l.Last().Position < durable {
			t.Fatalf("found %v, and %d was durable: %+v", l.Last(), durable, rep)
		}
		sameRecords(t, readAll(t, l), all[l.First()-1:l.Last().Position])
		s := l.active()
		rest, err := readRange(after, s.path, s.off, s.size)
		if err != nil || len(bytes.Trim(rest, "\x00")) > 0 {
			t.Fatalf("bytes after the end are not zero, %v", err)
		}
		durable = l.Last().Position
		l.spare.wait()
	}
}
