package wal

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/replicatedstore/replicatedstore/replication"
)

// failing wraps fs. Once armed, the operations for which fail returns an error fail with it.
func failing(fs vfs.FS, armed *atomic.Bool, fail func(op errorfs.Op) error) vfs.FS {
	return errorfs.Wrap(fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if !armed.Load() {
			return nil
		}
		return fail(op)
	}))
}

func isSync(op errorfs.Op) bool {
	return op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData
}

func TestFailedSyncIsFinal(t *testing.T) {
	var armed atomic.Bool
	fs := vfs.NewCrashableMem()
	broken := failing(fs, &armed, func(op errorfs.Op) error {
		if isSync(op) && strings.HasSuffix(op.Path, segmentSuffix) {
			return syscall.EIO
		}
		return nil
	})
	l, _ := mustOpen(t, broken, "wal", Options{Create: true})
	appendSome(t, l, 1, 3, 100)
	durable := mustSync(t, l)
	next := appendSome(t, l, 1, 1, 100)[0]
	armed.Store(true)
	if m, err := l.Sync(); !errors.Is(err, ErrFailed) || !errors.Is(err, syscall.EIO) || m != durable {
		t.Fatalf("synced %v, %v", m, err)
	}
	// The disk works again, and would accept everything. Nobody may rely on that.
	armed.Store(false)
	if _, err := l.Sync(); !errors.Is(err, ErrFailed) {
		t.Fatalf("second sync: %v", err)
	}
	if err := l.Append(dataAfter(t, next.Mark(), 1, 0, 1)); !errors.Is(err, ErrFailed) {
		t.Fatalf("append: %v", err)
	}
	if err := l.Prune(1); !errors.Is(err, ErrFailed) {
		t.Fatalf("prune: %v", err)
	}
	if _, err := l.TruncateAfter(durable.Position, "test"); !errors.Is(err, ErrFailed) {
		t.Fatalf("truncate: %v", err)
	}
	if l.Durable() != durable {
		t.Fatalf("durable %v, want %v", l.Durable(), durable)
	}
	if got := readAll(t, l); got[len(got)-1].Mark() != next.Mark() {
		t.Fatal("what is in the log can still be read")
	}
	if err := l.Close(); !errors.Is(err, ErrFailed) {
		t.Fatalf("close: %v", err)
	}
	// A new process finds at least what was durable.
	l, _ = mustOpen(t, fs.CrashClone(vfs.CrashCloneCfg{}), "wal", Options{})
	defer closeLog(t, l)
	if l.Last() != durable {
		t.Fatalf("recovered %v, want %v", l.Last(), durable)
	}
}

func TestFailedWriteIsFinal(t *testing.T) {
	var armed atomic.Bool
	broken := failing(vfs.NewMem(), &armed, func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileWriteAt && strings.HasSuffix(op.Path, segmentSuffix) {
			return syscall.ENOSPC
		}
		return nil
	})
	l, _ := mustOpen(t, broken, "wal", Options{Create: true})
	appendSome(t, l, 1, 1, 10)
	armed.Store(true)
	// Even for a full volume: some of the bytes may be there, under positions that must not be given to others.
	appendSome(t, l, 1, 1, 10)
	if _, err := l.Sync(); !errors.Is(err, ErrFailed) || !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	armed.Store(false)
	if _, err := l.Sync(); !errors.Is(err, ErrFailed) {
		t.Fatal(err)
	}
	if err := l.Append(dataAfter(t, l.Last(), 1, 0, 1)); !errors.Is(err, ErrFailed) {
		t.Fatal(err)
	}
}

func TestFullVolumeIsNotFinal(t *testing.T) {
	var armed atomic.Bool
	fs := vfs.NewMem()
	full := failing(fs, &armed, func(op errorfs.Op) error {
		if strings.HasSuffix(op.Path, ".tmp") && op.Kind == errorfs.OpFilePreallocate {
			return fmt.Errorf("injected: %w", syscall.ENOSPC)
		}
		return nil
	})
	l, _ := mustOpen(t, full, "wal", Options{Create: true})
	appendSome(t, l, 1, 1, 10)
	armed.Store(true)
	var err error
	for range 1000 {
		if err = l.Append(dataAfter(t, l.Last(), 1, 0, 1000)); err != nil {
			break
		}
	}
	if !errors.Is(err, ErrNoSpace) {
		t.Fatalf("a volume without room for a segment: %v", err)
	}
	end := l.Last()
	if m := mustSync(t, l); m != end {
		t.Fatalf("synced %v, want %v", m, end)
	}
	if _, err := l.TruncateAfter(0, "test"); !errors.Is(err, ErrNoSpace) || l.Last() != end {
		t.Fatalf("truncate on a full volume: %v, last %v", err, l.Last())
	}
	if err := l.Reset(replication.Mark{Epoch: 1, Position: 1}, replication.EpochTable{{Epoch: 1, Start: 1}}); !errors.Is(err, ErrNoSpace) || l.Last() != end {
		t.Fatalf("reset on a full volume: %v, last %v", err, l.Last())
	}
	armed.Store(false)
	appendSome(t, l, 1, 100, 1000)
	want := readAll(t, l)
	closeLog(t, l)
	l, _ = mustOpen(t, fs, "wal", Options{})
	defer closeLog(t, l)
	sameRecords(t, readAll(t, l), want)
}

