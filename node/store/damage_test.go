package store

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/replicatedstore/replicatedstore/replication"
)

// image is the content of a state directory, by file name.
type image map[string][]byte

func imageOf(t *testing.T, fs vfs.FS, dir string) image {
	t.Helper()
	names, err := fs.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	out := image{}
	for _, n := range names {
		f, err := fs.Open(fs.PathJoin(dir, n))
		if err != nil {
			t.Fatal(err)
		}
		if out[n], err = io.ReadAll(f); err != nil {
			t.Fatal(err)
		}
		_ = f.Close()
	}
	return out
}

// restore returns a file system that holds the image as directory state.
func (i image) restore(t *testing.T) *vfs.MemFS {
	t.Helper()
	fs := vfs.NewMem()
	if err := fs.MkdirAll("state", 0o755); err != nil {
		t.Fatal(err)
	}
	for n, data := range i {
		f, err := fs.Create(fs.PathJoin("state", n), "test")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write(bytes.Clone(data)); err != nil {
			t.Fatal(err)
		}
		_ = f.Close()
	}
	return fs
}

// blockLog returns a log whose state fills several blocks of a table.
func blockLog(t *testing.T, rng *rand.Rand, n int) (log []replication.Record) {
	t.Helper()
	end := replication.Mark{}
	for i := range n {
		value := make([]byte, 1000+rng.IntN(1000))
		for j := range value {
			value[j] = byte(rng.Uint32())
		}
		r := record(t, end, 1, int64(i), entryOf(putOf(fmt.Sprint("key", rng.IntN(40)), string(value), 0)), entryOf(deleteOf(fmt.Sprint("key", rng.IntN(40)))))
		log, end = append(log, r), r.Mark()
	}
	return log
}

// TestFlippedBits flips bits all over the files of a state. Either opening or reading the state fails, with a message
// that names the place and what to do; or the state is, as after any crash, a prefix of the log, from which replay leads
// to the end. Wrong bytes are never returned.
func TestFlippedBits(t *testing.T) {
	rng := newRand(t, 0)
	log := blockLog(t, rng, 80)
	marks := map[replication.Mark]int{{}: 0}
	reference, states := openMachine(t, vfs.NewMem(), "state"), []string{""}
	master := vfs.NewMem()
	m := openMachine(t, master, "state")
	var images []image
	for i, r := range log {
		if err := errors.Join(m.Apply([]replication.Record{r}), reference.Apply([]replication.Record{r})); err != nil {
			t.Fatal(err)
		}
		marks[r.Mark()] = i + 1
		states = append(states, dump(t, reference))
		if i%20 == 19 {
			if _, err := m.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if i == 19 || i == len(log)-1 { // one table, and what compactions make of several
			if err := m.Close(); err != nil {
				t.Fatal(err)
			}
			images = append(images, imageOf(t, master, "state"))
			m = openMachine(t, master, "state")
		}
	}
	found := map[string]int{}
	for _, whole := range images {
		for name, data := range whole {
			for range min(len(data), 60) {
				bad := maps.Clone(whole)
				bit := rng.IntN(len(data) * 8)
				bad[name] = bytes.Clone(data)
				bad[name][bit/8] ^= 1 << (bit % 8)
				how := openFlipped(t, rng, bad.restore(t), log, marks, states)
				kind := name[strings.LastIndexByte(name, '.')+1:] // sst, log
				if before, _, ok := strings.Cut(name, "-"); ok {
					kind = before // MANIFEST, OPTIONS
				}
				found[kind+" "+how]++
			}
		}
	}
	t.Log(found)
	for _, want := range []string{"MANIFEST refused at open", "sst refused when read", "OPTIONS exact"} {
		if found[want] == 0 {
			t.Errorf("never %s", want)
		}
	}
}

// openFlipped reports what became of a state with a flipped bit.
func openFlipped(t *testing.T, rng *rand.Rand, fs vfs.FS, log []replication.Record, marks map[replication.Mark]int, states []string) string {
	t.Helper()
	// A compaction may hit the damage too, which ends a node.
	m, err := Open(fs, "state", Options{Memory: minMemory})
	if err != nil {
		checkRefusal(t, err)
		return "refused at open"
	}
	defer m.Close()
	from, ok := marks[m.Applied()]
	if !ok {
		t.Fatalf("opened at %v, which is no record end", m.Applied())
	}
	if got, err := tryDump(m); err != nil {
		checkRefusal(t, explain(err))
		return "refused when read"
	} else if got != states[from] {
		t.Fatalf("at %v it holds other bytes", m.Applied())
	}
	applyInSteps(t, rng, m, log[from:])
	if got, err := tryDump(m); err != nil || got != states[len(log)] {
		t.Fatalf("replayed from record %d of %d it holds other bytes, %v", from, len(log), err)
	}
	if from < len(log) {
		return "replayed"
	}
	return "exact"
}

func checkRefusal(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "state") || !strings.Contains(err.Error(), "reseed this member") {
		t.Fatalf("the refusal does not name the place and what to do: %v", err)
	}
}

