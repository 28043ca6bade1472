package peer

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// fakeFollower accepts every Append.
type fakeFollower struct {
	appends  chan replication.Append
	arriving atomic.Int64 // number of calls of Arriving
}

func (f *fakeFollower) Hello(context.Context) (replication.Hello, error) {
	return replication.Hello{}, nil
}
func (f *fakeFollower) Reply(context.Context, replication.HelloReply) (replication.Step, error) {
	return replication.StepStream, nil
}
func (f *fakeFollower) Append(_ context.Context, a replication.Append) error {
	f.appends <- a
	return nil
}
func (f *fakeFollower) Arriving()                                 { f.arriving.Add(1) }
func (f *fakeFollower) Acks() <-chan struct{}                     { return nil }
func (f *fakeFollower) Ack() replication.Ack                      { return replication.Ack{} }
func (f *fakeFollower) Direct(func() bool)                        {}
func (f *fakeFollower) Seed(context.Context, io.ReadWriter) error { return nil }
func (f *fakeFollower) Source() (string, replication.Hello)       { return "", replication.Hello{} }
func (f *fakeFollower) SourceFailed(context.Context, error)       {}

// streamTo makes f follow the leader at the other end of there until it has a stream.
func streamTo(t *testing.T, f Follower) (there net.Conn, followed chan error) {
	t.Helper()
	here, there := net.Pipe()
	followed = make(chan error, 1)
	go func() { followed <- Follow(t.Context(), here, nil, f) }()
	r := bufio.NewReader(there)
	if _, err := r.Discard(len(wire.Preface)); err != nil {
		t.Fatal(err)
	}
	if _, err := wire.ReadFrame(r); err != nil {
		t.Fatal(err)
	}
	if err := writeJSON(there, wire.FrameHelloReply, replication.HelloReply{Verdict: replication.VerdictStream}); err != nil {
		t.Fatal(err)
	}
	return there, followed
}

// A record that takes longer to arrive than a leader may be silent is not silence: otherwise the follower would request it
// again and again, and never get past it.
func TestRecordMayTakeLongerThanSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeFollower{appends: make(chan replication.Append, 1)}
		there, followed := streamTo(t, f)
		rec := recordOf(t, 2<<20)
		frame := append(wire.AppendHeader(nil, replication.Append{Epoch: 1, Records: []replication.Record{rec}}), rec.Raw...)
		const pieces = 5
		for i := range pieces {
			time.Sleep(2 * Silence * 6 / 5 / pieces)
			if _, err := there.Write(frame[i*len(frame)/pieces : (i+1)*len(frame)/pieces]); err != nil {
				t.Fatalf("the follower hung up after %d of %d pieces: %v", i, pieces, err)
			}
		}
		select {
		case a := <-f.appends:
			if len(a.Records) != 1 {
				t.Fatalf("%d records arrived", len(a.Records))
			}
		case err := <-followed:
			t.Fatalf("the follower hung up: %v", err)
		}
		_ = there.Close()
		<-followed
		if f.arriving.Load() == 0 {
			t.Error("the follower was not told that it arrives")
		}
	})
}

// Messages that arrive one by one are heard as such; Arriving is not called for them.
func TestHeartbeatsDoNotArriveSlowly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeFollower{appends: make(chan replication.Append, 1)}
		there, followed := streamTo(t, f)
		for range 3 {
			time.Sleep(Heartbeat * 3 / 2)
			if _, err := there.Write(wire.AppendHeader(nil, replication.Append{Epoch: 1})); err != nil {
				t.Fatal(err)
			}
			<-f.appends
		}
		_ = there.Close()
		<-followed
		if n := f.arriving.Load(); n != 0 {
			t.Errorf("told %d times", n)
		}
	})
}

// recordOf returns a record of one entry.
func recordOf(t *testing.T, size int) replication.Record {
	t.Helper()
	var b replication.Builder
	if err := b.Add(make([]byte, size)); err != nil {
		t.Fatal(err)
	}
	rec, err := b.Seal(replication.Seal{Epoch: 1, First: 1, UnixMilli: 1})
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

// A few bytes now and then do not count as hearing the leader: it may be gone, and only what the network still holds
// arrives.
func TestATrickleIsNotHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told := 0
		here, there := net.Pipe()
		r := &steadyReader{conn: here, arriving: func() { told++ }}
		go func() {
			for _, n := range []int{1, 1, 1, 1, 1, 1, leastRate} {
				_, _ = there.Write(make([]byte, n))
				time.Sleep(Heartbeat)
			}
			_ = there.Close()
		}()
		buf := make([]byte, leastRate)
		for n := 0; n < 6; n++ {
			if _, err := r.Read(buf); err != nil {
				t.Fatal(err)
			}
		}
		if told > 0 {
			t.Errorf("told %d times", told)
		}
		if _, err := r.Read(buf); err != nil || told != 1 {
			t.Errorf("%v; told %d times once more arrives", err, told)
		}
		if _, err := r.Read(buf); err != io.EOF {
			t.Error(err)
		}
	})
}

