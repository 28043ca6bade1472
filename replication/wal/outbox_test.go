package wal

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/replicatedstore/replicatedstore/replication"
)

// What is taken and written, in whole and overlapping blocks, is what was put.
func TestOutboxWritesWhatWasPut(t *testing.T) {
	rng := seeded(t)
	head := randomBytes(rng, rng.IntN(block))
	want := append(make([]byte, 3*block), head...)
	file := bytes.Clone(want)
	var o outbox
	o.begin(3*block, head)
	for range 150 {
		b := randomBytes(rng, rng.IntN(3*block))
		if rng.IntN(40) == 0 {
			b = randomBytes(rng, rng.IntN(2*keptBuffer))
		}
		if !o.put(b) {
			t.Fatalf("%d bytes are not taken", len(b))
		}
		want = append(want, b...)
		if rng.IntN(3) == 0 {
			continue
		}
		taken, at := o.take()
		if taken == nil {
			if len(b) > 0 {
				t.Fatal("nothing to write")
			}
			continue
		}
		if len(taken)%block != 0 || at%block != 0 || uintptr(unsafe.Pointer(&taken[0]))%block != 0 {
			t.Fatalf("%d bytes at %d from memory at %p are not whole blocks", len(taken), at, &taken[0])
		}
		// More is put while that is being written, and the write clobbers the memory.
		b = randomBytes(rng, rng.IntN(100))
		o.put(b)
		if end := at + int64(len(taken)); end != int64(roundUp(len(want))) || at > int64(len(file)) {
			t.Fatalf("%d..%d are written after %d, of %d", at, end, len(file), len(want))
		}
		file = append(file[:at], taken...)
		for i := range taken {
			taken[i] = 0xee
		}
		o.done(taken)
		if rest := file[len(want):]; !bytes.Equal(file[:len(want)], want) || len(bytes.Trim(rest, "\x00")) > 0 {
			t.Fatal("the file is not what was put, and zeros")
		}
		want = append(want, b...)
	}
}

func randomBytes(rng *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(1 + rng.IntN(255))
	}
	return b
}

// Records that are in no file yet are read from memory, however little of it the log may use. Once they are written, no
// more is kept than allowed.
func TestUnwrittenRecordsStayInMemory(t *testing.T) {
	fs := vfs.NewMem()
	var written atomic.Int64
	l, _ := mustOpen(t, errorfs.Wrap(fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileWriteAt && strings.HasSuffix(op.Path, segmentSuffix) {
			written.Add(1)
		}
		return nil
	})), "wal", Options{Create: true, SegmentBytes: 16 << 20, TailBytes: 1})
	defer closeLog(t, l)
	want := appendSome(t, l, 1, 300, 1000)
	before := written.Load()
	want = append(want, appendSome(t, l, 1, 300, 1000)...)
	sameRecords(t, readAll(t, l), want)
	for i := range want {
		if m, err := l.FindMark(want[i].Last()); err != nil || m != want[i].Mark() {
			t.Fatalf("mark of record %d: %v, %v", i, m, err)
		}
	}
	if now := written.Load(); now != before {
		t.Fatalf("appending within a segment wrote %d times", now-before)
	}
	mustSync(t, l)
	if now := written.Load(); now > before+4 {
		t.Fatalf("one sync wrote %d times", now-before)
	}
	if n := len(l.tail.held()); n != 1 {
		t.Fatalf("%d records are kept in memory", n)
	}
	sameRecords(t, readAll(t, l), want)
}

// Append writes what is too much to leave to a Sync, even if it is a single record, and what is found then is what was
// appended.
func TestAppendBoundsWhatIsUnwritten(t *testing.T) {
	fs := vfs.NewMem()
	l, _ := mustOpen(t, fs, "wal", Options{Create: true, SegmentBytes: 16 << 20})
	want := appendSome(t, l, 1, 2, 300_000)
	for _, size := range []int{2*mostUnwritten + 1, 1, mostUnwritten - 7} {
		r := dataAfter(t, l.Last(), 1, byte(size), size)
		if err := l.Append(r); err != nil {
			t.Fatal(err)
		}
		want = append(want, r)
		for _, s := range l.segments {
			if n := len(s.out.buf); n > mostUnwritten {
				t.Fatalf("%d bytes wait to be written", n)
			}
		}
	}
	sameRecords(t, readAll(t, l), want)
	mustSync(t, l)
	for _, s := range l.segments {
		if n := cap(s.out.buf) + cap(s.out.idle); n > mostUnwritten+keptBuffer {
			t.Fatalf("buffers of %d bytes are kept", n)
		}
	}
	closeLog(t, l)
	l, _ = mustOpen(t, fs, "wal", Options{})
	defer closeLog(t, l)
	sameRecords(t, readAll(t, l), want)
}

