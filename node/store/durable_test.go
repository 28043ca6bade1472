package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/replicatedstore/replicatedstore/replication"
)

// TestCrash: without a WAL, a crash leaves exactly the durable mark, and replaying the log after it restores the rest.
func TestCrash(t *testing.T) {
	rng := newRand(t, 0)
	for round := range 8 {
		log := randomLog(t, rng, 200)
		byMark := map[replication.Mark]int{{}: 0}
		reference := openMachine(t, vfs.NewMem(), "state")
		states := []string{dump(t, reference)}
		for i, r := range log {
			if err := reference.Apply([]replication.Record{r}); err != nil {
				t.Fatal(err)
			}
			byMark[r.Mark()] = i + 1
			states = append(states, dump(t, reference))
		}

		fs := vfs.NewCrashableMem()
		m := openMachine(t, fs, "state")
		cut := rng.IntN(len(log))
		applyInSteps(t, rng, m, log[:cut])
		durable := m.Durable()
		crashed := fs.CrashClone(vfs.CrashCloneCfg{})

		again := openMachine(t, crashed, "state")
		if again.Applied() != durable || again.Durable() != durable {
			t.Fatalf("round %d: durable was %v, after the crash applied is %v", round, durable, again.Applied())
		}
		from := byMark[durable]
		if got := dump(t, again); got != states[from] {
			t.Fatalf("round %d: after the crash the state at %v is not what it was", round, durable)
		}
		applyInSteps(t, rng, again, log[from:])
		if got := dump(t, again); got != states[len(log)] {
			t.Fatalf("round %d: replay from %v ended in another state", round, durable)
		}
	}
}

// TestCrashWhileFlushing takes crash images, in which unsynced data may or may not survive, while memtables and batches
// too large for them are being flushed. Every image must be a prefix of the log.
func TestCrashWhileFlushing(t *testing.T) {
	rng := newRand(t, 0)
	fs := vfs.NewCrashableMem()
	m := openMachine(t, fs, "state")
	values := []string{strings.Repeat("s", 100), strings.Repeat("m", 50_000), strings.Repeat("L", 3<<20)}
	end := replication.Mark{}
	marks := map[replication.Mark]bool{{}: true}
	for i := range 60 {
		// Every record writes its own position under two keys that sort far apart; an image must hold both or none.
		now := fmt.Sprint(i)
		r := record(t, end, 1, int64(i), entryOf(putOf("first", now, 0), putOf("filler"+now, values[rng.IntN(3)], 0), putOf("second", now, 0)))
		if err := m.Apply([]replication.Record{r}); err != nil {
			t.Fatal(err)
		}
		end = r.Mark()
		marks[end] = true
		if i%10 != 9 {
			continue
		}
		least := m.Durable()
		image := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: rng})
		again, err := Open(image, "state", Options{Memory: minMemory})
		if err != nil {
			t.Fatalf("image %d: %v", i, err)
		}
		again.settleWithin = settleLate
		at := again.Applied()
		if !marks[at] || at.Compare(least) < 0 {
			t.Fatalf("image %d holds %v, durable was %v", i, at, least)
		}
		got := contents(t, again.View(0))
		if at != (replication.Mark{}) {
			want := fmt.Sprintf("%d@0", at.Position-1)
			if got["first"] != want || got["second"] != want || len(got) != int(at.Position)+2 {
				t.Fatalf("image %d at %v: first %s, second %s, %d keys", i, at, got["first"], got["second"], len(got))
			}
		}
		if err := again.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if m.Durable() == (replication.Mark{}) {
		t.Error("60 MiB were applied but nothing was flushed, or Durable did not notice")
	}
}

