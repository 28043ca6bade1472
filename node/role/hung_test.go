package role

import (
	"context"
	"errors"
	"io"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"

	"github.com/replicatedstore/replicatedstore/node/store"
	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/meta"
	"github.com/replicatedstore/replicatedstore/replication/peer"
	"github.com/replicatedstore/replicatedstore/replication/snapshot"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// hangFS is a file system on which no fdatasync of the log returns while hang is set, and no write to it while hangWrites
// is.
type hangFS struct {
	vfs.FS
	hang, hangWrites atomic.Pointer[chan struct{}]
}

func (f *hangFS) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	file, err := f.FS.OpenReadWrite(name, c, o...)
	if err != nil || !strings.HasSuffix(name, ".log") {
		return file, err
	}
	return hangFile{file, f}, nil
}

type hangFile struct {
	vfs.File
	fs *hangFS
}

func (f hangFile) SyncData() error {
	if hang := f.fs.hang.Load(); hang != nil {
		<-*hang
	}
	return f.File.SyncData()
}

func (f hangFile) WriteAt(p []byte, off int64) (int, error) {
	if hang := f.fs.hangWrites.Load(); hang != nil {
		<-*hang
	}
	return f.File.WriteAt(p, off)
}

// A write to the log that does not return delays nobody's timely "outcome unknown", whichever goroutine was to make the
// write.
func TestWhoWritesDoesNotWaitForTheDisk(t *testing.T) {
	fs := &hangFS{FS: vfs.NewMem()}
	o := options()
	o.FS = fs
	r := start(t, o)
	lead(t, r, 1, replication.Rule{})
	until(t, "the leader opens", r.Open)
	hang := make(chan struct{})
	fs.hangWrites.Store(&hang)
	done := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		ticket, err := put(t, r, "k")
		if err == nil {
			err = r.Generation().Seq.Wait(ctx, ticket)
		}
		done <- err
	}()
	select {
	case err := <-done:
		if !errors.Is(err, store.ErrOutcomeUnknown) {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Error("it waits for the disk")
	}
	fs.hangWrites.Store(nil)
	close(hang)
	until(t, "the write is applied", func() bool {
		c := r.Contents()
		return c.State.Applied().Position == c.Log.Last().Position && c.Log.Last().Position > 1
	})
}

// A leader whose disk hangs, and that has no Lease to lose, must not keep its followers' trust. Its fsync does not
// return, so it sends no heartbeats, and it reports the problem. Once the disk works, everything continues.
func TestALeaderWhoseDiskHangsFallsSilent(t *testing.T) {
	c := newCluster(t)
	fs := &hangFS{FS: vfs.NewMem()}
	var ahead, told atomic.Int64
	c.start("a", func(o *Options) {
		o.Log = funcr.New(func(_, line string) {
			if strings.Contains(line, "the disk is slow") {
				told.Add(1)
			}
		}, funcr.Options{})
		o.FS = fs
		o.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	})
	c.start("b")
	c.lead("a", "b")
	until(t, "the follower hears its leader", c.members["b"].Following)
	told.Store(0) // a busy machine may be slow as well
	hang := make(chan struct{})
	fs.hang.Store(&hang)
	if _, err := put(t, c.members["a"].Runner, "k"); err != nil {
		t.Fatal(err)
	}
	until(t, "an fsync hangs", func() bool { return c.members["a"].syncBegan.Load() != 0 })
	ahead.Store(int64(time.Minute))
	until(t, "the follower hears nothing any more", func() bool { return !c.members["b"].Following() })
	s, err := c.members["a"].Status(t.Context())
	if err != nil || s.ProblemReason != wire.ProblemDiskStuck || !strings.Contains(s.Problem, "has not finished a write") {
		t.Errorf("status: %q %q, %v", s.ProblemReason, s.Problem, err)
	}
	fs.hang.Store(nil)
	close(hang)
	until(t, "the follower hears its leader again", c.members["b"].Following)
	until(t, "its leader has no problem any more", func() bool { return c.status("a").Problem == "" })
	lines := uint64(told.Load())
	n, seconds, buckets := c.members["a"].Syncs()
	if seconds < 60 || slices.Max(slices.Collect(maps.Values(buckets))) != n-1 {
		t.Errorf("%d fsyncs took %v s, the one that hung with them: %v", n, seconds, buckets)
	}
	if lines < 1 || lines > n-buckets[0.524288] { // seconds
		t.Errorf("%d lines tell that an fsync took long, of %d: %v", lines, n, buckets)
	}
}

