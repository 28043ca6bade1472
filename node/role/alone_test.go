package role

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/go-logr/logr/funcr"

	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/volume"
	"github.com/replicatedstore/replicatedstore/replication/wal"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// retainedOnce waits until r has started and finished a round of retention.
func retainedOnce(t *testing.T, r *Runner) {
	t.Helper()
	do := func(f func()) {
		t.Helper()
		if err := r.works.Do(t.Context(), f); err != nil {
			t.Fatal(err)
		}
	}
	do(func() { r.retention.prunedAt, r.retention.flushedAt = time.Time{}, time.Time{} })
	until(t, "a round of retention has ended", func() (done bool) {
		do(func() { done = !r.retention.prunedAt.IsZero() && !r.retention.pruning && !r.retention.flushing })
		return done
	})
}

// An asynchronous leader whose volume is full is deposed. What it alone has acknowledged stays in its log until it is
// told to cut it, so that all of it is in quarantine afterwards.
func TestADeposedLeaderKeepsWhatItAloneHas(t *testing.T) {
	fs := &sizedFS{FS: vfs.NewMem()}
	fs.free.Store(500 << 20)
	c := newCluster(t)
	c.start("a", func(o *Options) { o.FS, o.LogRetain = fs, 64<<20 })
	c.start("b")
	c.lead("a", "b")
	c.fill("both", 4)
	c.agrees("b")
	common := c.lastOf("a")
	c.members["b"].end()
	c.fill("alone", 32)
	last := c.lastOf("a")
	c.depose()
	fs.free.Store(60 << 20)
	a := c.members["a"].Runner
	until(t, "the volume counts as full", func() bool { return c.status("a").Disk.Level == wire.DiskFull })
	retainedOnce(t, a) // flushes
	retainedOnce(t, a) // prunes what is flushed
	fs.free.Store(500 << 20)
	c.start("b")
	c.lead("b", "a")
	c.agrees("a")
	if s := c.status("a"); s.Quarantined != uint64(last-common) {
		t.Errorf("%d of %d acknowledged writes are in no file", uint64(last-common)-s.Quarantined, last-common)
	}
}

// A member that does not lead prunes its log only once a leader is known to hold the same, or the log has no room any
// more.
func TestWhatNoLeaderIsKnownToHaveIsNotPruned(t *testing.T) {
	r, _ := startTight(t)
	if err := r.works.Do(t.Context(), func() {
		l, now := r.Contents().Log, r.opt.Now()
		r.space.Level = volume.Full
		prunes := func(what string, want replication.Position) {
			t.Helper()
			if got := r.pruneBound(l, now); got != want {
				t.Errorf("%s: the log is pruned up to %d, want %d of %d", what, got, want, l.Last().Position)
			}
		}
		reply := func(h replication.HelloReply) {
			t.Helper()
			if _, err := r.core.OnHelloReply(h); err != nil {
				t.Error(err)
			}
		}
		prunes("it leads", l.PruneBound(1))
		if _, err := r.core.Fence(2, now); err != nil {
			t.Error(err)
		}
		r.followLeadership()
		prunes("it is fenced", 0)
		r.space.noRoom = true
		prunes("its log has no room", l.PruneBound(1))
		r.space.noRoom = false
		if err := r.core.Follow(2, "other", ""); err != nil {
			t.Error(err)
		}
		prunes("it follows", 0)
		reply(replication.HelloReply{Verdict: replication.VerdictRefuse})
		prunes("it is refused", 0)
		reply(replication.HelloReply{Verdict: replication.VerdictSeed})
		prunes("the leader's log begins later", l.PruneBound(1))
		if err := r.core.Follow(3, "another", ""); err != nil {
			t.Error(err)
		}
		prunes("it follows another", 0)
		reply(replication.HelloReply{Verdict: replication.VerdictStream})
		prunes("it has a stream", l.PruneBound(1))
		r.core.Hello()
		prunes("it asks for another stream", l.PruneBound(1))
		if err := r.core.Follow(4, "other", ""); err != nil {
			t.Error(err)
		}
		reply(replication.HelloReply{Verdict: replication.VerdictCut, Epoch: 1, End: 1})
		reply(replication.HelloReply{Verdict: replication.VerdictSeed})
		prunes("it needs a snapshot in place of what it has", 0)
		r.space.Level = volume.Ample
	}); err != nil {
		t.Fatal(err)
	}
}

// If a log does not reach back to where it diverges from the leader's, the member's log and the quarantine file report
// how many writes are in the state only and are lost with it.
func TestWhatIsInNoLogIsTold(t *testing.T) {
	var told atomic.Bool
	c := newCluster(t)
	c.start("a", func(o *Options) { o.FS = vfs.NewMem() })
	c.start("b")
	c.lead("a", "b")
	c.fill("both", 4)
	c.agrees("b")
	common := c.lastOf("a")
	c.members["b"].end()
	c.fill("alone", 48) // of 64 KiB; 1 MiB of log is kept
	c.pruned("a", common+1)
	c.members["a"].end()
	c.start("b")
	c.lead("b")
	a := c.start("a", func(o *Options) {
		o.Log = funcr.New(func(_, args string) {
			if strings.Contains(args, "are in no log") {
				told.Store(true)
			}
		}, funcr.Options{})
	})
	c.follow("a")
	c.agrees("a")
	files, err := wal.ListQuarantine(a.opt.FS, a.meta.QuarantineDir())
	if err != nil || len(files) != 1 || !strings.Contains(files[0].Reason, "are in no log") || files[0].Base.Position <= common {
		t.Errorf("%+v, %v", files, err)
	}
	if !told.Load() {
		t.Error("nothing is told of them")
	}
}
