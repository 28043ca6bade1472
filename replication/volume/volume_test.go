package volume_test

import (
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/replicatedstore/replicatedstore/replication/durable"
	"github.com/replicatedstore/replicatedstore/replication/volume"
	"github.com/replicatedstore/replicatedstore/replication/volume/volumetest"
)

func open(t *testing.T, path string) *volume.Volume {
	t.Helper()
	v := volume.New(vfs.Default, path, t.Logf)
	if err := v.Refill(); err != nil {
		t.Fatal(err)
	}
	return v
}

// write creates a file of n KiB through the view.
func write(fs vfs.FS, path string, kib int) error {
	f, err := fs.Create(path, durable.Category)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	for range kib {
		if _, err := f.Write(make([]byte, 1<<10)); err != nil {
			return err
		}
	}
	return f.Sync()
}

// On a volume on which nobody else can write a byte, the reserve is available: for Bulk up to its last quarter, and for
// Vital even then. It is real: other files cannot take it.
func TestTheReserveIsReal(t *testing.T) {
	m := volumetest.Mount(t, 64)
	v := open(t, m.Path)
	s := v.Measure()
	if s.Missing != 0 || s.Reserve < s.Total/60 || s.Reserve > s.Total/40 {
		t.Fatalf("set aside %d of %d, %d missing", s.Reserve, s.Total, s.Missing)
	}
	release := m.Hog()
	if s := v.Measure(); s.Level != volume.Full || s.Free > 64<<10 {
		t.Fatalf("filled: %+v", s)
	}
	for _, u := range []volume.Use{volume.Growth, volume.Ordinary} {
		if err := write(v.View(u), filepath.Join(m.Path, "ordinary"), 64); !durable.IsNoSpace(err) {
			t.Fatalf("use %d of a full volume: %v", u, err)
		}
	}
	if s := v.Measure(); s.Missing != 0 {
		t.Fatal("it gave the reserve away")
	}
	kib := int(s.Reserve >> 10)
	large := filepath.Join(m.Path, "large")
	if err := write(v.View(volume.Bulk), large, kib/2); err != nil {
		t.Fatalf("half of the reserve for a table: %v", err)
	}
	if err := write(v.View(volume.Bulk), filepath.Join(m.Path, "larger"), kib/2); !durable.IsNoSpace(err) {
		t.Fatalf("all of the reserve for tables: %v", err)
	}
	if err := write(v.View(volume.Vital), filepath.Join(m.Path, "vital"), kib/8); err != nil {
		t.Fatalf("what must not fail: %v", err)
	}
	if err := v.Refill(); err != nil { // there is no room to refill it
		t.Fatal(err)
	}
	if s := v.Measure(); s.Free != 0 || s.Missing < s.Reserve {
		t.Fatalf("spent: %+v", s)
	}
	release()
	free := v.Measure().Free
	if err := v.Refill(); err != nil {
		t.Fatal(err)
	}
	if s := v.Measure(); s.Missing != 0 || s.Free > free || s.Free < free-1<<20 {
		t.Fatalf("refilled, with %d free before: %+v", free, s)
	}
}

// Log segments for data stop at the floor, while there is still something left for everybody else.
func TestGrowthLeavesTheFloor(t *testing.T) {
	m := volumetest.Mount(t, 64)
	v := open(t, m.Path)
	fs, n := v.View(volume.Growth), 0
	for ; ; n++ {
		f, err := fs.Create(filepath.Join(m.Path, "segment-"+string(rune('a'+n))), durable.Category)
		if err != nil {
			t.Fatal(err)
		}
		err = f.Preallocate(0, 2<<20)
		_ = f.Close()
		if durable.IsNoSpace(err) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if s := v.Measure(); n < 10 || s.Free < s.Floor() || s.Free > s.Floor()+2<<20 || s.Missing != 0 {
		t.Fatalf("after %d segments: %+v, floor %d", n, s, s.Floor())
	}
	if err := write(v.View(volume.Ordinary), filepath.Join(m.Path, "ordinary"), 64); err != nil {
		t.Fatal(err)
	}
}

// A volume that has grown gets a larger reserve, and a reserve made by an earlier process is recognised.
func TestTheReserveGrowsWithTheVolume(t *testing.T) {
	m := volumetest.MountInMemory(t, 64)
	small := open(t, m.Path).Measure()
	m.Grow(256)
	v := volume.New(vfs.Default, m.Path, t.Logf)
	if s := v.Measure(); s.Reserve != small.Reserve || s.Missing < s.Reserve || s.Total < 3*small.Total {
		t.Fatalf("grown from %+v to %+v", small, s)
	}
	if err := v.Refill(); err != nil {
		t.Fatal(err)
	}
	if s := v.Measure(); s.Missing != 0 || s.Reserve < 3*small.Reserve {
		t.Fatalf("refilled: %+v", s)
	}
}

// A file system that does not report its size gets no reserve, and works.
func TestWithoutUsage(t *testing.T) {
	v := volume.New(vfs.NewMem(), "d", t.Logf)
	if err := v.Refill(); err != nil {
		t.Fatal(err)
	}
	if s := v.Measure(); s != (volume.Space{}) {
		t.Fatalf("%+v", s)
	}
	if _, err := os.Stat("d"); err == nil {
		t.Fatal("it made something")
	}
}

// onePiece returns a volume whose reserve is a single empty piece.
func onePiece(t *testing.T) *vfs.MemFS {
	t.Helper()
	mem := vfs.NewMem()
	if err := mem.MkdirAll("data/"+volume.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := mem.Create("data/"+volume.Dir+"/0", durable.Category)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return mem
}

// The removal of a reserve piece is synced, and a failed sync ends the process like any other: it does not count as a full
// volume. (Simulation, seed 33074.)
func TestFailedSyncOfTheReserveIsNoFullVolume(t *testing.T) {
	mem := onePiece(t)
	broken := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		switch op.Kind {
		case errorfs.OpCreate:
			return syscall.ENOSPC
		case errorfs.OpFileSync:
			return syscall.EIO
		default:
			return nil
		}
	}))
	v := volume.New(broken, "data", t.Logf)
	if _, err := v.View(volume.Vital).Create("data/META", durable.Category); !errors.Is(err, syscall.EIO) || durable.IsNoSpace(err) {
		t.Fatal(err)
	}
}

// While a piece of the reserve is released, which waits for the disk, the volume can be measured: a member does that on its
// role goroutine.
func TestMeasuringDoesNotWaitForTheDisk(t *testing.T) {
	mem := onePiece(t)
	var full atomic.Bool
	full.Store(true)
	hangs, goesOn := make(chan struct{}), make(chan struct{})
	v := volume.New(errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		switch {
		case op.Kind == errorfs.OpCreate && full.Load():
			return syscall.ENOSPC
		case op.Kind == errorfs.OpFileSync && full.Swap(false):
			close(hangs)
			<-goesOn
		}
		return nil
	})), "data", t.Logf)
	made := make(chan error, 1)
	go func() { made <- write(v.View(volume.Vital), "data/vital", 1) }()
	<-hangs
	measured := make(chan struct{})
	go func() { v.Measure(); close(measured) }()
	select {
	case <-measured:
	case <-time.After(time.Minute):
		t.Error("it waits for the disk")
	}
	close(goesOn)
	if err := <-made; err != nil {
		t.Error(err)
	}
}
