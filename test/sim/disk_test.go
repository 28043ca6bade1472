package sim

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/durable"
	"github.com/replicatedstore/replicatedstore/replication/meta"
	"github.com/replicatedstore/replicatedstore/replication/wal"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func create(t *testing.T, fs vfs.FS, name string) vfs.File {
	t.Helper()
	f, err := fs.Create(name, durable.Category)
	must(t, err)
	return f
}

func put(t *testing.T, f vfs.File, off int64, b string) {
	t.Helper()
	_, err := f.WriteAt([]byte(b), off)
	must(t, err)
}

func content(fs vfs.FS, name string) string {
	b, err := durable.ReadFile(fs, name, 1<<20)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func TestWhatIsSyncedSurvivesAndTheRestInPart(t *testing.T) {
	synced, rest := strings.Repeat("s", 3000), strings.Repeat("u", 3000)
	seen := map[string]int{}
	for seed := range uint64(300) {
		d := NewLoop(seed).NewDisk("d")
		fs := d.FS()
		must(t, durable.MkdirAll(fs, "dir"))
		f := create(t, fs, "dir/f")
		put(t, f, 0, synced)
		must(t, f.Sync())
		must(t, durable.SyncDir(fs, "dir"))
		put(t, f, 1000, "x") // beyond what is synced
		put(t, f, 3000, rest)
		must(t, create(t, fs, "dir/new").Sync())
		must(t, fs.Rename("dir/f", "dir/g"))
		d.Kill()
		if got := content(d.FS(), "dir/g"); got != synced[:1000]+"x"+synced[1001:]+rest {
			t.Fatal("the death of a process loses what is cached")
		}
		d.Crash()
		fs = d.FS()
		names, err := fs.List("dir")
		must(t, err)
		file := "dir/f"
		if !slices.Contains(names, "f") {
			file = "dir/g"
		}
		got := content(fs, file)
		if len(got) < 3000 || strings.Trim(got[:3000], "sx") != "" || strings.Trim(got[3000:], "u\x00") != "" || strings.Count(got, "x") > 1 {
			t.Fatalf("seed %d: %q of %d bytes", seed, file, len(got))
		}
		seen[strings.Join(names, " ")]++
		seen[fmt.Sprintf("overwritten %t", strings.Contains(got, "x"))]++
		seen[fmt.Sprintf("hole %t", strings.Contains(got, "\x00u"))]++
		seen[fmt.Sprintf("whole %t", len(got) == 6000)]++
		before := d.String()
		if d.Crash(); d.String() != before {
			t.Fatalf("what survived one crash does not survive the next:\n%s%s", before, d)
		}
	}
	for _, want := range []string{"f", "f new", "g new", "f g", "overwritten true", "overwritten false", "hole true", "hole false", "whole true", "whole false"} {
		if seen[want] == 0 {
			t.Errorf("never seen: %s, of %v", want, seen)
		}
	}
	if seen["new"]+seen[""] > 0 {
		t.Errorf("a renamed file is lost: %v", seen)
	}
}

func TestHandlesOfADeadProcessAreDead(t *testing.T) {
	for name, end := range map[string]func(d *Disk){"killed": (*Disk).Kill, "power": (*Disk).Crash, "wiped": (*Disk).Wipe} {
		t.Run(name, func(t *testing.T) {
			d := NewLoop(1).NewDisk("d")
			fs := d.FS()
			f := create(t, fs, "f")
			lock, err := fs.Lock("LOCK")
			must(t, err)
			if _, err := fs.Lock("LOCK"); !errors.Is(err, syscall.EAGAIN) {
				t.Fatalf("locked twice: %v", err)
			}
			end(d)
			if _, err := f.Write([]byte("x")); !errors.Is(err, errGone) {
				t.Errorf("write: %v", err)
			}
			if _, err := fs.Create("g", durable.Category); !errors.Is(err, errGone) {
				t.Errorf("create: %v", err)
			}
			if err := f.Sync(); !errors.Is(err, errGone) {
				t.Errorf("sync: %v", err)
			}
			_, err = d.FS().Lock("LOCK")
			must(t, err)
			must(t, lock.Close()) // closing the dead process's handle frees nothing
			if _, err := d.FS().Lock("LOCK"); err == nil {
				t.Error("a dead process frees the lock of a living one")
			}
		})
	}
}

func TestAFullVolume(t *testing.T) {
	d := NewLoop(1).NewDisk("d")
	fs := d.FS()
	big, f := create(t, fs, "big"), create(t, fs, "f")
	must(t, big.Preallocate(0, 10_000))
	put(t, f, 0, "12345678")
	d.Fill(4)
	put(t, big, 0, strings.Repeat("b", 10_000)) // its space is already allocated
	put(t, f, 0, "abcdefgh")
	n, err := f.WriteAt([]byte("123456"), 8)
	if n != 4 || !durable.IsNoSpace(err) {
		t.Fatalf("wrote %d, %v", n, err)
	}
	if _, err := fs.Create("more", durable.Category); !durable.IsNoSpace(err) {
		t.Fatalf("created: %v", err)
	}
	if u, err := fs.GetDiskUsage("/"); err != nil || u.AvailBytes != 0 || u.UsedBytes != 10_012 {
		t.Fatalf("usage %+v, %v", u, err)
	}
	must(t, fs.Remove("big"))
	put(t, f, 12, "56")
	d.Free()
	put(t, f, 14, strings.Repeat("z", 20_000))
	if d.Used() != 20_014 || d.Full() {
		t.Fatalf("used %d", d.Used())
	}
}

func TestAFailedSyncDropsTheData(t *testing.T) {
	forgotten := 0
	for seed := range uint64(50) {
		d := NewLoop(seed).NewDisk("d")
		fs := d.FS()
		f := create(t, fs, "f")
		put(t, f, 0, "old")
		must(t, f.Sync())
		must(t, durable.SyncDir(fs, "/"))
		d.FailSync(2)
		must(t, f.Sync())
		put(t, f, 0, "newer")
		if err := f.Sync(); !errors.Is(err, syscall.EIO) {
			t.Fatalf("sync: %v", err)
		}
		if got := content(fs, "f"); got != "newer" {
			t.Fatalf("cached: %q", got)
		}
		must(t, f.SyncData()) // a lie, as on Linux
		put(t, f, 1000, "far")
		must(t, f.Sync())
		d.Kill()
		if strings.HasPrefix(content(d.FS(), "f"), "old\x00\x00") {
			forgotten++
		}
		d.Crash()
		if got := content(d.FS(), "f"); got[:5] != "old\x00\x00" || got[1000:] != "far" {
			t.Fatalf("seed %d: on disk: %q", seed, got)
		}
	}
	if forgotten == 0 || forgotten == 50 {
		t.Errorf("the cache forgot %d times of 50", forgotten)
	}
}

// TestTheLogAndMetaOnADisk runs the real log and META on a Disk through crashes, and compares two runs of each seed.
func TestTheLogAndMetaOnADisk(t *testing.T) {
	for seed := range uint64(40) {
		if a, b := logLife(t, seed), logLife(t, seed); a != b {
			t.Fatalf("seed %d is two courses:\n%s\n%s", seed, a, b)
		}
	}
}

func logLife(t *testing.T, seed uint64) string {
	t.Helper()
	l := NewLoop(seed)
	d := l.NewDisk("d")
	var promised replication.Epoch
	var durableEnd replication.Position
	for life := range 6 {
		fs := d.FS()
		m, err := meta.Open(fs, "data", meta.Options{
			Store: "s", Member: "m", NewIncarnation: func() string { return "one" },
			Init: func(log, _ string) error {
				lg, _, err := wal.Open(fs, log, walOptions(true))
				if err != nil {
					return err
				}
				return lg.Close()
			},
		})
		if err != nil {
			t.Fatalf("seed %d, life %d: %v\n%s", seed, life, err, d)
		}
		if got := m.State().Promises.Promised; got < promised {
			t.Fatalf("seed %d: promised %d, and came back with %d", seed, promised, got)
		}
		lg, _, err := wal.Open(fs, m.LogDir(m.State().Generation), walOptions(false))
		if err != nil {
			t.Fatalf("seed %d, life %d: %v\n%s", seed, life, err, d)
		}
		if lg.Last().Position < durableEnd {
			t.Fatalf("seed %d: durable to %d, and came back to %d", seed, durableEnd, lg.Last().Position)
		}
		for range l.Rand.IntN(60) {
			switch n := l.Rand.IntN(10); {
			case n < 6:
				must(t, lg.Append(nextRecord(t, lg.Last(), bytes.Repeat([]byte{byte(n)}, l.Rand.IntN(4000)))))
			case n < 9:
				_, err := lg.Sync()
				must(t, err)
			default:
				promises := m.State().Promises
				promises.Promised++
				must(t, m.Save(promises))
				promised = promises.Promised
			}
		}
		durableEnd = lg.Durable().Position
		if l.Chance(0.2) {
			d.Kill()
		} else {
			d.Crash()
		}
	}
	return d.String()
}

func walOptions(create bool) wal.Options {
	return wal.Options{Create: create, SegmentBytes: 64 << 10, Spawn: func(f func()) { f() }}
}

func nextRecord(t *testing.T, after replication.Mark, entry []byte) replication.Record {
	t.Helper()
	seal := replication.Seal{Epoch: 1, First: after.Position + 1, Prev: after.Chain}
	if after.Position == 0 {
		r, err := replication.EncodeBarrier(seal)
		must(t, err)
		return r
	}
	var b replication.Builder
	must(t, b.Add(entry))
	r, err := b.Seal(seal)
	must(t, err)
	return r
}

func TestPathsAreLikePosix(t *testing.T) {
	fs := NewLoop(1).NewDisk("d").FS()
	must(t, fs.MkdirAll("a/b/c", 0o755))
	must(t, fs.MkdirAll("/a/b", 0o755))
	must(t, create(t, fs, "a/b/c/f").Close())
	if err := fs.Remove("a/b"); !errors.Is(err, syscall.ENOTEMPTY) {
		t.Errorf("remove of a full directory: %v", err)
	}
	if _, err := fs.Open("a/x/f"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("open below nothing: %v", err)
	}
	must(t, fs.Link("a/b/c/f", "a/g"))
	if err := fs.Link("a/b/c/f", "a/g"); !errors.Is(err, os.ErrExist) {
		t.Errorf("link over a file: %v", err)
	}
	must(t, fs.RemoveAll("a/b"))
	must(t, fs.RemoveAll("a/b"))
	if names, err := fs.List("a"); err != nil || !slices.Equal(names, []string{"g"}) {
		t.Errorf("left: %v, %v", names, err)
	}
	f, err := fs.OpenReadWrite("a/g", durable.Category)
	must(t, err)
	must(t, f.Close())
	if f.Close() == nil || f.Sync() == nil {
		t.Error("a closed file works")
	}
}
