package role

import (
	"context"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/wal"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// fullFS is a file system in memory that can be full: then no file space can be preallocated.
func fullFS(full *atomic.Bool) vfs.FS {
	return errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if full.Load() && op.Kind == errorfs.OpFilePreallocate {
			return syscall.ENOSPC
		}
		return nil
	}))
}

// A leader whose log finds no room does not end. What it has taken waits; it keeps leading, reports the problem, and
// continues in order once there is room.
func TestALeaderWhoseLogFindsNoRoomWaits(t *testing.T) {
	var full atomic.Bool
	o := options()
	o.FS, o.Segments = fullFS(&full), wal.Options{SegmentBytes: 64 << 10}
	r := start(t, o)
	lead(t, r, 1, replication.Rule{})
	until(t, "the leader opens", r.Open)
	full.Store(true)
	last, err := put(t, r, "a")
	for err == nil && !stalled(t, r) {
		last, err = put(t, r, "a")
	}
	if err != nil {
		t.Fatal(err)
	}
	s, err := r.Status(t.Context())
	if err != nil || !s.Writable || s.Disk.Level != wire.DiskFull || r.Room().Add != 0 {
		t.Fatalf("a leader without room: %+v, %v", s, err)
	}
	select {
	case err := <-r.Failed():
		t.Fatalf("it ends: %v", err)
	default:
	}
	if f, err := r.Fence(t.Context(), wire.FenceRequest{Epoch: 1}); err != nil || f.Promised != 1 {
		t.Fatalf("%+v, %v", f, err)
	}
	full.Store(false)
	if err := r.works.Do(context.Background(), func() { r.space.noRoom = false }); err != nil { // the member cannot measure this volume
		t.Fatal(err)
	}
	if err := r.Generation().Seq.Wait(t.Context(), last); err != nil {
		t.Fatalf("what waited for room: %v", err)
	}
}

func stalled(t *testing.T, r *Runner) (yes bool) {
	t.Helper()
	if err := r.works.Do(t.Context(), func() { yes = r.space.noRoom }); err != nil {
		t.Fatal(err)
	}
	return yes
}

// sizedFS is a file system in memory on a volume of 1 GiB.
type sizedFS struct {
	vfs.FS
	free atomic.Uint64
}

func (f *sizedFS) GetDiskUsage(string) (vfs.DiskUsage, error) {
	free := f.free.Load()
	return vfs.DiskUsage{AvailBytes: free, TotalBytes: 1 << 30, UsedBytes: 1<<30 - free}, nil
}

// A record that finds no room is retried when more has become free, or after a while, and not while only as much is free
// as before.
func TestLogThatHasNoRoomIsNotTriedWithoutEnd(t *testing.T) {
	fs := &sizedFS{FS: vfs.NewMem()}
	fs.free.Store(200 << 20)
	o := options()
	o.FS = fs
	r := start(t, o)
	now := time.Now()
	look := func(after time.Duration, want bool) {
		t.Helper()
		if err := r.works.Do(t.Context(), func() {
			r.space.triedAt = now
			r.tendVolume(now.Add(after))
			if r.space.noRoom != want {
				t.Errorf("after %v: without room %v, want %v", after, r.space.noRoom, want)
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
	fails := func() {
		t.Helper()
		if err := r.works.Do(t.Context(), func() { r.noRoomFor(replication.ErrNoSpace) }); err != nil {
			t.Fatal(err)
		}
	}
	fails()
	look(100*time.Millisecond, true)
	fs.free.Store(202 << 20)
	look(200*time.Millisecond, false)
	fails()
	look(time.Second, true)
	look(tryLogEvery, false)
}

// Files that the log keeps for reuse go when there is little room, or none for a snapshot; all but the next segment's.
func TestFilesToWriteOverGoWhenThereIsLittleRoom(t *testing.T) {
	fs := &sizedFS{FS: vfs.NewMem()}
	fs.free.Store(900 << 20)
	o := options()
	o.FS, o.RetainEvery, o.LogRetain, o.Segments = fs, 10*time.Millisecond, 1, wal.Options{SegmentBytes: 64 << 10}
	r := start(t, o)
	lead(t, r, 1, replication.Rule{})
	until(t, "the leader opens", r.Open)
	kept := func() (n int) {
		t.Helper()
		names, err := fs.List(r.meta.LogDir(r.meta.State().Generation))
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
	fill := func() {
		t.Helper()
		until(t, "files are kept to be written over", func() bool {
			for range 300 {
				if _, err := put(t, r, "a"); err != nil {
					t.Fatal(err)
				}
			}
			return kept() > 1
		})
	}
	fill()
	fs.free.Store(140 << 20)
	until(t, "they go on a volume that is nearly full", func() bool { return kept() <= 1 })
	fs.free.Store(900 << 20)
	fill()
	set := func(p problem) {
		t.Helper()
		if err := r.works.Do(t.Context(), func() { r.problem = p }); err != nil {
			t.Fatal(err)
		}
	}
	set(problem{reason: wire.ProblemNoRoom})
	until(t, "they go where a snapshot has no room", func() bool { return kept() <= 1 })
	set(problem{})
	fill()
}
