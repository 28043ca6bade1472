package role

import (
	"encoding/binary"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/replicatedstore/replicatedstore/node/store"
	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/wal"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// putLong queues a write of size bytes.
func putLong(t *testing.T, r *Runner, size int) store.Ticket {
	t.Helper()
	ticket, err := r.Generation().Seq.Run(t.Context(), func(b *store.Batch) {
		b.Begin().Put([]byte("long"), store.Value{Type: store.TypeString, Data: make([]byte, size)})
		if err := b.End(); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return ticket
}

// follower makes r follow another member over s, as if a connection had got as far as streaming.
func follower(t *testing.T, r *Runner, e replication.Epoch) *Session {
	t.Helper()
	s := &Session{m: r.Member, acks: make(chan struct{}, 1)}
	var err error
	if doErr := r.works.Do(t.Context(), func() {
		if err = r.core.Follow(e, "other", ""); err != nil {
			return
		}
		r.session = s
		_, err = r.core.OnHelloReply(replication.HelloReply{Verdict: replication.VerdictStream})
	}); doErr != nil || err != nil {
		t.Fatal(doErr, err)
	}
	return s
}

// frozen returns a clock that stands still, except that it is ahead nanoseconds ahead.
func frozen(ahead *atomic.Int64) func() time.Time {
	base := time.Now()
	return func() time.Time { return base.Add(time.Duration(ahead.Load())) }
}

// While a record takes long to arrive, its leader counts as heard and is told so; that grants nothing.
func TestWhatArrivesIsHeard(t *testing.T) {
	var ahead atomic.Int64
	o := options()
	o.Now = frozen(&ahead)
	r := start(t, o)
	s := follower(t, r, 2)
	if err := s.Append(t.Context(), replication.Append{Epoch: 2, Sent: 7}); err != nil {
		t.Fatal(err)
	}
	until(t, "the leader is heard", r.Following)
	<-s.Acks()
	ahead.Store(int64(time.Hour))
	until(t, "nothing comes", func() bool { return !r.Following() })
	s.Arriving()
	until(t, "the leader is heard again", r.Following)
	<-s.Acks()
	if a := s.Ack(); a.Sent != 7 || a.Epoch != 2 {
		t.Errorf("acknowledged %+v", a)
	}
	if err := s.Append(t.Context(), replication.Append{Epoch: 2, Sent: 8, Deaf: true}); err != nil {
		t.Fatal(err)
	}
	ahead.Add(int64(time.Hour))
	s.Arriving()
	if status, err := r.Status(t.Context()); err != nil || status.Contact.Connected || status.Contact.SilentMillis < time.Minute.Milliseconds() {
		t.Errorf("a leader that hears nobody counts: %+v, %v", status.Contact, err)
	}
	f, err := r.Fence(t.Context(), wire.FenceRequest{Epoch: 3})
	if err != nil || f.GrantMillis != 0 {
		t.Errorf("%d ms are granted, %v", f.GrantMillis, err)
	}
}

// A leader hears a follower that repeats its acknowledgement, but serves no linearizable read because of it.
func TestAcknowledgedAgainIsHeard(t *testing.T) {
	var ahead atomic.Int64
	o := options()
	o.Now = frozen(&ahead)
	r := start(t, o)
	f := replication.Voter{Member: "f", Incarnation: "i"}
	lead(t, r, 1, replication.Rule{K: 1, Voters: []replication.Voter{f}})
	hello := replication.Hello{Store: "s", Member: f.Member, Incarnation: f.Incarnation, Epoch: 1, GrantMillis: 1000}
	if reply, _, err := r.Hello(t.Context(), hello); err != nil || reply.Verdict != replication.VerdictStream {
		t.Fatal(reply, err)
	}
	ack := replication.Ack{Epoch: 1, Durable: r.Contents().Log.Last().Position, Sent: r.stopwatch()}
	r.Ack(f, ack)
	until(t, "the leader opens", r.Open)
	if !r.MayRead() {
		t.Error("no read may be served")
	}
	ahead.Store(int64(time.Minute))
	until(t, "it hears nobody", r.Deaf)
	r.Ack(f, ack)
	until(t, "it hears its follower", func() bool { return !r.Deaf() })
	if r.MayRead() {
		t.Error("a read may be served that nobody granted")
	}
}

// A leader whose turn is held by a disk that makes progress does not, for a while, report that it is deaf or stuck. If
// the disk makes no progress, it reports that in time. Whatever holds the turn for long, the leader is stuck: it commits
// nothing and answers nobody.
func TestADiskThatGetsOnDeafensNobody(t *testing.T) {
	var ahead atomic.Int64
	o := options()
	o.Now = frozen(&ahead)
	r := start(t, o)
	lead(t, r, 1, replication.Rule{K: 1, Voters: []replication.Voter{{Member: "f", Incarnation: "i"}}})
	held, release := make(chan struct{}), make(chan struct{})
	r.works.Post(func() { close(held); <-release })
	<-held
	defer close(release)
	for _, c := range []struct {
		at          time.Duration
		wrote, well bool
	}{{turnExcused - time.Second, false, false}, {turnExcused - time.Second, true, true}, {2 * turnExcused, true, false}} {
		ahead.Store(int64(c.at))
		if c.wrote {
			r.wrote()
		}
		if well := !r.Deaf() && r.Stuck() < diskPatience && r.Hung() < diskPatience && r.HeldUp() == nil; well != c.well {
			t.Errorf("after %v, the disk gets on %v: deaf: %v, stuck for %v, hung for %v", c.at, c.wrote, r.Deaf(), r.Stuck(), r.Hung())
		}
	}
}

// pacedFS reports each write to a log, and its length, before it happens.
type pacedFS struct {
	vfs.FS
	before func(n int)
}

func (f *pacedFS) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	file, err := f.FS.OpenReadWrite(name, c, o...)
	if err == nil && strings.HasSuffix(name, ".log") {
		file = pacedFile{file, f}
	}
	return file, err
}

type pacedFile struct {
	vfs.File
	fs *pacedFS
}

func (f pacedFile) WriteAt(p []byte, off int64) (int, error) {
	f.fs.before(len(p))
	return f.File.WriteAt(p, off)
}

// A disk that takes long for a long record, but makes progress, does not count as hung.
func TestADiskThatGetsOnIsNotHung(t *testing.T) {
	var ahead, took, hung atomic.Int64
	var r atomic.Pointer[Runner]
	const most = 1 << 20
	o := options()
	o.Now = frozen(&ahead)
	o.FS = &pacedFS{vfs.NewMem(), func(n int) {
		if n < most/2 || r.Load() == nil {
			return
		}
		d := diskPatience / 2 * time.Duration(n) / most
		took.Add(int64(d))
		ahead.Add(int64(d))
		for m, end := r.Load(), time.Now().Add(time.Minute); m.beat.Load() < m.stopwatch()-int64(d)/2 && time.Now().Before(end); {
			time.Sleep(time.Millisecond) // so that the role goroutine comes round
		}
		hung.Store(max(hung.Load(), int64(r.Load().Hung())))
	}}
	m := start(t, o)
	lead(t, m, 1, replication.Rule{})
	until(t, "the leader opens", m.Open)
	r.Store(m)
	if err := m.Generation().Seq.Wait(t.Context(), putLong(t, m, 10*most)); err != nil {
		t.Fatal(err)
	}
	if d := time.Duration(took.Load()); d < 4*diskPatience {
		t.Fatalf("it took %v only", d)
	}
	if d := time.Duration(hung.Load()); d >= diskPatience {
		t.Errorf("it counted as hung for %v", d)
	}
}

// A follower whose disk is behind still hears its leader, and answers, while the next long record waits for the previous
// one.
func TestAFollowerWhoseDiskIsBehindHearsItsLeader(t *testing.T) {
	var ahead atomic.Int64
	var r atomic.Pointer[Runner]
	var steps, unheard atomic.Int64
	o := options()
	o.Segments = wal.Options{SegmentBytes: 64 << 20}
	o.Now = frozen(&ahead)
	o.FS = &pacedFS{vfs.NewMem(), func(n int) {
		if n < 1<<20 || r.Load() == nil {
			return
		}
		for end := time.Now().Add(time.Minute); r.Load().taking.Load() == nil && steps.Load() == 0 && time.Now().Before(end); {
			time.Sleep(time.Millisecond) // until the second one has arrived
		}
		if r.Load().taking.Load() == nil {
			r.Store(nil)
			return
		}
		steps.Add(1)
		for end := time.Now().Add(time.Minute); !r.Load().Following(); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				unheard.Add(1)
				return
			}
		}
		ahead.Add(int64(900 * time.Millisecond))
	}}
	m := start(t, o)
	s := follower(t, m, 2)
	end := replication.Mark{}
	add := func(size int) {
		t.Helper()
		payload := append(binary.AppendUvarint(nil, uint64(size)), make([]byte, size)...)
		rec, err := replication.EncodeRecord(replication.Seal{Epoch: 2, First: end.Position + 1, UnixMilli: 1, Prev: end.Chain}, 1, payload)
		if err == nil {
			err = s.Append(t.Context(), replication.Append{Epoch: 2, Sent: 1, Records: []replication.Record{rec}})
		}
		if err != nil {
			t.Fatal(err)
		}
		end = rec.Mark()
	}
	barrier, err := replication.EncodeBarrier(replication.Seal{Epoch: 2, First: 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Append(t.Context(), replication.Append{Epoch: 2, Sent: 1, Records: []replication.Record{barrier}}); err != nil {
		t.Fatal(err)
	}
	end = barrier.Mark()
	r.Store(m)
	add(6 << 20)
	add(6 << 20)
	if steps.Load() < 3 || unheard.Load() > 0 {
		t.Errorf("%d steps of the disk while the second waits, in %d of which the leader was not heard", steps.Load(), unheard.Load())
	}
	until(t, "all is durable", func() bool { return m.Contents().Log.Durable() == end })
}

// A disk probe that does not return reveals a hung disk, however busily the log is being written.
func TestAProbeThatHangsIsNoticedBesideABusyLog(t *testing.T) {
	var ahead atomic.Int64
	o := options()
	o.Now = frozen(&ahead)
	r := start(t, o)
	lead(t, r, 1, replication.Rule{})
	until(t, "the leader opens", r.Open)
	r.ProbeBegan()
	for i := range 4 {
		ahead.Add(int64(diskExcused / 3))
		write(t, r, fmt.Sprint(i))
		if hung := r.Hung() >= diskPatience; hung != (i == 3) {
			t.Errorf("after %v it counts as hung: %v", time.Duration(ahead.Load()), hung)
		}
	}
	r.ProbeEnded()
	until(t, "it hangs no more", func() bool { return r.Hung() < diskPatience })
}

// Progress of the disk on what has arrived counts as arriving bytes only for so long: the leader may be gone meanwhile,
// and nobody checks.
func TestADiskThatGetsOnIsNoLeader(t *testing.T) {
	var ahead atomic.Int64
	o := options()
	o.Now = frozen(&ahead)
	r := start(t, o)
	s := follower(t, r, 2)
	r.taking.Store(&taking{s: s, began: r.stopwatch()})
	for _, heard := range []bool{true, false} {
		ahead.Add(int64(turnExcused * 2 / 3))
		until(t, "nothing comes", func() bool { return !r.Following() })
		r.wrote()
		if heard {
			until(t, "the leader is heard", r.Following)
		} else if time.Sleep(200 * time.Millisecond); r.Following() {
			t.Error("the leader is heard still")
		}
	}
}
