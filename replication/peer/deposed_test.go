package peer

import (
	"bufio"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// oneRecord is a log that holds the barrier of epoch 1.
type oneRecord struct{ rec replication.Record }

func newOneRecord(t *testing.T) oneRecord {
	rec, err := replication.EncodeBarrier(replication.Seal{Epoch: 1, First: 1, UnixMilli: 1})
	if err != nil {
		t.Fatal(err)
	}
	return oneRecord{rec}
}

func (o oneRecord) Read(_ replication.Position, _ int, dst []replication.Record) ([]replication.Record, error) {
	return append(dst, o.rec), nil
}

// A leader that was deposed while a slow follower blocked its stream continues as a follower in the next epoch. What is
// committed there may be other entries at the same positions, so the old stream must not report that commit position.
func TestStreamOfADeposedLeaderTellsNothingOfTheNextEpoch(t *testing.T) {
	here, there := net.Pipe()
	var commit atomic.Uint64
	done := make(chan struct{})
	l := &fakeLeader{ended: make(chan *Stream, 1), stream: &Stream{
		Epoch: 1, Log: newOneRecord(t), Wake: make(chan struct{}, 1), Done: done,
		Ends:  func() (replication.Position, replication.Position) { return 1, replication.Position(commit.Load()) },
		Clock: func() time.Duration { return time.Second },
	}}
	served := make(chan error, 1)
	go func() { served <- Serve(t.Context(), patient{here}, l) }()
	if err := greetLeader(there); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReaderSize(there, 16) // accepts little, so that the leader's write blocks
	if _, err := wire.ReadFrame(r); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Peek(1); err != nil { // the first Append is being written
		t.Fatal(err)
	}
	close(done)
	commit.Store(1)
	for {
		f, err := wire.ReadFrame(r)
		if err != nil {
			break
		}
		a, err := f.Append()
		if err != nil {
			t.Fatal(err)
		}
		if a.Commit != 0 {
			t.Fatalf("after the leadership of epoch %d ended its stream says that %d is committed", a.Epoch, a.Commit)
		}
	}
	if err := <-served; !errors.Is(err, errDone) {
		t.Fatalf("the stream ended with %v", err)
	}
}