// A stuck member with no write under way does not blame only its disk: it may be starved of processor time.
func TestAMemberThatGetsNoTimeDoesNotBlameItsDisk(t *testing.T) {
	var ahead atomic.Int64
	o := options()
	o.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	r := start(t, o)
	if err := r.works.Do(t.Context(), func() {
		ahead.Store(int64(20 * time.Second))
		if p := r.trouble(); p.reason != wire.ProblemDiskStuck || !strings.Contains(p.text, "CPU") {
			t.Errorf("%q %q", p.reason, p.text)
		}
		r.ProbeBegan()
		ahead.Store(int64(time.Minute))
		if p := r.trouble(); p.reason != wire.ProblemDiskStuck || strings.Contains(p.text, "CPU") {
			t.Errorf("with a write under way: %q %q", p.reason, p.text)
		}
	}); err != nil {
		t.Fatal(err)
	}
}

// A hung disk probe is reported too, on a member that has nothing to write.
func TestAnIdleMemberWhoseDiskHangsSaysSo(t *testing.T) {
	var ahead atomic.Int64
	o := options()
	o.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	r := start(t, o)
	r.ProbeBegan()
	ahead.Store(int64(20 * time.Second))
	until(t, "it comes round", func() bool { return r.Stuck() < time.Second })
	if s, err := r.Status(t.Context()); err != nil || s.ProblemReason != wire.ProblemDiskStuck {
		t.Fatalf("status: %q %q, %v", s.ProblemReason, s.Problem, err)
	}
	r.ProbeEnded()
	until(t, "it says nothing more", func() bool {
		s, err := r.Status(t.Context())
		return err == nil && s.Problem == ""
	})
}

// Heartbeats are held back, but records are not: they are replicated in parallel with the local write.
func TestAHungStreamSendsRecordsOnly(t *testing.T) {
	hung := true
	s := &peer.Stream{Hung: func() bool { return hung }}
	records := replication.Append{Records: make([]replication.Record, 1)}
	if s.Due(replication.Append{}) || !s.Due(records) {
		t.Fatal("hung")
	}
	if hung = false; !s.Due(replication.Append{}) {
		t.Fatal("not hung")
	}
}

// A third receiver does not wait forever for its turn behind two that make no progress: the disk may hang here, and
// another source may work. As long as they make progress, it does wait.
func TestATurnIsNotWaitedForWhenNobodyGetsOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &seedServer{turn: make(chan struct{}, seedsAtOnce), began: time.Now(), say: time.Millisecond, enough: 200 * time.Millisecond}
		for range seedsAtOnce {
			s.turn <- struct{}{}
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.awaitTurn(ctx, io.Discard) }()
		for range 50 {
			s.move()
			time.Sleep(10 * time.Millisecond)
			select {
			case err := <-done:
				t.Fatalf("gave up while others got on: %v", err)
			default:
			}
		}
		if err := <-done; !errors.Is(err, errNoTurn) {
			t.Fatal(err)
		}
		cancel()
	})
}

// Receivers that are told to wait while a checkpoint is made do not count as making progress: on a hung disk it is never
// done.
func TestATurnIsNotWaitedForWhereNoCheckpointIsMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hung := make(chan struct{})
		s, err := newSeedServer(snapshot.SourceOptions{
			FS: vfs.NewMem(), Dir: "checkpoints", Store: "s", Now: time.Now, SayFor: 24 * time.Hour,
			Pin:  func(replication.Position) func() { return func() {} },
			Hold: func() func() { return func() {} },
			Checkpoint: func(string) (replication.Mark, replication.EpochTable, error) {
				<-hung
				return replication.Mark{}, nil, errors.New("the disk is gone")
			},
		}, logr.Discard())
		if err != nil {
			t.Fatal(err)
		}
		fs := vfs.NewMem()
		kept, err := meta.Open(fs, "d", meta.Options{Store: "s", Member: "f", Init: func(string, string) error { return nil }})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		here, there := net.Pipe()
		var ended sync.WaitGroup
		ended.Go(func() { _ = s.serve(ctx, there) })
		ended.Go(func() {
			_, _ = snapshot.Receive(ctx, here, snapshot.ReceiveOptions{FS: fs, Meta: kept, Store: "s", Now: time.Now})
		})
		for range seedsAtOnce - 1 { // the others wait for the same checkpoint
			s.turn <- struct{}{}
		}
		time.Sleep(time.Second)
		began := time.Now()
		if err := s.awaitTurn(ctx, io.Discard); !errors.Is(err, errNoTurn) || time.Since(began) > 2*turnPatience {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		cancel()
		close(hung)
		_ = here.Close()
		ended.Wait()
		for range seedsAtOnce - 1 {
			<-s.turn
		}
		if err := errors.Join(s.close(), kept.Close()); err != nil {
			t.Error(err)
		}
	})
}

