package wal

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/replicatedstore/replicatedstore/replication"
)

// copyDir copies the files of a flat directory into a new file system.
func copyDir(tb testing.TB, from vfs.FS, dir string) *vfs.MemFS {
	tb.Helper()
	to := vfs.NewMem()
	if err := to.MkdirAll(dir, 0o755); err != nil {
		tb.Fatal(err)
	}
	names, err := from.List(dir)
	if err != nil {
		tb.Fatal(err)
	}
	for _, n := range names {
		if !strings.HasSuffix(n, segmentSuffix) {
			continue
		}
		if err := vfs.CopyAcrossFS(from, from.PathJoin(dir, n), to, to.PathJoin(dir, n)); err != nil {
			tb.Fatal(err)
		}
	}
	return to
}

func flipBit(tb testing.TB, fs vfs.FS, path string, bit int64) {
	tb.Helper()
	f, err := fs.OpenReadWrite(path, "test")
	if err != nil {
		tb.Fatal(err)
	}
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, bit/8); err != nil {
		tb.Fatal(err)
	}
	b[0] ^= 1 << (bit % 8)
	if _, err := f.WriteAt(b, bit/8); err != nil {
		tb.Fatal(err)
	}
	if err := f.Close(); err != nil {
		tb.Fatal(err)
	}
}

// TestFlippedBits flips random bits all over a log of several segments, as a crash leaves it (without a closing note). What
// was synced before the last sync is vouched for: damage there is refused by Open, or by Read in a segment that Open does
// not verify. Damage in what nothing vouches for may be cut as a torn tail. Wrong bytes are never returned.
func TestFlippedBits(t *testing.T) {
	rng := seeded(t)
	master := vfs.NewMem()
	l, _ := mustOpen(t, master, "wal", Options{Create: true})
	var vouched replication.Position
	for range 8 {
		appendSome(t, l, 1, 30, 400)
		vouched = l.Durable().Position
		mustSync(t, l)
	}
	for len(l.Segments()) < 5 || l.active().off < testSegment/2 {
		appendSome(t, l, 1, 3, 400)
		vouched = l.Durable().Position
		mustSync(t, l)
	}
	want := readAll(t, l)
	segments := l.Segments()
	end := l.active().off
	if len(segments) < 3 {
		t.Fatalf("only %d segments", len(segments))
	}
	var refused, torn, unnoticed, later int
	for range 600 {
		fs := copyDir(t, master, "wal")
		i := rng.IntN(len(segments))
		path := fs.PathJoin("wal", segmentName(segments[i].First-1))
		size := segments[i].Bytes
		if i == len(segments)-1 && rng.IntN(4) > 0 {
			size = end
		}
		bit := rng.Int64N(size * 8)
		flipBit(t, fs, path, bit)
		l, rep, err := Open(fs, "wal", Options{SegmentBytes: testSegment})
		switch {
		case errors.Is(err, ErrDamaged):
			refused++
			if refusedWell(t, err); !strings.Contains(err.Error(), path) {
				t.Fatalf("the refusal does not name %s: %v", path, err)
			}
			continue
		case err != nil && strings.Contains(err.Error(), errVersion.Error()):
			refused++
			continue
		case err != nil:
			t.Fatalf("bit %d of %s: %v", bit, path, err)
		case rep.TornBytes > 0:
			torn++
			if l.Last().Position < vouched {
				t.Fatalf("bit %d of %s: cut to %v, though everything up to %d was vouched for", bit, path, l.Last(), vouched)
			}
		}
		got, err := readSome(l)
		for j := range got {
			if string(got[j].Raw) != string(want[j].Raw) {
				t.Fatalf("bit %d of %s: wrong bytes were returned", bit, path)
			}
		}
		switch {
		case errors.Is(err, ErrDamaged):
			later++
		case err != nil:
			t.Fatal(err)
		case rep.TornBytes == 0 && len(got) == len(want):
			unnoticed++ // in the zeros after the end of a sealed segment, or in a note
		case rep.TornBytes == 0:
			t.Fatalf("bit %d of %s: %d of %d records and no word about it", bit, path, len(got), len(want))
		}
		closeLog(t, l)
	}
	t.Logf("%d refused by Open, %d found by Read, %d cut as torn, %d harmless", refused, later, torn, unnoticed)
	if refused == 0 || torn == 0 || later == 0 {
		t.Fatal("not every way was taken")
	}
	closeLog(t, l)
}

func readSome(l *Log) (out []replication.Record, err error) {
	for next := l.First(); next <= l.Last().Position; next = out[len(out)-1].Last() + 1 {
		if out, err = l.Read(next, 10_000, out); err != nil {
			return out, err
		}
	}
	return out, nil
}

