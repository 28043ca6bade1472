package lease

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// badDisk is a file system whose syncs hang or fail on demand.
type badDisk struct {
	vfs.FS
	hang     atomic.Pointer[chan struct{}]
	syncErr  atomic.Pointer[error]
	writeErr atomic.Pointer[error]
	syncs    atomic.Int32
	opens    atomic.Int32
	final    atomic.Int32 // how often the probe reported its final failure
}

func newBadDisk() *badDisk {
	d := &badDisk{}
	d.FS = errorfs.Wrap(vfs.Default, errorfs.InjectorFunc(func(op errorfs.Op) error {
		var err *error
		switch op.Kind {
		case errorfs.OpOpen:
			d.opens.Add(1)
		case errorfs.OpFileWriteAt:
			err = d.writeErr.Load()
		case errorfs.OpFileSync:
			d.syncs.Add(1)
			if c := d.hang.Load(); c != nil {
				<-*c
			}
			err = d.syncErr.Load()
		}
		if err != nil {
			return *err
		}
		return nil
	}))
	return d
}

func openProbe(t *testing.T) (*badDisk, *DiskProbe) {
	t.Helper()
	disk := newBadDisk()
	p, err := OpenDiskProbe(disk, t.TempDir(), func(error) { disk.final.Add(1) })
	if err != nil {
		t.Fatal(err)
	}
	return disk, p
}

func check(t *testing.T, p *DiskProbe, within time.Duration) error {
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	return p.Check(ctx)
}

func TestProbeOfAHangingDisk(t *testing.T) {
	disk, p := openProbe(t)
	if err := check(t, p, time.Minute); err != nil {
		t.Fatal(err)
	}
	release := make(chan struct{})
	disk.hang.Store(&release)
	goroutines := runtime.NumGoroutine()
	for range 20 {
		if err := check(t, p, 5*time.Millisecond); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("probe of a hanging disk: %v", err)
		}
	}
	for end := time.Now().Add(time.Minute); disk.syncs.Load() < 2 && time.Now().Before(end); { // the goroutine that syncs may be late
		time.Sleep(time.Millisecond)
	}
	if n := runtime.NumGoroutine(); n > goroutines+3 {
		t.Errorf("%d goroutines wait for the disk", n-goroutines)
	}
	if n := disk.syncs.Load(); n != 2 {
		t.Errorf("%d syncs, want the first and the one that hangs", n)
	}
	disk.hang.Store(nil)
	close(release)
	if err := check(t, p, time.Minute); err != nil {
		t.Errorf("after the disk is back: %v", err)
	}
	if err := p.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if err := check(t, p, time.Minute); err == nil {
		t.Error("a closed probe passes")
	}
}

func TestAFailedSyncIsFinalAndAFullDiskIsNot(t *testing.T) {
	disk, p := openProbe(t)
	full := error(syscall.ENOSPC)
	disk.writeErr.Store(&full)
	if err := check(t, p, time.Minute); !errors.Is(err, full) {
		t.Fatalf("probe of a full disk: %v", err)
	}
	disk.writeErr.Store(nil)
	if err := check(t, p, time.Minute); err != nil {
		t.Fatalf("with space again: %v", err)
	}
	broken := errors.New("input/output error")
	disk.syncErr.Store(&broken)
	if err := check(t, p, time.Minute); !errors.Is(err, broken) {
		t.Fatalf("probe of a broken disk: %v", err)
	}
	disk.syncErr.Store(nil)
	if err := check(t, p, time.Minute); err == nil || !strings.Contains(err.Error(), "sync the disk probe") {
		t.Fatalf("a sync that failed once is forgotten: %v", err)
	}
	if n := disk.final.Load(); n != 1 {
		t.Errorf("whoever ends the process was told %d times", n)
	}
}

// A failed write ends the process, for example on a file system that has become read-only: a member with nothing to write
// would not find out otherwise. An error that only says that the disk is full does not end it, nor does one about too
// many open files.
func TestAFailedWriteIsFinal(t *testing.T) {
	for err, final := range map[error]int32{
		syscall.EROFS: 1, syscall.EIO: 1, syscall.ENODEV: 1, syscall.ENOSPC: 0, syscall.EDQUOT: 0, syscall.EMFILE: 0,
	} {
		disk, p := openProbe(t)
		disk.writeErr.Store(&err)
		if got := check(t, p, time.Minute); !errors.Is(got, err) {
			t.Errorf("%v: the probe says %v", err, got)
		}
		disk.writeErr.Store(nil)
		if got := check(t, p, time.Minute); (got != nil) != (final > 0) {
			t.Errorf("%v: the probe after it says %v", err, got)
		}
		if n := disk.final.Load(); n != final {
			t.Errorf("%v: whoever ends the process was told %d times", err, n)
		}
	}
}

// A sync that fails when nobody waits for it any more ends the process too, without another Check.
func TestAFailedSyncIsToldWhenNobodyWaitsForIt(t *testing.T) {
	disk, p := openProbe(t)
	hang := make(chan struct{})
	disk.hang.Store(&hang)
	if err := check(t, p, 5*time.Millisecond); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("probe of a hanging disk: %v", err)
	}
	broken := error(syscall.EIO)
	disk.syncErr.Store(&broken)
	close(hang)
	for deadline := time.Now().Add(time.Minute); disk.final.Load() == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nobody is told")
		}
	}
}

// A sync that finds no room does not mean a broken disk: the probe passes again, with a new file, once there is room.
func TestASyncThatFindsNoRoomIsNotFinal(t *testing.T) {
	for _, full := range []error{syscall.ENOSPC, syscall.EDQUOT} {
		disk, p := openProbe(t)
		disk.syncErr.Store(&full)
		for range 2 {
			if err := check(t, p, time.Minute); !errors.Is(err, full) {
				t.Fatalf("probe of a full disk: %v", err)
			}
		}
		disk.syncErr.Store(nil)
		for range 2 {
			if err := check(t, p, time.Minute); err != nil {
				t.Fatalf("with space again: %v", err)
			}
		}
		if n, told := disk.opens.Load(), disk.final.Load(); n != 3 || told != 0 {
			t.Errorf("%v: %d files, want one for each sync that found no room, and the first; ended %d times", full, n, told)
		}
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}
