package role

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/meta"
	"github.com/replicatedstore/replicatedstore/replication/snapshot"
	"github.com/replicatedstore/replicatedstore/replication/volume"
)

// tightFS is a volume of 1 GiB. While it is tight, tables find no room unless the log has at most fewSegments files.
// While it is full, it reports being full under the same condition.
type tightFS struct {
	vfs.FS
	tight, full atomic.Bool
	refused     atomic.Int32 // tables
}

const fewSegments = 10

func (f *tightFS) segments() (n int) {
	names, _ := f.FS.List("d/wal-1")
	for _, name := range names {
		if strings.HasSuffix(name, ".log") || strings.HasPrefix(name, "free-") {
			n++
		}
	}
	return n
}

func (f *tightFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if f.tight.Load() && strings.HasSuffix(name, ".sst") && f.segments() > fewSegments {
		f.refused.Add(1)
		return nil, &os.PathError{Op: "open", Path: name, Err: syscall.ENOSPC}
	}
	return f.FS.Create(name, c)
}

func (f *tightFS) GetDiskUsage(string) (vfs.DiskUsage, error) {
	u := vfs.DiskUsage{TotalBytes: 1 << 30, AvailBytes: 1 << 29, UsedBytes: 1 << 29}
	if f.full.Load() && f.segments() > fewSegments {
		u.AvailBytes = 48 << 20
	}
	return u, nil
}

// startTight returns a leader whose log is longer than its volume has room for, with most of it on disk in its state, and
// a tight volume.
func startTight(t *testing.T) (*Runner, *tightFS) {
	t.Helper()
	fs := &tightFS{FS: vfs.NewMem()}
	o := options()
	o.FS, o.LogRetain, o.RetainEvery = fs, 64<<20, 10*time.Millisecond
	o.Segments.SegmentBytes = 8 << 10
	r := start(t, o)
	lead(t, r, 1, replication.Rule{})
	until(t, "the leader opens", r.Open)
	until(t, "the first flush is over", func() bool { return r.Generation().Machine.Durable() != replication.Mark{} && !retaining(t, r) })
	var keys []string
	for i := range 300 {
		keys = append(keys, fmt.Sprintf("%0500d", i))
	}
	write(t, r, keys...)
	if _, err := r.Generation().Machine.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	write(t, r, keys[:5]...)
	if n := fs.segments(); n <= 2*fewSegments {
		t.Fatalf("%d segments are too few", n)
	}
	fs.tight.Store(true)
	return r, fs
}

func retaining(t *testing.T, r *Runner) (yes bool) {
	t.Helper()
	if err := r.works.Do(t.Context(), func() { yes = r.retention.pruning || r.retention.flushing }); err != nil {
		t.Fatal(err)
	}
	return yes
}

// fills makes the volume full, and checks that the log releases what the waiting flush needs.
func fills(t *testing.T, r *Runner, fs *tightFS) {
	t.Helper()
	until(t, "a flush waits for room", func() bool { return fs.refused.Load() > 0 })
	fs.full.Store(true)
	until(t, "the log is pruned", func() bool { return fs.segments() <= fewSegments })
	until(t, "the state is flushed", func() bool {
		m := r.Generation().Machine
		return m.Durable() == m.Applied()
	})
}

// A flush that began while there was room, and now waits for some, does not prevent pruning: what the log releases is the
// room.
func TestPruningGoesOnWhileAFlushWaitsForRoom(t *testing.T) {
	r, fs := startTight(t)
	if err := r.works.Do(t.Context(), func() { r.retention.flushedAt = time.Time{} }); err != nil {
		t.Fatal(err)
	}
	fills(t, r, fs)
}

// Nor does a checkpoint being made, whose flush waits in the same way: it holds the log only from where the state machine
// is.
func TestPruningGoesOnWhileACheckpointWaitsForRoom(t *testing.T) {
	r, fs := startTight(t)
	here, there := net.Pipe()
	var ended sync.WaitGroup
	ended.Go(func() { _ = errors.Join(r.works.ServeSeed(t.Context(), here), here.Close()) })
	ended.Go(func() {
		fs := vfs.NewMem()
		kept, err := meta.Open(fs, "d", meta.Options{Store: "s", Member: "f", Init: func(string, string) error { return nil }})
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = snapshot.Receive(t.Context(), there, snapshot.ReceiveOptions{FS: fs, Meta: kept, Store: "s", From: "m", Now: time.Now})
	})
	fills(t, r, fs)
	ended.Wait()
}

// With little room, the log is kept for followers that can use it, but a full leader does not keep it for those that are
// gone for long: writes would be rejected until they come back, and they may never do so.
func TestWhomAFullLeaderKeepsItsLogFor(t *testing.T) {
	r, _ := startTight(t)
	if err := r.works.Do(t.Context(), func() {
		l, now := r.Contents().Log, r.opt.Now()
		full := l.PruneBound(1)
		r.space.Level = volume.NearlyFull
		tight := r.pruneBound(l, now)
		keeps := func(what string, level volume.Level, after time.Duration, want replication.Position) {
			t.Helper()
			r.space.Level = level
			if got := r.pruneBound(l, now.Add(after)); got != want {
				t.Errorf("%s: the log is pruned up to %d, want %d of %d", what, got, want, l.Last().Position)
			}
		}
		keeps("nobody follows", volume.Full, 0, full)
		hello := replication.Hello{Store: "s", Member: "f", Incarnation: "i", Epoch: 1}
		if reply := r.core.OnHello(hello, now); reply.Verdict != replication.VerdictStream {
			t.Fatalf("an empty follower: %+v", reply)
		}
		keeps("it follows", volume.Full, 2*goneFor, 0)
		keeps("it follows, nearly full", volume.NearlyFull, 2*goneFor, 0)
		r.core.OnStreamEnd(replication.Voter{Member: "f", Incarnation: "i"})
		keeps("it is gone", volume.Full, goneFor/2, 0)
		keeps("it is gone for long, nearly full", volume.NearlyFull, 2*goneFor, 0)
		keeps("it is gone for long", volume.Full, 2*goneFor, full)
		seeded := hello
		seeded.Seed = true
		r.core.OnHello(seeded, now)
		keeps("it is sent a snapshot", volume.Full, 0, full)
		keeps("it is sent a snapshot, nearly full", volume.NearlyFull, 0, tight)
		if err := l.Prune(l.PruneBound(64 << 10)); err != nil || l.First() == 1 {
			t.Fatalf("the log begins at %d: %v", l.First(), err)
		}
		hello.NoSeed = true
		r.core.OnHello(hello, now)
		keeps("it needs a snapshot", volume.Full, 0, l.PruneBound(1))
		r.space.Level = volume.Ample
	}); err != nil {
		t.Fatal(err)
	}
}
