package volume

import (
	"errors"
	"fmt"
	"strconv"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/replicatedstore/replicatedstore/replication/durable"
)

const (
	// Dir is the directory of the reserve inside the data directory.
	Dir = "reserve"
	// pieces is the number of files in the reserve; vitalPieces of them are for Vital only.
	pieces      = 8
	vitalPieces = 2
	pieceAlign  = 4096
)

// Volume is the volume that holds a data directory. It is safe for concurrent use.
type Volume struct {
	fs   vfs.FS
	dir  string
	logf func(format string, args ...any)

	refill sync.Mutex // held while the reserve is refilled, which may take long; acquired before mu
	taking sync.Mutex // held while a piece is released, which waits for the disk; acquired before mu

	mu    sync.Mutex // a leaf; never held while anything is written
	level Level
	held  int64 // bytes of the pieces that exist; -1: to be counted
}

// New returns the Volume that holds the directory dir, which need not exist yet. It changes nothing on disk.
func New(fs vfs.FS, dir string, logf func(format string, args ...any)) *Volume {
	return &Volume{fs: fs, dir: dir, logf: logf, held: -1}
}

func (v *Volume) piece(i int) string { return v.fs.PathJoin(v.dir, Dir, strconv.Itoa(i)) }

// Measure returns the current state of the volume. The Space is zero if the file system does not report it.
func (v *Volume) Measure() Space {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.measure()
}

func (v *Volume) measure() Space {
	u, err := v.fs.GetDiskUsage(v.dir)
	if err != nil {
		return Space{}
	}
	if v.held < 0 {
		v.held = 0
		for i := range pieces {
			v.held += v.allocated(i)
		}
	}
	s := Space{Total: int64(u.TotalBytes), Used: int64(u.UsedBytes), Reserve: v.held}
	s.Missing = max(0, pieces*pieceBytes(s.Total)-v.held)
	s.Free = max(0, int64(u.AvailBytes)-s.Missing)
	s.Level = s.next(v.level)
	v.level = s.Level
	return s
}

// pieceBytes returns the size of one piece on a volume of total bytes.
func pieceBytes(total int64) int64 {
	return min(total/reserveShare, reserveMost) / pieces / pieceAlign * pieceAlign
}

func (v *Volume) allocated(i int) int64 {
	info, err := v.fs.Stat(v.piece(i))
	if err != nil {
		return 0
	}
	return durable.Allocated(info)
}

// Refill sets aside what the reserve lacks, as long as that leaves the floor free.
func (v *Volume) Refill() error {
	v.refill.Lock()
	defer v.refill.Unlock()
	s := v.Measure()
	want := pieceBytes(s.Total)
	if s.Missing == 0 || want == 0 || s.Free < s.Floor() {
		return nil
	}
	defer v.recount()
	if err := durable.MkdirAll(v.fs, v.fs.PathJoin(v.dir, Dir)); err != nil {
		return fmt.Errorf("set aside the reserve of the volume: %w", err)
	}
	for i := range pieces {
		if v.allocated(i) >= want {
			continue
		}
		err := v.setAside(v.piece(i), want)
		if durable.IsNoSpace(err) {
			return nil // later
		} else if err != nil {
			return fmt.Errorf("set aside the reserve of the volume: %w", err)
		}
	}
	return durable.SyncDir(v.fs, v.fs.PathJoin(v.dir, Dir))
}

// recount makes the next measurement count the pieces again.
func (v *Volume) recount() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.held = -1
}

// setAside makes a file that takes n bytes of the volume. The bytes are allocated, or written if the file system cannot
// allocate.
func (v *Volume) setAside(path string, n int64) error {
	f, err := v.fs.OpenReadWrite(path, durable.Category)
	if err != nil {
		return fmt.Errorf("open %s: %w", path, err)
	}
	err = f.Preallocate(0, n)
	if err != nil && !durable.IsNoSpace(err) {
		err = fill(f, n)
	}
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(fmt.Errorf("allocate %s: %w", path, err), durable.Remove(v.fs, path))
	}
	return nil
}

func fill(f vfs.File, n int64) error {
	const chunk = 256 << 10
	for at := int64(0); at < n; at += chunk {
		if _, err := f.WriteAt(make([]byte, min(chunk, n-at)), at); err != nil {
			return err
		}
	}
	return nil
}

// release gives one piece back to the volume, if there is one that use u may take. An error is final: a sync has failed.
func (v *Volume) release(u Use) (bool, error) {
	keep := pieces
	switch u {
	case Bulk:
		keep = vitalPieces
	case Vital:
		keep = 0
	case Growth, Ordinary:
	}
	v.taking.Lock()
	defer v.taking.Unlock()
	for i := pieces - 1; i >= keep; i-- {
		err := v.fs.Remove(v.piece(i))
		if durable.IsNotExist(err) {
			continue
		}
		if err == nil {
			// Some file systems free the space only once the removal is durable.
			err = durable.SyncDir(v.fs, v.fs.PathJoin(v.dir, Dir))
		}
		if err != nil {
			return false, fmt.Errorf("use the reserve of the volume: %w", err)
		}
		v.recount()
		v.logf("the volume is full: using piece %d of the reserve", i)
		return true, nil
	}
	return false, nil
}
