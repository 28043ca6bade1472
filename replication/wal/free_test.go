package wal

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/replicatedstore/replicatedstore/replication"
)

// writeOver appends to l and prunes it until its last segment is in a reused file and more such files are waiting. It
// returns everything that was appended. The last record ends well before the end of its file.
func writeOver(t *testing.T, l *Log) (all []replication.Record) {
	t.Helper()
	for n := 0; !l.active().header.reused; n++ {
		if n > 1000 {
			t.Fatal("no file that was a segment is written over")
		}
		all = append(all, appendSome(t, l, 1, 1, 9000)...)
		mustSync(t, l)
		if segments := l.Segments(); len(segments) > 6 {
			if err := l.Prune(segments[len(segments)-2].Last); err != nil {
				t.Fatal(err)
			}
		}
	}
	return all
}

func freed(t *testing.T, fs vfs.FS, dir string) (n int) {
	t.Helper()
	names, err := fs.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if strings.HasPrefix(name, "free-") {
			n++
		}
	}
	return n
}

func TestPrunedSegmentsAreWrittenOver(t *testing.T) {
	fs := vfs.NewMem()
	l, _ := mustOpen(t, fs, "wal", Options{Create: true, TailBytes: 1})
	all := writeOver(t, l)
	if n := freed(t, fs, "wal"); n == 0 {
		t.Error("no file waits to be written over")
	}
	for range 3 {
		all = append(all, appendSome(t, l, 1, 10, 9000)...)
		mustSync(t, l)
		sameRecords(t, readAll(t, l), all[l.First()/3:])
	}
	all = append(all, writeOver(t, l)...)
	s := l.active()
	rest, err := readRange(fs, s.path, s.off, s.size)
	if err != nil || len(bytes.TrimRight(rest, "\x00")) == 0 {
		t.Fatalf("nothing is left of what the file held before, %v", err)
	}
	killed := copyDir(t, fs, "wal")
	writeFile(t, killed, "wal/free-00000000000000000001.tmp", []byte("anything"))
	closeLog(t, l)
	if n := freed(t, fs, "wal"); n != 0 {
		t.Errorf("%d files wait to be written over by nobody", n)
	}
	for name, fs := range map[string]*vfs.MemFS{"closed": fs, "killed": killed} {
		l, rep := mustOpen(t, fs, "wal", Options{TailBytes: 1})
		if rep.TornBytes != 0 || rep.TornCopy != "" || len(rep.Removed) > 0 {
			t.Errorf("%s: %+v", name, rep)
		}
		if n := freed(t, fs, "wal"); n != 0 {
			t.Errorf("%s: %d files wait to be written over by nobody", name, n)
		}
		sameRecords(t, readAll(t, l), all[l.First()/3:])
		for after := l.First() - 1; ; {
			last, found, err := l.Scrub(after, func(int) error { return nil })
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if !found {
				break
			}
			after = last
		}
		closeLog(t, l)
	}
}

// What was appended to a reused file and not synced stays gone once recovery has cut it, as in any other file.
func TestTornRecordsStayGoneInAFileThatIsWrittenOver(t *testing.T) {
	fs := vfs.NewMem()
	l, _ := mustOpen(t, fs, "wal", Options{Create: true})
	writeOver(t, l)
	end := l.Last()
	recs := appendSome(t, l, 1, 4, 2000)
	writeUnsynced(t, l)
	s := l.active()
	if !s.header.reused || s.base() >= recs[0].First {
		t.Fatal("the records are not where the test wants them")
	}
	path, off := s.path, s.off
	for i := range recs {
		off -= int64(recs[len(recs)-1-i].Size())
	}
	crashed := copyDir(t, fs, "wal")
	closeLog(t, l)
	f, err := crashed.OpenReadWrite(path, "test")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(bytes.Repeat([]byte{'x'}, recs[0].Size()), off); err != nil {
		t.Fatal(err)
	}
	_ = f.Close()

	goesOn(t, crashed, end, recs[0])
}

// In a log that was closed in order, the last record is followed only by the closing note and the file's former contents.
func TestDamageInAFileThatIsWrittenOver(t *testing.T) {
	fs := vfs.NewMem()
	l, _ := mustOpen(t, fs, "wal", Options{Create: true})
	writeOver(t, l)
	s := l.active()
	if !s.header.reused || s.end.Position == s.base() {
		t.Fatal("the last record is not where the test wants it")
	}
	closeLog(t, l)
	flipBit(t, fs, s.path, 8*(s.off-2000))
	if l, _, err := Open(fs, "wal", Options{SegmentBytes: testSegment}); !errors.Is(err, ErrDamaged) {
		t.Errorf("opened with %v, and %v", l.Last(), err)
	}
}

func TestWhatIsBeingReadIsNotWrittenOver(t *testing.T) {
	fs := vfs.NewMem()
	l, _ := mustOpen(t, fs, "wal", Options{Create: true})
	defer closeLog(t, l)
	writeOver(t, l)
	for range 3 {
		appendSome(t, l, 1, 5, 9000)
	}
	mustSync(t, l)
	if err := l.DropExcess(); err != nil || l.Reuse(0) && l.DropExcess() != nil {
		t.Fatal(err)
	}
	l.Reuse(1 << 30)
	segments := l.Segments()
	var reading []view
	l.mu.Lock()
	for _, s := range segments[:len(segments)-1] {
		reading = append(reading, l.viewAt(s.First))
	}
	l.mu.Unlock()
	if err := l.Prune(l.Last().Position); err != nil {
		t.Fatal(err)
	}
	if n := freed(t, fs, "wal"); n != 0 {
		t.Errorf("%d files that are being read wait to be written over", n)
	}
	for _, v := range reading {
		if err := verify(v, func(int) error { return nil }); err != nil {
			t.Error(err)
		}
		v.s.release()
	}
}

