package role

import (
	"context"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/wal"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// fullFS is a file system in memory that can be full: then no file is set aside.
func fullFS(full *atomic.Bool) vfs.FS {
	return errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if full.Load() && op.Kind == errorfs.OpFilePreallocate {
			return syscall.ENOSPC
		}
		return nil
	}))
}

// A leader whose log finds no room does not end: what it has taken waits, it leads on, says so, and goes on in order once
// there is room.
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
	if err := r.works.Do(context.Background(), func() { r.space.noRoom = false }); err != nil { // it cannot see the room of this volume
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