func TestCheckpointWhileApplying(t *testing.T) {
	rng := newRand(t, 0)
	fs := vfs.NewMem()
	m := openMachine(t, fs, "state")
	log := randomLog(t, rng, 3000)
	var states sync.Map // mark -> dump, filled afterwards
	var wg sync.WaitGroup
	wg.Go(func() {
		for _, r := range log {
			if err := m.Apply([]replication.Record{r}); err != nil {
				t.Error(err)
				return
			}
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	wg.Go(func() { // so that flushes fall between Checkpoint's own flush and its copy
		for ctx.Err() == nil {
			if _, err := m.Flush(ctx); err != nil && ctx.Err() == nil {
				t.Error(err)
				return
			}
		}
	})
	marks := map[string]replication.Mark{}
	for i := range 8 {
		dir := fmt.Sprintf("copy%d", i)
		least := m.Applied()
		mark, err := m.Checkpoint(dir)
		if err != nil {
			t.Fatal(err)
		}
		if mark.Compare(least) < 0 {
			t.Errorf("checkpoint holds %v, applied was %v", mark, least)
		}
		marks[dir] = mark
	}
	cancel()
	wg.Wait()
	reference := openMachine(t, vfs.NewMem(), "state")
	states.Store(replication.Mark{}, dump(t, reference))
	for _, r := range log {
		if err := reference.Apply([]replication.Record{r}); err != nil {
			t.Fatal(err)
		}
		for _, mark := range marks {
			if mark == r.Mark() {
				states.Store(mark, dump(t, reference))
			}
		}
	}
	for dir, mark := range marks {
		c := openMachine(t, fs, dir)
		want, _ := states.Load(mark)
		if c.Applied() != mark || dump(t, c) != want {
			t.Errorf("%s is not the state at %v", dir, mark)
		}
	}
	if _, err := m.Checkpoint("copy0"); err == nil {
		t.Error("checkpoint into a directory that exists passed")
	}
}

// TestRealDisk runs on the real file system, where checkpoints are hard links.
func TestRealDisk(t *testing.T) {
	dir := t.TempDir()
	m := openMachine(t, vfs.Default, dir+"/state")
	log := randomLog(t, newRand(t, 0), 300)
	if err := m.Apply(log[:200]); err != nil {
		t.Fatal(err)
	}
	mark, err := m.Checkpoint(dir + "/copy")
	if err != nil || mark != log[199].Mark() || m.Durable() != mark {
		t.Fatalf("checkpoint holds %v (%v), durable is %v", mark, err, m.Durable())
	}
	want := dump(t, m)
	if err := errors.Join(m.Apply(log[200:]), m.Close()); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"/state", "/copy"} { // check both: Close does not flush
		if mark, err := ReadMark(vfs.Default, dir+name); err != nil || mark != log[199].Mark() {
			t.Errorf("%s has mark %v (%v)", name, mark, err)
		}
		again := openMachine(t, vfs.Default, dir+name)
		if dump(t, again) != want {
			t.Errorf("%s holds other bytes", name)
		}
		if err := again.Apply(log[200:]); err != nil {
			t.Error(err)
		}
	}
}

// TestFlushHidesNothing: while batches are committed and memtables flushed concurrently, every read finds a version of a
// key that always exists, and the applied mark never goes back. See commit for how that could fail.
func TestFlushHidesNothing(t *testing.T) {
	m := openMachine(t, vfs.NewMem(), "state")
	applyEntries(t, m, entryOf(putOf("k", "v", 0)))
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	wg.Go(func() {
		for ctx.Err() == nil {
			if _, err := m.Flush(ctx); err != nil && ctx.Err() == nil {
				t.Error(err)
				return
			}
		}
	})
	for range 2 {
		wg.Go(func() {
			last := replication.Mark{}
			for ctx.Err() == nil {
				a, err := readApplied(m.db, nil)
				found, getErr := m.View(0).Exists([]byte("k"))
				if err = errors.Join(err, getErr); err != nil || !found || a.mark.Compare(last) < 0 {
					t.Errorf("found %t, applied mark %v after %v (%v)", found, a.mark, last, err)
					return
				}
				last = a.mark
			}
		})
	}
	large := strings.Repeat("L", 2<<20)
	for i := range 1500 {
		value := "v"
		if i%50 == 0 {
			value = large
		}
		applyEntries(t, m, entryOf(putOf("k", value, 0)))
	}
	cancel()
}