// If a leader's new rule names a voter that was never heard, that voter does not count as unheard from before the rule.
func TestUnheardBeginsWithTheRule(t *testing.T) {
	var ahead atomic.Int64
	o := options()
	o.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	r := start(t, o)
	lead(t, r, 1, replication.Rule{})
	until(t, "the leader opens", r.Open)
	ahead.Store(int64(time.Hour))
	until(t, "the leader comes round", func() bool { return time.Duration(r.beat.Load()) > time.Hour })
	ghost := replication.Rule{K: 1, Voters: []replication.Voter{{Member: "ghost", Incarnation: "never"}}}
	if err := r.Configure(t.Context(), wire.ConfigureRequest{Epoch: 1, Version: 2, Rules: []replication.Rule{ghost}}); err != nil {
		t.Fatal(err)
	}
	if d := r.Unheard(); d > time.Minute {
		t.Errorf("the voter was not heard for %v, of which it was one for a moment", d)
	}
	ahead.Add(int64(time.Hour))
	until(t, "it counts", func() bool { return r.Unheard() >= time.Hour })
}

// A member that does not lead counts from when it last heard its leader, and stops counting once it leads itself.
func TestUnheardWithoutALeader(t *testing.T) {
	var ahead atomic.Int64
	o := options()
	o.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	r := start(t, o)
	until(t, "it counts from the start", func() bool { return r.Unheard() > 0 })
	if d := r.Unheard(); d > time.Minute {
		t.Errorf("it has heard no leader for %v", d)
	}
	ahead.Store(int64(time.Hour))
	until(t, "it counts", func() bool { return r.Unheard() >= time.Hour })
	lead(t, r, 1, replication.Rule{})
	until(t, "the leader opens", r.Open)
	until(t, "it leads", func() bool { return r.Unheard() == 0 })
}

// A follower learns from its leader how long writes may wait, because it waits for them on behalf of clients. (It used
// its own default.)
func TestFollowerLearnsHowLongWritesMayWait(t *testing.T) {
	c := newCluster(t)
	var told atomic.Int64
	c.start("l")
	c.start("f", func(o *Options) { o.WriteTimeout = func(d time.Duration) { told.Store(int64(d)) } })
	c.lead("l", "f")
	until(t, "it learns that", func() bool { return told.Load() == int64(writeTimeout) })
}

// A caller of a member that waits for a hung disk waits no longer than its context.
func TestTurnIsWaitedForInTime(t *testing.T) {
	fs := &hangFS{FS: vfs.NewMem()}
	o := options()
	o.FS = fs
	r := start(t, o)
	lead(t, r, 1, replication.Rule{})
	until(t, "the leader opens", r.Open)
	hang := make(chan struct{})
	fs.hang.Store(&hang)
	if _, err := put(t, r, "k"); err != nil {
		t.Fatal(err)
	}
	until(t, "the disk is waited for", func() bool { return r.syncBegan.Load() != 0 })
	fenced := make(chan error, 1)
	go func() {
		_, err := r.Fence(t.Context(), wire.FenceRequest{Epoch: 2}) // holds the turn until the disk answers
		fenced <- err
	}()
	held := 0
	until(t, "it has the turn", func() bool {
		if held++; r.works.turn.TryLock() {
			r.works.turn.Unlock()
			held = 0
		}
		return held > 20 // others hold it only for moments
	})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	asked := make(chan error, 1)
	go func() {
		_, err := r.Status(ctx)
		asked <- err
	}()
	select {
	case err := <-asked:
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Error("it waits for the disk")
	}
	fs.hang.Store(nil)
	close(hang)
	if err := <-fenced; err != nil {
		t.Error(err)
	}
	if s, err := r.Status(t.Context()); err != nil || s.Promised != 2 {
		t.Errorf("%+v, %v", s, err)
	}
}