// A bad record of the MANIFEST with good ones after it is damage, and is reported before Pebble removes the tables of the
// later ones. A bad last record is what a power loss leaves.
func TestDamagedManifest(t *testing.T) {
	rng := newRand(t, 0)
	log := blockLog(t, rng, 10)
	fs := vfs.NewMem()
	m := openMachine(t, fs, "state")
	if err := m.Apply(log); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	whole := imageOf(t, fs, "state")
	name := ""
	for n := range whole {
		if strings.HasPrefix(n, "MANIFEST") {
			name = n
		}
	}
	var records []int // where each begins
	for at, n := 0, 0; at < len(whole[name]); at += n {
		if n = manifestChunk(whole[name], at, true); n == 0 {
			t.Fatalf("no record at %d of %d", at, len(whole[name]))
		}
		records = append(records, at)
	}
	if len(records) < 2 {
		t.Fatalf("%d records", len(records))
	}
	last := records[len(records)-1]
	for at := range whole[name] {
		bad := maps.Clone(whole)
		bad[name] = bytes.Clone(whole[name])
		bad[name][at] ^= 1 << rng.IntN(8)
		fs := bad.restore(t)
		if _, _, err := checkManifest(fs, "state"); (err != nil) != (at < last) {
			t.Fatalf("byte %d, the last record is at %d: %v", at, last, err)
		} else if err != nil {
			if checkRefusal(t, err); !strings.Contains(err.Error(), name+", offset") {
				t.Fatal(err)
			}
			if _, err := Open(fs, "state", Options{}); !errors.Is(err, ErrDamaged) {
				t.Fatalf("byte %d: %v", at, err)
			}
			if after := imageOf(t, fs, "state"); len(after) != len(whole) {
				t.Fatalf("byte %d: refused, and %d of %d files are left", at, len(after), len(whole))
			}
		}
	}
	for cut := last; cut < len(whole[name]); cut++ {
		torn := maps.Clone(whole)
		torn[name] = whole[name][:cut]
		if _, _, err := checkManifest(torn.restore(t), "state"); err != nil {
			t.Fatalf("cut off at %d: %v", cut, err)
		}
	}
}

// Power is lost while a state is created: the marker names a MANIFEST that does not exist, and there is nothing else. The
// state is created again. If there are tables, the MANIFEST was lost.
func TestStateWhoseMakingWasInterrupted(t *testing.T) {
	for name, tables := range map[string]bool{"nothing was written": false, "tables are there": true} {
		t.Run(name, func(t *testing.T) {
			fs := vfs.NewMem()
			m := openMachine(t, fs, "state")
			if err := m.Close(); err != nil {
				t.Fatal(err)
			}
			names, err := fs.List("state")
			if err != nil {
				t.Fatal(err)
			}
			for _, n := range names {
				if strings.HasPrefix(n, "MANIFEST") {
					if err := fs.Remove(fs.PathJoin("state", n)); err != nil {
						t.Fatal(err)
					}
				}
			}
			if tables {
				f, err := fs.Create("state/000004.sst", "test")
				if err != nil {
					t.Fatal(err)
				}
				if err := f.Close(); err != nil {
					t.Fatal(err)
				}
			}
			m, err = Open(fs, "state", Options{Memory: minMemory})
			if tables {
				if !errors.Is(err, ErrDamaged) {
					t.Fatalf("opened, %v", err)
				}
				return
			}
			if err != nil || m.Applied() != (replication.Mark{}) {
				t.Fatalf("%v", err)
			}
			if err := m.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}