// A file that could not be read once is not reused.
func TestDamagedSegmentIsNotWrittenOver(t *testing.T) {
	fs := vfs.NewMem()
	l, _ := mustOpen(t, fs, "wal", Options{Create: true, TailBytes: 1})
	defer closeLog(t, l)
	appendSome(t, l, 1, 30, 9000)
	mustSync(t, l)
	segments := l.Segments()
	bad := segments[slices.IndexFunc(segments, func(s SegmentInfo) bool { return s.Bytes == testSegment })]
	flipBit(t, fs, "wal/"+segmentName(bad.First-1), 8*20_000)
	if _, _, err := l.Scrub(bad.First-1, func(int) error { return nil }); !errors.Is(err, ErrDamaged) {
		t.Fatal(err)
	}
	if err := l.Prune(l.Last().Position); err != nil {
		t.Fatal(err)
	}
	l.spare.wait()
	for _, b := range append(l.spare.freed, l.spare.prepared) {
		if strings.Contains(b.path, segmentName(bad.First - 1)[:20]) {
			t.Errorf("%s is to be written over", b.path)
		}
	}
	if freed(t, fs, "wal") == 0 {
		t.Error("no other is")
	}
}

func TestFileForTheNextSegment(t *testing.T) {
	fs := vfs.NewMem()
	small, full := blank{path: "next", size: 4 << 10}, blank{path: "free", size: 64 << 10, used: true}
	for name, c := range map[string]struct {
		have, left *spare
		need       int64
		want       blank
	}{
		"prepared":                         {have: &spare{prepared: small, freed: []blank{full}}, left: &spare{freed: []blank{full}}, need: 100, want: small},
		"freed":                            {have: &spare{freed: []blank{full}}, need: 100, want: full},
		"prepared too small, freed":        {have: &spare{prepared: small, freed: []blank{full}}, left: &spare{prepared: small}, need: 10 << 10, want: full},
		"prepared too small":               {have: &spare{prepared: small}, need: 10 << 10, want: blank{path: "next-1.tmp", size: 16 << 10}},
		"what was freed is too small":      {have: &spare{freed: []blank{full}}, left: &spare{freed: []blank{full}}, need: 100 << 10, want: blank{path: "next-1.tmp", size: 100 << 10}},
		"freed and prepared are too small": {have: &spare{prepared: full}, left: &spare{prepared: full}, need: 100 << 10, want: blank{path: "next-1.tmp", size: 100 << 10}},
	} {
		if c.left == nil {
			c.left = &spare{}
		}
		c.have.fs = fs
		got, err := c.have.take(fs, 16<<10, c.need)
		if err != nil || got != c.want || c.have.prepared != c.left.prepared || !slices.Equal(c.have.freed, c.left.freed) {
			t.Errorf("%s: took %+v (%v), left %+v and %+v", name, got, err, c.have.prepared, c.have.freed)
		}
	}
	// The prepared file stays, however many are in excess.
	s := &spare{freed: []blank{full, full}}
	s.start(func(func()) { t.Error("made one") }, fs, 1)
	if s.prepared != full || len(s.freed) != 1 {
		t.Errorf("prepared %+v, left %+v", s.prepared, s.freed)
	}
}

func TestReuseIsBounded(t *testing.T) {
	fs := vfs.NewMem()
	l, _ := mustOpen(t, fs, "wal", Options{Create: true})
	defer closeLog(t, l)
	fill := func() {
		t.Helper()
		for range 10 {
			appendSome(t, l, 1, 5, 9000)
			mustSync(t, l)
		}
		if err := l.Prune(l.Last().Position); err != nil {
			t.Fatal(err)
		}
	}
	want := func(n int) {
		t.Helper()
		if got := freed(t, fs, "wal"); got != n {
			t.Fatalf("%d files wait to be written over, want %d", got, n)
		}
	}
	fill()
	want(reuseMost)
	if !l.Reuse(2*testSegment + 1) {
		t.Fatal("nothing is too many")
	}
	if err := l.DropExcess(); err != nil {
		t.Fatal(err)
	}
	want(2)
	fill()
	want(2)
	l.Reuse(0)
	if err := l.DropExcess(); err != nil {
		t.Fatal(err)
	}
	fill()
	want(0)
	l.Reuse(1 << 40)
	fill()
	want(reuseMost)
	// A segment that was made for one large record is not kept.
	appendSome(t, l, 1, 1, 3*testSegment)
	appendSome(t, l, 1, 20, 9000)
	fill()
	want(reuseMost)
	for _, b := range l.spare.freed {
		if b.size != testSegment {
			t.Errorf("a file of %d bytes waits to be written over", b.size)
		}
	}
	// Positions that are written again must not meet what a file held at them before.
	if err := l.Reset(replication.Mark{Epoch: 1, Position: 5, Chain: 3}, replication.EpochTable{{Epoch: 1, Start: 1}}); err != nil {
		t.Fatal(err)
	}
	want(0)
}