// A Sync has read where an empty segment ends and is about to take what is to be written, when Append enlarges the
// segment's file for a record that needs it. All of the record must be written.
func TestGrowWhileASyncWrites(t *testing.T) {
	fs := vfs.NewCrashableMem()
	l, _ := mustOpen(t, fs, "wal", Options{Create: true})
	for n := len(l.Segments()); len(l.Segments()) == n || !l.unsettled; { // up to a segment that was begun for a barrier
		appendSome(t, l, 1, 1, 1)
		if err := l.Room(); err != nil {
			t.Fatal(err)
		}
	}
	s := l.active()
	big := dataAfter(t, l.Last(), 1, 7, 300_000)
	s.out.mu.Lock() // the Sync stops here
	synced := make(chan error)
	go func() {
		_, err := l.Sync()
		synced <- err
	}()
	time.Sleep(50 * time.Millisecond) // if this is too short, nothing is tested
	l.appendMu.Lock()
	if err := l.extend(s, int64(big.Size()), false); err != nil {
		t.Fatal(err)
	}
	s.out.buf = append(aligned(nil, len(s.out.buf)+big.Size())[:0], append(bytes.Clone(s.out.buf), big.Raw...)...) // a put, which would need the lock
	s.out.mu.Unlock()
	if err := <-synced; err != nil {
		t.Fatal(err)
	}
	l.publish(s, []replication.Record{big}, s.off, s.off+int64(big.Size()), s.noted)
	l.appendMu.Unlock()
	if m := mustSync(t, l); m != big.Mark() {
		t.Fatalf("synced %v, want %v", m, big.Mark())
	}
	after, _ := mustOpen(t, fs.CrashClone(vfs.CrashCloneCfg{}), "wal", Options{})
	if after.Last() != big.Mark() {
		t.Fatalf("%v was durable, found %v", big.Mark(), after.Last())
	}
	closeLog(t, after)
	closeLog(t, l)
}

// While nobody syncs, the amount that is in no file stays bounded across a roll.
func TestUnsyncedSegmentsLeaveMemory(t *testing.T) {
	l, _ := mustOpen(t, vfs.NewMem(), "wal", Options{Create: true, SegmentBytes: 16 << 20, TailBytes: 1})
	defer closeLog(t, l)
	for len(l.Segments()) < 3 { // the third has the full size
		appendSome(t, l, 1, 1, 60_000)
	}
	mustSync(t, l)
	for n := len(l.Segments()); len(l.Segments()) < n+1; { // the rest of it stays unsynced
		appendSome(t, l, 1, 1, 60_000)
	}
	for s := l.active(); s.size-s.off > 1<<20; {
		appendSome(t, l, 1, 1, 60_000)
		if l.tail.bytes > 2*mostUnwritten {
			t.Fatalf("%d bytes are held", l.tail.bytes)
		}
	}
}

// A closed segment that is not completely in its file yet is not damaged.
func TestScrubLeavesOutWhatIsUnwritten(t *testing.T) {
	l, _ := mustOpen(t, vfs.NewMem(), "wal", Options{Create: true})
	defer closeLog(t, l)
	for len(l.Segments()) < 2 {
		appendSome(t, l, 1, 1, 1000)
	}
	pace := func(int) error { return nil }
	if last, found, err := l.Scrub(0, pace); found || err != nil {
		t.Fatalf("scrubbed up to %d, %v", last, err)
	}
	mustSync(t, l)
	if _, found, err := l.Scrub(0, pace); !found || err != nil {
		t.Fatalf("not scrubbed once it is written: %v", err)
	}
}

// A file system that accepts O_DIRECT but then rejects the writes is written to through the page cache, which is not an
// error.
func TestDirectWritesThatAreRefused(t *testing.T) {
	fs := vfs.NewMem()
	var armed atomic.Bool
	refusing := failing(fs, &armed, func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileWriteAt && strings.HasSuffix(op.Path, segmentSuffix) && armed.Swap(false) {
			return syscall.EINVAL
		}
		return nil
	})
	l, _ := mustOpen(t, refusing, "wal", Options{Create: true, SegmentBytes: 1 << 20})
	want := appendSome(t, l, 1, 3, 1000)
	l.active().syncFile.direct = true // as on a file system that supports it, or claims to
	armed.Store(true)
	mustSync(t, l)
	if armed.Load() || l.active().syncFile.direct {
		t.Fatalf("refused: %v; direct: %v", !armed.Load(), l.active().syncFile.direct)
	}
	want = append(want, appendSome(t, l, 1, 3, 1000)...)
	mustSync(t, l)
	closeLog(t, l)
	l, _ = mustOpen(t, refusing, "wal", Options{})
	sameRecords(t, readAll(t, l), want)
	appendSome(t, l, 1, 1, 10)
	armed.Store(true) // through the page cache, it is an error like any other
	if _, err := l.Sync(); !errors.Is(err, ErrFailed) || !errors.Is(err, syscall.EINVAL) {
		t.Fatal(err)
	}
}

// A segment whose size is not a multiple of a block, as earlier versions made them on small volumes, takes records up to
// its end.
func TestSegmentOfOddSize(t *testing.T) {
	fs := vfs.Default
	dir := t.TempDir()
	l, _ := mustOpen(t, fs, dir, Options{Create: true})
	want := appendSome(t, l, 1, 2, 100)
	path, size := l.active().path, l.active().size
	closeLog(t, l)
	f, err := fs.OpenReadWrite(path, "test")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(make([]byte, 1234), size); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	l, _ = mustOpen(t, fs, dir, Options{})
	if s := l.active(); s.size != size+1234 || s.syncFile.direct {
		t.Fatalf("size %d, direct %v", s.size, s.syncFile.direct)
	}
	for len(l.Segments()) < 3 {
		want = append(want, appendSome(t, l, 1, 1, 100)...)
		mustSync(t, l)
	}
	if info, err := fs.Stat(path); err != nil || info.Size() != size+1234 {
		t.Fatalf("the segment has %d bytes now, %v", info.Size(), err)
	}
	closeLog(t, l)
	l, _ = mustOpen(t, fs, dir, Options{})
	defer closeLog(t, l)
	sameRecords(t, readAll(t, l), want)
}
