package role

import (
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/go-logr/logr/funcr"

	"github.com/replicatedstore/replicatedstore/replication/wal"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// A member whose volume has no room for the snapshot it needs does not ask for it twice a second, which would make the
// source create or keep a checkpoint for nothing. It asks as soon as there is room.
func TestASnapshotForWhichThereIsNoRoomIsNotAskedForWithoutEnd(t *testing.T) {
	c := ledWith(t, func(*Options) {})
	volume := &sizedFS{FS: vfs.NewMem()}
	volume.free.Store(50 << 20) // 64 MiB must be left besides a snapshot
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

// A member that has discarded its state for a snapshot, and still has too little room, has nothing more to discard. It
// waits like any other that has no room.
func TestAStateIsGivenUpOnce(t *testing.T) {
	c := newCluster(t)
	volume := &sizedFS{FS: vfs.NewMem()}
	volume.free.Store(500 << 20)
	c.start("a", func(o *Options) { o.FS, o.Segments = volume, wal.Options{} })
	c.start("b")
	c.lead("a", "b")
	c.fill("base", 16)
	c.agrees("b")
	c.members["b"].end()
	write(t, c.members["a"].Runner, "alone")
	c.depose()
	volume.free.Store(45 << 20)
	c.start("b")
	c.lead("b", "a")
	needs, need := regexp.MustCompile(`it needs (\d+) bytes`), 0
	until(t, "a says what it needs", func() bool {
		m := needs.FindStringSubmatch(c.status("a").Problem)
		if m != nil {
			need, _ = strconv.Atoi(m[1])
		}
		return m != nil
	})
	volume.free.Store(uint64(need) - 512<<10) // less than what even an empty state takes
	a, waits, generation := c.members["a"], false, uint64(0)
	do := func(f func()) {
		t.Helper()
		if err := a.works.Do(t.Context(), f); err != nil {
			t.Fatal(err)
		}
	}
	do(func() { a.Member.lack = lack{} }) // as if its time had passed
	until(t, "a has given up its state, and waits", func() bool {
		do(func() { waits, generation = a.Member.lack.need > 0, a.meta.State().Generation })
		return waits || generation > 2
	})
	if s := c.status("a"); generation != 2 || s.ProblemReason != wire.ProblemNoRoom {
		t.Errorf("generation %d, %+v", generation, s)
	}
}