func TestRecoveryOfTornTailOnFullVolume(t *testing.T) {
	var armed atomic.Bool
	armed.Store(true)
	fs := vfs.NewMem()
	l, _ := mustOpen(t, fs, "wal", Options{Create: true})
	appendSome(t, l, 1, 1, 10)
	end := mustSync(t, l)
	path, off := l.active().path, l.active().off
	closeLog(t, l)
	f, err := fs.OpenReadWrite(path, "test")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("torn"), off+noteSize); err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	full := failing(fs, &armed, func(op errorfs.Op) error {
		if op.Kind == errorfs.OpCreate {
			return syscall.ENOSPC
		}
		return nil
	})
	l, rep := mustOpen(t, full, "wal", Options{})
	defer closeLog(t, l)
	if l.Last() != end || rep.TornBytes != 4 || rep.TornCopy != "" || !errors.Is(rep.TornCopyErr, syscall.ENOSPC) {
		t.Fatalf("%v %+v", l.Last(), rep)
	}
}

// TestRandomFailures makes a random file system operation fail, ends the process as promised, cuts the power, and checks
// what recovery finds.
func TestRandomFailures(t *testing.T) {
	rng := seeded(t)
	for range 150 {
		fs := vfs.NewCrashableMem()
		left := atomic.Int64{}
		left.Store(int64(5 + rng.IntN(400)))
		var armed atomic.Bool
		failure := []error{syscall.EIO, syscall.ENOSPC}[rng.IntN(2)]
		broken := failing(fs, &armed, func(op errorfs.Op) error {
			if left.Add(-1) == 0 {
				return failure
			}
			return nil
		})
		l, _ := mustOpen(t, broken, "wal", Options{Create: true, TailBytes: 1000})
		armed.Store(true)
		var all []replication.Record
		durable, pruned := replication.Position(0), replication.Position(0)
		for l.Err() == nil && left.Load() > 0 {
			r := dataAfter(t, l.Last(), 1, byte(len(all)), rng.IntN(5000))
			if err := l.Append(r); errors.Is(err, ErrNoSpace) {
				continue // none of it was written
			}
			all = append(all, r) // after a failed write it may be there or not
			switch rng.IntN(6) {
			case 0:
				if m, err := l.Sync(); err == nil {
					durable = m.Position
				}
			case 1:
				pruned = durable / 2
				_ = l.Prune(pruned)
			}
		}
		armed.Store(false)
		percent := rng.IntN(101)
		after := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rng})
		_ = l.Close()
		l, _ = mustOpen(t, after, "wal", Options{})
		if l.Last().Position < durable || l.First() > pruned+1 || int(l.Last().Position) > len(all) {
			t.Fatalf("recovered %d..%v, durable %d, pruned %d, written %d", l.First(), l.Last(), durable, pruned, len(all))
		}
		sameRecords(t, readAll(t, l), all[l.First()-1:l.Last().Position])
		closeLog(t, l)
	}
}

// noRoom is a view of fs on which no file can grow by a single byte.
func noRoom(fs vfs.FS) vfs.FS {
	var armed atomic.Bool
	armed.Store(true)
	return failing(fs, &armed, func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFilePreallocate {
			return syscall.ENOSPC
		}
		return nil
	})
}

// On a volume without room for another data segment, a barrier still gets one from the reserve, but what comes after it
// does not. Once there is room, everything continues where it stopped.
func TestABarrierFindsRoomOnAFullVolume(t *testing.T) {
	fs := vfs.NewMem()
	l, _ := mustOpen(t, fs, "wal", Options{Create: true, Growth: noRoom(fs), Vital: fs})
	var err error
	for err == nil {
		err = l.Append(dataAfter(t, l.Last(), 1, 0, 10_000))
	}
	if !errors.Is(err, ErrNoSpace) {
		t.Fatal(err)
	}
	for epoch := replication.Epoch(2); epoch < 2000; epoch++ { // more than fits into the rest of any segment
		if err := l.Room(); err != nil {
			t.Fatalf("room for the barrier of epoch %d: %v", epoch, err)
		}
		at := l.Last()
		b, err := replication.EncodeBarrier(replication.Seal{Epoch: epoch, First: at.Position + 1, UnixMilli: 1, Prev: at.Chain})
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Append(b); err != nil {
			t.Fatalf("the barrier of epoch %d: %v", epoch, err)
		}
	}
	if err := l.Append(dataAfter(t, l.Last(), 1999, 0, 100_000)); !errors.Is(err, ErrNoSpace) {
		t.Fatalf("data on a full volume: %v", err)
	}
	want := readAll(t, l)
	closeLog(t, l)
	l, _ = mustOpen(t, fs, "wal", Options{})
	defer closeLog(t, l)
	sameRecords(t, readAll(t, l), want)
	appendSome(t, l, 1999, 10, 100_000)
}

// Where there is no room for a segment of the usual size, a smaller one is used.
func TestSegmentsShrinkWithTheRoom(t *testing.T) {
	fs := vfs.NewMem()
	var armed atomic.Bool
	armed.Store(true)
	var largest atomic.Int64
	l, _ := mustOpen(t, fs, "wal", Options{Create: true, SegmentBytes: 16 << 20, Growth: failing(fs, &armed, func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileWriteAt && op.Offset >= 300<<10 {
			return syscall.ENOSPC
		}
		largest.Store(max(largest.Load(), op.Offset))
		return nil
	})})
	for range 300 {
		if err := l.Append(dataAfter(t, l.Last(), 1, 0, 10_000)); err != nil {
			t.Fatal(err)
		}
	}
	want := readAll(t, l)
	closeLog(t, l)
	l, rep := mustOpen(t, fs, "wal", Options{})
	defer closeLog(t, l)
	if rep.Segments < 8 {
		t.Fatalf("%d segments", rep.Segments)
	}
	sameRecords(t, readAll(t, l), want)
}