// After an orderly Close everything is vouched for: no damage passes for a torn tail.
func TestFlippedBitsAfterCloseAreAllRefused(t *testing.T) {
	rng := seeded(t)
	master := vfs.NewMem()
	l, _ := mustOpen(t, master, "wal", Options{Create: true})
	appendSome(t, l, 1, 20, 400)
	path, head, off := l.active().path, l.active().header.length, l.active().off
	closeLog(t, l)
	for range 200 {
		fs := copyDir(t, master, "wal")
		bit := head*8 + rng.Int64N((off-head)*8)
		flipBit(t, fs, path, bit)
		if _, _, err := Open(fs, "wal", Options{}); !errors.Is(err, ErrDamaged) {
			t.Fatalf("bit %d: %v", bit, err)
		}
	}
}

func TestMissingSegmentIsRefused(t *testing.T) {
	fs := vfs.NewMem()
	l, _ := mustOpen(t, fs, "wal", Options{Create: true})
	appendSome(t, l, 1, 400, 400)
	segments := l.Segments()
	closeLog(t, l)
	if err := fs.Remove(fs.PathJoin("wal", segmentName(segments[2].First-1))); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Open(fs, "wal", Options{}); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "missing") {
		t.Fatal(err)
	}
}

// A client's value that looks like notes and records does not prevent the recovery of a torn tail.
func TestForgedNotesInValues(t *testing.T) {
	fs := vfs.NewMem()
	l, _ := mustOpen(t, fs, "wal", Options{Create: true})
	appendSome(t, l, 1, 3, 100)
	mustSync(t, l)
	end := l.Last()
	forged := note{kind: noteClosed, salt: 12345, offset: 1 << 40}.appendTo(nil)
	inner := dataAfter(t, replication.Mark{Epoch: 1, Position: 500}, 1, 1, 10)
	payload := append([]byte{byte(len(forged) + len(inner.Raw))}, forged...)
	r, err := replication.EncodeRecord(replication.Seal{Epoch: 1, First: end.Position + 1, Prev: end.Chain}, 1, append(payload, inner.Raw...))
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Append(r); err != nil {
		t.Fatal(err)
	}
	path, off := l.active().path, l.active().off-int64(len(r.Raw))
	crashed := copyDir(t, fs, "wal")
	closeLog(t, l)
	flipBit(t, crashed, path, off*8+3)
	l, rep := mustOpen(t, crashed, "wal", Options{})
	defer closeLog(t, l)
	if l.Last() != end || rep.TornBytes == 0 {
		t.Fatalf("recovered %v, want %v: %+v", l.Last(), end, rep)
	}
}

// TestTornTail cuts the file at every byte of the last record. What is left is a torn tail; it is cut and a copy of it
// kept.
func TestTornTail(t *testing.T) {
	fs := vfs.NewMem()
	l, _ := mustOpen(t, fs, "wal", Options{Create: true})
	appendSome(t, l, 1, 3, 50)
	mustSync(t, l)
	end := l.Last()
	last := appendSome(t, l, 1, 1, 50)[0]
	path, to := l.active().path, l.active().off
	from := to - int64(len(last.Raw))
	for keep := from + 1; keep < to; keep++ {
		torn := copyDir(t, fs, "wal")
		f, err := torn.OpenReadWrite(path, "test")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt(make([]byte, to-keep), keep); err != nil {
			t.Fatal(err)
		}
		_ = f.Close()
		l, rep := mustOpen(t, torn, "wal", Options{})
		if l.Last() == last.Mark() {
			// The record ended in zeros anyway.
			closeLog(t, l)
			continue
		}
		if l.Last() != end || (rep.TornBytes > 0) != (rep.TornCopy != "") {
			t.Fatalf("cut at %d: recovered %v, want %v, %+v", keep, l.Last(), end, rep)
		}
		// The same record again. After it, none of the old bytes may follow.
		if err := l.Append(last); err != nil {
			t.Fatal(err)
		}
		mustSync(t, l)
		again := copyDir(t, torn, "wal")
		closeLog(t, l)
		l, rep = mustOpen(t, again, "wal", Options{})
		if l.Last() != last.Mark() || rep.TornBytes != 0 {
			t.Fatalf("cut at %d, then written again: %v, %+v", keep, l.Last(), rep)
		}
		closeLog(t, l)
	}
	closeLog(t, l)
}

func TestTornCopiesAreBounded(t *testing.T) {
	dir := t.TempDir()
	fs := vfs.Default
	wal := fs.PathJoin(dir, "wal")
	l, _ := mustOpen(t, fs, wal, Options{Create: true})
	closeLog(t, l)
	for range 2*tornKept + 3 {
		path := fs.PathJoin(wal, segmentName(0))
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt([]byte("garbage"), headerLength(0)+1000); err != nil {
			t.Fatal(err)
		}
		_ = f.Close()
		l, rep := mustOpen(t, fs, wal, Options{})
		if rep.TornBytes == 0 || rep.TornCopy == "" {
			t.Fatalf("%+v", rep)
		}
		closeLog(t, l)
	}
	names, err := fs.List(fs.PathJoin(wal, "quarantine"))
	if err != nil || len(names) != tornKept {
		t.Fatalf("%d copies kept, %v", len(names), err)
	}
}