// longRecordOf serves a long record to a connected follower, and returns what the follower receives.
func longRecordOf(t *testing.T, change func(*Stream)) (there net.Conn, served chan error) {
	t.Helper()
	here, there := net.Pipe()
	l := &fakeLeader{ended: make(chan *Stream, 1), stream: &Stream{
		Epoch: 1, Log: oneRecord{recordOf(t, 8*maxBatch)}, Wake: make(chan struct{}, 1), Done: make(chan struct{}),
		Ends:  func() (replication.Position, replication.Position) { return 1, 0 },
		Clock: func() time.Duration { return time.Second },
	}}
	change(l.stream)
	served = make(chan error, 1)
	go func() { served <- Serve(t.Context(), patient{here}, l) }()
	if err := greetLeader(there); err != nil {
		t.Fatal(err)
	}
	return there, served
}

// A leader whose disk hangs stops sending a long record, because its follower would take the leader for alive.
func TestAHungLeaderEndsItsRecord(t *testing.T) {
	var hung atomic.Bool
	there, served := longRecordOf(t, func(s *Stream) { s.Hung = hung.Load })
	if _, err := io.CopyN(io.Discard, there, 2*maxBatch); err != nil {
		t.Fatal(err)
	}
	hung.Store(true)
	if n, err := io.Copy(io.Discard, there); n > 2*maxBatch || err != nil {
		t.Errorf("%d bytes more, %v", n, err)
	}
	if err := <-served; !errors.Is(err, errHung) {
		t.Error(err)
	}
}

// A leader that becomes deaf after a long record has begun continues for a while, and then starts over by saying that it is
// deaf.
func TestALeaderThatGoesDeafSaysSoInTime(t *testing.T) {
	var deaf, hung bool
	var now time.Duration
	s := &Stream{Deaf: func() bool { return deaf }, Hung: func() bool { return hung }, Clock: func() time.Duration { return now }}
	mute, told := s.mute(false), s.mute(true)
	for i, c := range []struct {
		pass time.Duration
		deaf bool
		want error
	}{
		{0, false, nil}, {time.Hour, true, nil}, {writeStall - 1, true, nil}, {writeStall, false, nil}, {time.Hour, true, nil},
		{writeStall - 1, true, nil}, {1, true, errDeaf},
	} {
		now, deaf = now+c.pass, c.deaf
		if got := mute(); got != c.want {
			t.Errorf("step %d: %v, want %v", i, got, c.want)
		}
		if got := told(); got != nil {
			t.Errorf("step %d: %v, although it was told", i, got)
		}
	}
	hung = true
	if mute() != errHung || told() != errHung {
		t.Error("goes on while its disk hangs")
	}
}

// A leader that is deaf says so before a long record, and then sends it: the receiver may be the follower that it fails to
// hear.
func TestADeafLeaderSendsItsRecord(t *testing.T) {
	there, _ := longRecordOf(t, func(s *Stream) { s.Deaf = func() bool { return true } })
	r := bufio.NewReader(there)
	if _, err := wire.ReadFrame(r); err != nil { // its answer to hello
		t.Fatal(err)
	}
	for _, records := range []int{0, 1} {
		f, err := wire.ReadFrame(r)
		if err != nil {
			t.Fatal(err)
		}
		if a, err := f.Append(); err != nil || len(a.Records) != records || a.Deaf != (records == 0) {
			t.Fatalf("%d records, deaf: %v, %v", len(a.Records), a.Deaf, err)
		}
	}
	_ = there.Close()
}

// A record of many batches arrives whole.
func TestLargeRecordIsSentInPieces(t *testing.T) {
	here, there := net.Pipe()
	sent := make(chan error, 1)
	recs := []replication.Record{recordOf(t, 2*maxBatch+17)}
	go func() {
		sent <- send(patient{here}, wire.AppendHeader(nil, replication.Append{Epoch: 1, Records: recs}), recs, func() error { return nil })
	}()
	f, err := wire.ReadFrame(bufio.NewReader(there))
	if err != nil {
		t.Fatal(err)
	}
	a, err := f.Append()
	if err != nil || len(a.Records) != 1 {
		t.Fatalf("%d records, %v", len(a.Records), err)
	}
	if err := a.Records[0].Verify(0); err != nil {
		t.Fatal(err)
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
}
