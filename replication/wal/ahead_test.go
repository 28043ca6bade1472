package wal

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/replicatedstore/replicatedstore/replication"
)

// A record that is longer than everything that may wait to be written waits beside it. The Sync that writes it must not
// sync all of it with one fsync.
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

// Prepare does what Append would have waited for: it makes a file for a record that is longer than any file there is.
func TestPrepareMakesRoom(t *testing.T) {
	fs := vfs.NewMem()
	var made atomic.Int64
	spawn := func(f func()) { f() }
	l, _ := mustOpen(t, errorfs.Wrap(fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpCreate {
			made.Add(1)
		}
		return nil
	})), "wal", Options{Create: true, Spawn: func(f func()) { spawn(f) }})
	defer closeLog(t, l)
	for range 2 { // the first for an empty segment, the second with freed files
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
		var later func() // makes the file for the next segment
		spawn = func(f func()) { later = f }
		r := dataAfter(t, l.Last(), 1, 1, size-replication.HeaderSize-100)
		if err := l.Append(r); err != nil || made.Load() > 0 {
			t.Fatalf("%v; Append made %d files", err, made.Load())
		}
		if spawn = func(f func()) { f() }; later != nil {
			later()
		}
		if l.active().base() != r.First-1 {
			t.Fatal("it went elsewhere")
		}
		mustSync(t, l)
	}
}

// An empty segment grows for a long record, in advance as well.
func TestPrepareGrowsALogWithoutRecords(t *testing.T) {
	var writes atomic.Int64
	appended := make(chan struct{}) // only then is the file for the next segment made, which is written too
	spawn := func(f func()) { f() }
	l, _ := mustOpen(t, errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileWriteAt {
			writes.Add(1)
		}
		return nil
	})), "wal", Options{Create: true, Spawn: func(f func()) { spawn(f) }})
	defer closeLog(t, l)
	defer close(appended)
	appendSome(t, l, 1, 3, 100)
	if err := l.Reset(l.Last(), l.Epochs()); err != nil {
		t.Fatal(err)
	}
	r := dataAfter(t, l.Last(), 1, 7, 20*testSegment)
	if l.Takes(r.Size()) {
		t.Fatal("there is room")
	}
	l.Prepare(r.Size())
	if !l.Takes(r.Size()) {
		t.Fatal("there is no room")
	}
	spawn = func(f func()) {
		go func() {
			<-appended
			f()
		}()
	}
	writes.Store(0)
	if err := l.Append(r); err != nil || writes.Load() > 0 {
		t.Fatalf("%v; %d writes", err, writes.Load())
	}
	sameRecords(t, readAll(t, l), []replication.Record{r})
}

// A file made by Prepare is distinct from one that a concurrent Append makes: nothing is written to a file that is part of
// the log by then.
func TestPrepareBesideAnAppendThatRolls(t *testing.T) {
	fs := vfs.NewCrashableMem()
	var armed atomic.Bool
	var fills atomic.Int64
	begun := [2]chan struct{}{make(chan struct{}), make(chan struct{})}
	goOn := [2]chan struct{}{make(chan struct{}), make(chan struct{})}
	l, _ := mustOpen(t, errorfs.Wrap(fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if armed.Load() && op.Kind == errorfs.OpFileWriteAt && strings.Contains(op.Path, sparePrefix) {
			if n := fills.Add(1) - 1; n < 2 {
				close(begun[n])
				<-goOn[n]
			}
		}
		return nil
	})), "wal", Options{Create: true, Spawn: func(f func()) { f() }})
	appendSome(t, l, 1, 1, 10)
	mustSync(t, l)
	if err := l.spare.discard(); err != nil { // as if the volume had no room for one
		t.Fatal(err)
	}
	armed.Store(true)
	appended, prepared := make(chan error, 1), make(chan struct{})
	r := dataAfter(t, l.Last(), 1, 1, 2*testSegment)
	go func() { appended <- l.Append(r) }()
	<-begun[0]
	go func() {
		defer close(prepared)
		l.Prepare(4 * testSegment)
	}()
	<-begun[1]
	close(goOn[0])
	if err := <-appended; err != nil {
		t.Fatal(err)
	}
	durable := mustSync(t, l)
	close(goOn[1])
	<-prepared
	crashed, _ := mustOpen(t, fs.CrashClone(vfs.CrashCloneCfg{}), "wal", Options{})
	defer closeLog(t, crashed)
	if crashed.Last() != durable || crashed.Last() != r.Mark() {
		t.Fatalf("durable up to %v, and after a crash %v", durable, crashed.Last())
	}
	closeLog(t, l)
}

// Unrestricted Prepares, concurrent with Appends each of which begins a segment, and with the closing of the log.
func TestPreparesBesideAppends(t *testing.T) {
	for _, real := range []bool{false, true} {
		for range 10 {
			var fs vfs.FS = vfs.NewMem()
			dir := "wal"
			if real {
				fs, dir = vfs.Default, t.TempDir()+"/wal"
			}
			l, _ := mustOpen(t, fs, dir, Options{Create: true})
			var stop atomic.Bool
			var beside sync.WaitGroup
			beside.Go(func() {
				for !stop.Load() {
					l.Prepare(2 * testSegment)
				}
			})
			var want []replication.Record
			for i := range 20 {
				r := dataAfter(t, l.Last(), 1, byte(i), 2*testSegment)
				if err := l.Append(r); err != nil {
					t.Fatal(err)
				}
				want = append(want, r)
				mustSync(t, l)
			}
			closeLog(t, l)
			stop.Store(true)
			beside.Wait()
			names, err := fs.List(dir)
			if err != nil || slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, sparePrefix) }) {
				t.Errorf("after its end: %v, %v", names, err)
			}
			l, _ = mustOpen(t, fs, dir, Options{})
			sameRecords(t, readAll(t, l), want)
			closeLog(t, l)
		}
	}
}
