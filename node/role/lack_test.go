package role

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/go-logr/logr/funcr"

	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// A member whose volume has no room for the snapshot that it needs does not ask for it twice a second, which would have the source make or
// keep a checkpoint for nothing; it asks as soon as there is room.
func TestASnapshotForWhichThereIsNoRoomIsNotAskedForWithoutEnd(t *testing.T) {
	c := ledWith(t, func(*Options) {})
	volume := &sizedFS{FS: vfs.NewMem()}
	volume.free.Store(50 << 20) // beside a snapshot, 64 MiB are to be left
	var asked atomic.Int64
	c.start("f", func(o *Options) {
		o.FS = volume
		o.Log = funcr.New(func(_, args string) {
			if strings.Contains(args, "being seeded") {
				asked.Add(1)
			}
		}, funcr.Options{})
	})
	c.follow("f")
	short := func() bool { return c.status("f").ProblemReason == wire.ProblemNoRoom }
	until(t, "f says that it has no room", short)
	before := asked.Load()
	time.Sleep(4 * RedialMost)
	if n := asked.Load() - before; n > 0 {
		t.Fatalf("asked %d times more", n)
	}
	if s := c.status("f"); !short() || !strings.Contains(s.Problem, "enlarge the volume") {
		t.Fatalf("what it says meanwhile: %+v", s)
	}
	until(t, "the leader holds nothing for it", func() bool { return c.orders() == 0 })
	volume.free.Store(500 << 20)
	c.agrees("f")
	if s := c.status("f"); s.Problem != "" {
		t.Fatalf("the problem stays: %+v", s)
	}
}
