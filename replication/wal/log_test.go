package wal

import (
	"errors"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/replicatedstore/replicatedstore/replication"
)

// fileSystems runs a test on real files and in memory.
func fileSystems(t *testing.T, test func(t *testing.T, fs vfs.FS, dir string)) {
	t.Run("disk", func(t *testing.T) { test(t, vfs.Default, vfs.Default.PathJoin(t.TempDir(), "wal")) })
	t.Run("memory", func(t *testing.T) { test(t, vfs.NewMem(), "data/wal") })
}

func TestAppendSyncReadReopen(t *testing.T) {
	fileSystems(t, func(t *testing.T, fs vfs.FS, dir string) {
		l, rep := mustOpen(t, fs, dir, Options{Create: true, TailBytes: 10_000})
		if !rep.Created || l.First() != 1 || l.Last() != (replication.Mark{}) {
			t.Fatalf("new log: %+v, first %d, last %v", rep, l.First(), l.Last())
		}
		var want []replication.Record
		for epoch := replication.Epoch(1); epoch <= 4; epoch++ {
			b := barrierAfter(t, l.Last(), epoch*2)
			if err := l.Append(b); err != nil {
				t.Fatal(err)
			}
			want = append(append(want, b), appendSome(t, l, epoch*2, 100, 500)...)
			if m := mustSync(t, l); m != l.Last() || l.Durable() != m {
				t.Fatalf("synced %v, durable %v, last %v", m, l.Durable(), l.Last())
			}
		}
		if len(l.Segments()) < 4 {
			t.Fatalf("only %d segments: nothing rolled", len(l.Segments()))
		}
		sameRecords(t, readAll(t, l), want)
		last, epochs := l.Last(), l.Epochs()
		closeLog(t, l)

		l, rep = mustOpen(t, fs, dir, Options{})
		defer closeLog(t, l)
		if rep.TornBytes != 0 || rep.Created || l.Last() != last || l.Durable() != last {
			t.Fatalf("reopened %+v, last %v, want %v", rep, l.Last(), last)
		}
		if len(epochs) != 4 || len(l.Epochs()) != 4 || l.Epochs()[3] != epochs[3] || epochs[1] != (replication.EpochStart{Epoch: 4, Start: 302}) {
			t.Fatalf("epochs %v, before %v", l.Epochs(), epochs)
		}
		sameRecords(t, readAll(t, l), want)
		for i := range want {
			if m, ok := l.MarkAt(want[i].Last()); !ok || m != want[i].Mark() {
				t.Fatalf("mark at %d: %v %v, want %v", want[i].Last(), m, ok, want[i].Mark())
			}
		}
		if _, err := l.FindMark(3); !errors.Is(err, ErrBoundary) {
			t.Fatalf("mark inside a record: %v", err)
		}
		sameRecords(t, append(want, appendSome(t, l, 9, 3, 10)...), readAll(t, l))
	})
}

func TestOpenRefusesWithoutLog(t *testing.T) {
	if _, _, err := Open(vfs.NewMem(), "data/wal", Options{}); !errors.Is(err, ErrNoLog) {
		t.Fatal(err)
	}
}

