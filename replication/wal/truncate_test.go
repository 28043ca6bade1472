package wal

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/replicatedstore/replicatedstore/replication"
)

func TestTruncateKeepsWhatItCuts(t *testing.T) {
	fileSystems(t, func(t *testing.T, fs vfs.FS, dir string) {
		l, _ := mustOpen(t, fs, dir, Options{Create: true, TailBytes: 1000})
		kept := appendSome(t, l, 1, 150, 300)
		cut := append([]replication.Record{barrierAfter(t, l.Last(), 2)}, nil...)
		if err := l.Append(cut[0]); err != nil {
			t.Fatal(err)
		}
		cut = append(cut, appendSome(t, l, 2, 150, 300)...)
		old := l.Last()
		at := kept[len(kept)-1].Mark()
		if _, err := l.TruncateAfter(at.Position-1, "inside a record"); !errors.Is(err, ErrBoundary) || l.Last() != old {
			t.Fatalf("%v, last %v", err, l.Last())
		}
		q, err := l.TruncateAfter(at.Position, "epoch 2 was never led by anybody else")
		if err != nil {
			t.Fatal(err)
		}
		if q.Entries() != 451 || q.Base != at || q.Last != old || !strings.HasSuffix(q.Path, "2-451-901.log") {
			t.Fatalf("%+v, %d entries", q, q.Entries())
		}
		if l.Last() != at || l.Durable() != at || len(l.Epochs()) != 1 {
			t.Fatalf("last %v, durable %v, epochs %v", l.Last(), l.Durable(), l.Epochs())
		}
		sameRecords(t, readAll(t, l), kept)
		sameRecords(t, readQuarantine(t, fs, q), cut)

		// A different history from here on.
		b := barrierAfter(t, at, 5)
		if err := l.Append(b); err != nil {
			t.Fatal(err)
		}
		want := append(append(kept, b), appendSome(t, l, 5, 100, 200)...)
		sameRecords(t, readAll(t, l), want)
		closeLog(t, l)
		l, _ = mustOpen(t, fs, dir, Options{})
		sameRecords(t, readAll(t, l), want)
		if _, err := l.TruncateAfter(l.First()-1, "all of it"); err != nil || l.Last() != (replication.Mark{}) {
			t.Fatalf("%v, last %v", err, l.Last())
		}
		list, err := ListQuarantine(fs, fs.PathJoin(dir, "quarantine"))
		if err != nil || len(list) != 2 || list[0].Entries() != uint64(want[len(want)-1].Last()) {
			t.Fatalf("%+v, %v", list, err)
		}
		closeLog(t, l)
	})
}

func readQuarantine(t *testing.T, fs vfs.FS, q Quarantine) (out []replication.Record) {
	t.Helper()
	r, err := OpenQuarantine(fs, q.Path)
	if err != nil {
		t.Fatal(err)
	}
	if r.Reason != q.Reason || r.Bytes != q.Bytes {
		t.Fatalf("reads back as %+v, was %+v", r.Quarantine, q)
	}
	for {
		rec, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, rec)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	return out
}

// The records that were cut are written again, byte for byte, up to one of them. Those after it must stay gone, although
// they would continue the chain.
func TestCutRecordsStayGone(t *testing.T) {
	fs := vfs.NewMem()
	l, _ := mustOpen(t, fs, "wal", Options{Create: true, SegmentBytes: 1 << 20})
	recs := appendSome(t, l, 1, 20, 100)
	mustSync(t, l)
	if _, err := l.TruncateAfter(recs[9].Last(), "test"); err != nil {
		t.Fatal(err)
	}
	if err := l.Append(recs[10]); err != nil {
		t.Fatal(err)
	}
	mustSync(t, l)
	crashed := copyDir(t, fs, "wal")
	closeLog(t, l)
	l, rep := mustOpen(t, crashed, "wal", Options{})
	defer closeLog(t, l)
	if l.Last() != recs[10].Mark() || rep.TornBytes != 0 {
		t.Fatalf("recovered %v, want %v: %+v", l.Last(), recs[10].Mark(), rep)
	}
}

func TestReset(t *testing.T) {
	fileSystems(t, func(t *testing.T, fs vfs.FS, dir string) {
		l, _ := mustOpen(t, fs, dir, Options{Create: true})
		appendSome(t, l, 1, 200, 400)
		at := replication.Mark{Epoch: 7, Position: 5000, Chain: 42}
		table := replication.EpochTable{{Epoch: 1, Start: 1}, {Epoch: 7, Start: 4000}}
		for name, bad := range map[string]replication.EpochTable{
			"other epoch": {{Epoch: 1, Start: 1}}, "later start": {{Epoch: 7, Start: 1}, {Epoch: 8, Start: 5001}}, "none": nil,
		} {
			if err := l.Reset(at, bad); err == nil {
				t.Fatalf("reset with a table of %s", name)
			}
		}
		if err := l.Reset(at, table); err != nil {
			t.Fatal(err)
		}
		if l.First() != 5001 || l.Last() != at || l.Durable() != at || len(l.Segments()) != 1 {
			t.Fatalf("first %d, last %v, %v", l.First(), l.Last(), l.Segments())
		}
		if m, ok := l.MarkAt(5000); !ok || m != at {
			t.Fatalf("base mark %v %v", m, ok)
		}
		want := appendSome(t, l, 7, 200, 400)
		closeLog(t, l)
		l, _ = mustOpen(t, fs, dir, Options{})
		defer closeLog(t, l)
		sameRecords(t, readAll(t, l), want)
		if len(l.Epochs()) != 2 || l.Epochs()[1] != table[1] {
			t.Fatalf("epochs %v", l.Epochs())
		}
	})
}

func TestManyEpochs(t *testing.T) {
	fs := vfs.NewMem()
	l, _ := mustOpen(t, fs, "wal", Options{Create: true})
	const epochs = 3000
	for e := replication.Epoch(1); e <= epochs; e++ {
		if err := l.Append(barrierAfter(t, l.Last(), e)); err != nil {
			t.Fatal(err)
		}
	}
	closeLog(t, l)
	l, _ = mustOpen(t, fs, "wal", Options{})
	defer closeLog(t, l)
	if n := len(l.Epochs()); n != epochs {
		t.Fatalf("%d epochs", n)
	}
}
