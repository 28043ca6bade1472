package wal

import (
	"errors"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/replicatedstore/replicatedstore/replication"
)

// A power loss takes the page of the second record and spares those after it. The second is written again, byte for byte.
// The records after it would continue the chain, and must not come back.
func TestTornRecordsStayGone(t *testing.T) {
	fs := vfs.NewMem()
	l, _ := mustOpen(t, fs, "wal", Options{Create: true, SegmentBytes: 1 << 20})
	recs := appendSome(t, l, 1, 6, 2000)
	writeUnsynced(t, l)
	l.mu.Lock()
	path, off := l.active().path, l.active().off
	l.mu.Unlock()
	for i := 5; i >= 1; i-- {
		off -= int64(len(recs[i].Raw))
	}
	crashed := copyDir(t, fs, "wal")
	closeLog(t, l)
	f, err := crashed.OpenReadWrite(path, "test")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(make([]byte, len(recs[1].Raw)), off); err != nil {
		t.Fatal(err)
	}
	_ = f.Close()

	goesOn(t, crashed, recs[0].Mark(), recs[1])
}

// goesOn requires that the log ends in end once what comes after that is cut, and that it ends in next, with nothing after
// it, once that is written again.
func goesOn(t *testing.T, crashed *vfs.MemFS, end replication.Mark, next replication.Record) {
	t.Helper()
	l, rep := mustOpen(t, crashed, "wal", Options{})
	if l.Last() != end || rep.TornBytes == 0 || rep.TornCopy == "" {
		t.Fatalf("recovered %v, want %v: %+v", l.Last(), end, rep)
	}
	if err := l.Append(next); err != nil {
		t.Fatal(err)
	}
	mustSync(t, l)
	again := copyDir(t, crashed, "wal")
	closeLog(t, l)
	l, rep = mustOpen(t, again, "wal", Options{})
	defer closeLog(t, l)
	if l.Last() != next.Mark() || rep.TornBytes != 0 {
		t.Fatalf("recovered %v, want %v: %+v", l.Last(), next.Mark(), rep)
	}
}

// A killed process leaves in the page cache what it never synced. The next process finds it and calls it durable, and then
// the power fails: what was called durable must be there.
func TestKilledProcessThenPowerLoss(t *testing.T) {
	rng := seeded(t)
	for range 60 {
		fs := vfs.NewCrashableMem()
		l, _ := mustOpen(t, fs, "d/wal", Options{Create: true})
		var epoch replication.Epoch = 1
		for range 1 + rng.IntN(60) {
			appendSome(t, l, epoch, 1, 1+rng.IntN(4000))
			switch rng.IntN(12) {
			case 0:
				mustSync(t, l)
			case 1:
				if _, err := l.TruncateAfter(l.First()-1, "test"); err != nil {
					t.Fatal(err)
				}
				epoch++
			}
		}
		least := l.Durable()
		if rng.IntN(4) > 0 {
			writeUnsynced(t, l)
			least = l.Last()
		}
		l.spare.wait() // the only part of a process that cannot be killed within a test
		next, _ := mustOpen(t, fs, "d/wal", Options{})
		end := next.Last()
		if end.Position < least.Position || next.Durable() != end {
			t.Fatalf("the next process finds %v, durable %v, want at least %v", end, next.Durable(), least)
		}
		after := fs.CrashClone(vfs.CrashCloneCfg{})
		closeLog(t, next)
		last, _ := mustOpen(t, after, "d/wal", Options{})
		if last.Last() != end {
			t.Fatalf("after the power loss: %v, want %v", last.Last(), end)
		}
		closeLog(t, last)
	}
}

// writeUnsynced stops a Sync after it has written and before it has synced.
func writeUnsynced(t *testing.T, l *Log) {
	t.Helper()
	if err := l.relieve(); err != nil {
		t.Fatal(err)
	}
}

// The same with the process killed during a truncation, a reset or a prune, at every step of it.
func TestKilledInsideAnOperationThenPowerLoss(t *testing.T) {
	table := replication.EpochTable{{Epoch: 1, Start: 1}}
	for name, op := range map[string]func(*Log) error{
		"truncate": func(l *Log) error {
			_, err := l.TruncateAfter(l.First()-1, "test")
			return err
		},
		"truncate the last record": func(l *Log) error {
			_, err := l.TruncateAfter(l.Last().Position-3, "test")
			return err
		},
		"reset up":   func(l *Log) error { return l.Reset(replication.Mark{Epoch: 1, Position: 5000}, table) },
		"reset down": func(l *Log) error { return l.Reset(replication.Mark{Epoch: 1, Position: 5}, table) },
		"prune":      func(l *Log) error { return l.Prune(l.Last().Position) },
	} {
		steps := 0
		for killAt := int64(1); ; killAt++ {
			fs := vfs.NewCrashableMem()
			var armed atomic.Bool
			var left atomic.Int64
			left.Store(killAt)
			l, _ := mustOpen(t, failing(fs, &armed, func(op errorfs.Op) error {
				if op.Kind.ReadOrWrite() == errorfs.OpIsWrite || op.Kind == errorfs.OpOpenDir {
					if left.Add(-1) <= 0 {
						return syscall.EIO // and so does everything after it: a dead process does nothing more
					}
				}
				return nil
			}), "d/wal", Options{Create: true})
			appendSome(t, l, 1, 150, 400)
			old := mustSync(t, l)
			l.spare.wait()
			armed.Store(true)
			err := op(l)
			next, _ := mustOpen(t, fs, "d/wal", Options{})
			first, end := next.First(), next.Last()
			_ = readAll(t, next) // all of it verifies
			after := fs.CrashClone(vfs.CrashCloneCfg{})
			closeLog(t, next)
			last, _ := mustOpen(t, after, "d/wal", Options{})
			if last.Last() != end || last.First() > first {
				t.Fatalf("%s killed at step %d: found %d..%v, after the power loss %d..%v", name, killAt, first, end, last.First(), last.Last())
			}
			closeLog(t, last)
			if err == nil {
				break
			}
			if steps++; end != old && end.Position != 0 && end.Position != 5 && end.Position != 5000 && end.Position != old.Position-3 {
				t.Fatalf("%s killed at step %d: the log ends in %v, neither old nor new", name, killAt, end)
			}
		}
		if steps < 2 {
			t.Fatalf("%s has only %d steps", name, steps)
		}
	}
}

// Two faults at once: the note that the predecessors of the last segment are durable is gone, and one of them is damaged. A
// later note in the last segment still vouches for it, so this is not a torn tail.
func TestDamageBeforeUnsettledSegment(t *testing.T) {
	fs := vfs.NewMem()
	l, _ := mustOpen(t, fs, "wal", Options{Create: true})
	for len(l.Segments()) < 3 {
		appendSome(t, l, 1, 5, 400)
		mustSync(t, l)
	}
	appendSome(t, l, 1, 1, 400)
	mustSync(t, l)
	before, last := l.segments[1], l.segments[2]
	crashed := copyDir(t, fs, "wal")
	closeLog(t, l)
	flipBit(t, crashed, last.path, (last.header.length-settledSize)*8+70)
	l, rep := mustOpen(t, copyDir(t, crashed, "wal"), "wal", Options{})
	if rep.TornBytes != 0 || rep.Segments != 3 {
		t.Fatalf("without the note, all else well: %+v", rep)
	}
	closeLog(t, l)
	flipBit(t, crashed, before.path, (before.off-100)*8) // in its last record, for which no note of its own vouches
	if _, _, err := Open(crashed, "wal", Options{}); !errors.Is(err, ErrDamaged) {
		t.Fatal(err)
	}
}