func TestAppendRefusesWhatDoesNotFollow(t *testing.T) {
	l, _ := mustOpen(t, vfs.NewMem(), "wal", Options{Create: true})
	defer closeLog(t, l)
	appendSome(t, l, 5, 2, 10)
	end := l.Last()
	wrongChain, wrongPlace := end, end
	wrongChain.Chain++
	wrongPlace.Position++
	for name, r := range map[string]replication.Record{
		"chain":     dataAfter(t, wrongChain, 5, 0, 1),
		"position":  dataAfter(t, wrongPlace, 5, 0, 1),
		"old epoch": dataAfter(t, end, 4, 0, 1),
	} {
		if err := l.Append(r); !errors.Is(err, replication.ErrRecordChain) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if l.Last() != end || l.Err() != nil {
		t.Fatalf("a refused record changed the log: %v, %v", l.Last(), l.Err())
	}
}

func TestRecordLargerThanSegment(t *testing.T) {
	fileSystems(t, func(t *testing.T, fs vfs.FS, dir string) {
		l, _ := mustOpen(t, fs, dir, Options{Create: true})
		var want []replication.Record
		for i, size := range []int{5 * testSegment, 10, 3 << 20, testSegment, testSegment - 4096 - 200, 7} {
			r := dataAfter(t, l.Last(), 1, byte(i), size)
			if err := l.Append(r); err != nil {
				t.Fatal(err)
			}
			want = append(want, r)
			mustSync(t, l)
		}
		closeLog(t, l)
		l, _ = mustOpen(t, fs, dir, Options{})
		defer closeLog(t, l)
		sameRecords(t, readAll(t, l), want)
	})
}

func TestReadBounds(t *testing.T) {
	l, _ := mustOpen(t, vfs.NewMem(), "wal", Options{Create: true, TailBytes: 2000})
	defer closeLog(t, l)
	recs := appendSome(t, l, 1, 400, 300)
	mustSync(t, l)
	if err := l.Prune(600); err != nil {
		t.Fatal(err)
	}
	first := l.First()
	if first == 1 || first > 601 {
		t.Fatalf("first %d after pruning to 600", first)
	}
	for name, c := range map[string]struct {
		from replication.Position
		want error
	}{
		"pruned": {first - 1, ErrPruned}, "beyond": {l.Last().Position + 2, ErrBeyond},
		"inside, on disk": {first + 1, ErrBoundary}, "inside, in memory": {l.Last().Position, ErrBoundary},
	} {
		if _, err := l.Read(c.from, 100, nil); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got, err := l.Read(l.Last().Position+1, 100, nil); len(got) != 0 || err != nil {
		t.Errorf("at the end: %d records, %v", len(got), err)
	}
	if got, err := l.Read(first, 0, nil); len(got) != 1 || err != nil {
		t.Errorf("at least one: %d records, %v", len(got), err)
	}
	got, err := l.Read(first, 10*len(recs[0].Raw)+1, nil)
	if len(got) != 10 || err != nil {
		t.Errorf("bounded: %d records, %v", len(got), err)
	}
}

func TestPruneKeepsWhatIsPinned(t *testing.T) {
	fs := vfs.NewMem()
	l, _ := mustOpen(t, fs, "wal", Options{Create: true})
	defer closeLog(t, l)
	recs := appendSome(t, l, 1, 400, 300)
	if durable := l.Durable(); durable == l.Last() {
		t.Fatal("everything is durable without a sync")
	}
	mustSync(t, l)
	release := l.Pin(500)
	other := l.Pin(900)
	if err := l.Prune(l.Last().Position); err != nil {
		t.Fatal(err)
	}
	if first := l.First(); first == 1 || first > 500 {
		t.Fatalf("first %d with a pin at 500", first)
	}
	release()
	release()
	if err := l.Prune(l.Last().Position); err != nil {
		t.Fatal(err)
	}
	if first := l.First(); first <= 500 || first > 900 {
		t.Fatalf("first %d with a pin at 900", first)
	}
	other()
	if err := l.Prune(l.Last().Position); err != nil || len(l.Segments()) != 1 {
		t.Fatalf("%d segments left, %v", len(l.Segments()), err)
	}
	kept := readAll(t, l)
	sameRecords(t, kept, recs[len(recs)-len(kept):])
}

func TestPruneBound(t *testing.T) {
	l, _ := mustOpen(t, vfs.NewMem(), "wal", Options{Create: true})
	defer closeLog(t, l)
	appendSome(t, l, 1, 400, 300)
	mustSync(t, l)
	for _, retain := range []int64{0, 1, testSegment, 3 * testSegment, 1 << 40} {
		before := l.Segments()
		if err := l.Prune(l.PruneBound(retain)); err != nil {
			t.Fatal(err)
		}
		var kept int64
		for _, s := range l.Segments() {
			kept += s.Bytes
		}
		if kept < retain && len(l.Segments()) != len(before) {
			t.Fatalf("kept %d bytes of %d", kept, retain)
		}
	}
	if l.PruneBound(1<<40) != 0 {
		t.Fatal("a bound above the log's size allows to prune")
	}
}
