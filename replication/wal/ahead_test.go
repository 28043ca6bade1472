package wal

import (
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/replicatedstore/replicatedstore/replication"
)

// A record that is longer than all that may wait to be written waits beside it, for a Sync that makes no fsync of all of it.
func TestALongRecordWaitsForASync(t *testing.T) {
	fs := vfs.NewMem()
	var writes, longest, syncs atomic.Int64
	var told atomic.Int64
	l, _ := mustOpen(t, errorfs.Wrap(fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
		switch {
		case !strings.HasSuffix(op.Path, segmentSuffix):
		case op.Kind == errorfs.OpFileWriteAt:
			writes.Add(1)
		case op.Kind == errorfs.OpFileSyncData:
			syncs.Add(1)
		}
		return nil
	})), "wal", Options{Create: true, SegmentBytes: 256 << 20, Wrote: func() { told.Add(1) }})
	want := appendSome(t, l, 1, 3, 1000)
	mustSync(t, l)
	writes.Store(0)
	for _, size := range []int{9_000_000, 1, mostUnwritten / 2} {
		r := dataAfter(t, l.Last(), 1, byte(size), size)
		if !l.Takes(r.Size()) {
			t.Errorf("a record of %d bytes is not taken", size)
		}
		if err := l.Append(r); err != nil {
			t.Fatal(err)
		}
		want = append(want, r)
	}
	if n := writes.Load(); n > 0 {
		t.Errorf("Append wrote %d times", n)
	}
	if l.Takes(mostUnwritten+1) || l.Takes(mostUnwritten) {
		t.Error("more is taken")
	}
	for _, s := range l.segments {
		longest.Store(max(longest.Load(), int64(len(s.out.buf))))
	}
	if longest.Load() > mostUnwritten {
		t.Errorf("a buffer of %d bytes", longest.Load())
	}
	sameRecords(t, readAll(t, l), want)
	syncs.Store(0)
	told.Store(0)
	mustSync(t, l)
	if n, steps := syncs.Load(), told.Load(); n < 3 || steps < 10 {
		t.Errorf("%d fsyncs, in %d steps", n, steps)
	}
	if !l.Takes(mostUnwritten + 1) {
		t.Error("nothing is taken after all was written")
	}
	sameRecords(t, readAll(t, l), want)
	closeLog(t, l)
	l, _ = mustOpen(t, fs, "wal", Options{})
	defer closeLog(t, l)
	sameRecords(t, readAll(t, l), want)
}

// Prepare does what Append would have waited for: it makes the file for a record that is longer than what there is.
func TestPrepareMakesRoom(t *testing.T) {
	fs := vfs.NewMem()
	var made atomic.Int64
	l, _ := mustOpen(t, errorfs.Wrap(fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpCreate {
			made.Add(1)
		}
		return nil
	})), "wal", Options{Create: true})
	defer closeLog(t, l)
	for range 2 { // the first for an empty segment, the second with files that were freed
		appendSome(t, l, 1, 1, 10)
		for range 20 {
			appendSome(t, l, 1, 5, 9000)
			mustSync(t, l)
		}
		l.spare.wait()
		if err := l.Prune(l.Last().Position); err != nil {
			t.Fatal(err)
		}
		size := 3 * testSegment
		if l.Takes(size) {
			t.Fatal("there is room")
		}
		l.Prepare(size)
		if !l.Takes(size) {
			t.Fatal("there is no room")
		}
		made.Store(0)
		r := dataAfter(t, l.Last(), 1, 1, size-replication.HeaderSize-100)
		if err := l.Append(r); err != nil {
			t.Fatal(err)
		}
		if l.active().base() != r.First-1 {
			t.Fatal("it went elsewhere")
		}
		mustSync(t, l)
	}
}
