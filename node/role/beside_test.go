package role

import (
	"context"
	"encoding/binary"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/replicatedstore/replicatedstore/node/store"
	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// A member answers while the disk writes a long record, however long that takes.
func TestALongRecordIsWrittenBesideTheTurn(t *testing.T) {
	fs := &hangFS{FS: vfs.NewMem()}
	o := options()
	o.FS = fs
	r := start(t, o)
	lead(t, r, 1, replication.Rule{})
	until(t, "the leader opens", r.Open)
	write(t, r, "a") // in a segment of the usual size
	hang := make(chan struct{})
	fs.hangWrites.Store(&hang)
	ticket := putLong(t, r, 10<<20)
	until(t, "it is being written", func() bool { return r.syncBegan.Load() != 0 })
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if s, err := r.Status(ctx); err != nil || s.Last.Position <= s.Durable.Position {
		t.Errorf("%v; the log ends in %v, and is durable up to %v", err, s.Last, s.Durable)
	}
	fs.hangWrites.Store(nil)
	close(hang)
	if err := r.Generation().Seq.Wait(t.Context(), ticket); err != nil {
		t.Fatal(err)
	}
}

// A leader answers while the file for a record longer than a segment is created. The record is written after that, and
// before those that came after it.
func TestTheFileForALongRecordIsMadeBesideTheTurn(t *testing.T) {
	o := options()
	fs := newBlockedFS(errorfs.OpCreate, "next-") // the file of a future segment
	o.FS = fs
	r := start(t, o)
	lead(t, r, 1, replication.Rule{})
	until(t, "the leader opens", r.Open)
	write(t, r, "a")
	before := r.Contents().Log.Last().Position
	long := putLong(t, r, 10<<20)
	after, err := put(t, r, "b")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if s, err := r.Status(ctx); err != nil || s.Last.Position != before {
		t.Errorf("%v; the log ends in %v, before in %d", err, s.Last, before)
	}
	close(fs.goOn)
	for _, ticket := range []store.Ticket{long, after} {
		if err := r.Generation().Seq.Wait(t.Context(), ticket); err != nil {
			t.Fatal(err)
		}
	}
	if last := r.Contents().Log.Last().Position; last != before+2 {
		t.Errorf("the log ends at %d", last)
	}
}

// A leader of small writes also answers while the file for the next segment is filled, which may take long on a slow
// disk.
func TestSmallWritesWaitForAFileBesideTheTurn(t *testing.T) {
	o := options()
	fs := newBlockedFS(errorfs.OpCreate, "next-") // the file of a future segment
	o.FS, o.Segments.SegmentBytes = fs, 1<<20
	r := start(t, o)
	lead(t, r, 1, replication.Rule{})
	until(t, "the leader opens", r.Open)
	log := r.Contents().Log
	for log.Takes(8 << 10) {
		if err := r.Generation().Seq.Wait(t.Context(), putLong(t, r, 4<<10)); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	last := putLong(t, r, 8<<10)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if s, err := r.Status(ctx); err != nil || !s.Writable {
		t.Errorf("%+v, %v", s, err)
	}
	if hung := r.Hung(); hung >= diskPatience && time.Since(began) < diskPatience {
		t.Errorf("hung for %v, before its patience ends", hung)
	}
	until(t, "a disk that does not finish the file hangs", func() bool { return r.Hung() >= diskPatience })
	ctx, cancel = context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if s, err := r.Status(ctx); err != nil || s.ProblemReason != wire.ProblemDiskStuck {
		t.Errorf("%+v, %v", s, err)
	}
	close(fs.goOn)
	if err := r.Generation().Seq.Wait(t.Context(), last); err != nil {
		t.Fatal(err)
	}
	until(t, "it hangs no more", func() bool { return r.Hung() < diskPatience })
}

// The first record after a snapshot is long: the member answers while its file grows.
func TestALogWithoutRecordsGrowsBesideTheTurn(t *testing.T) {
	var hang atomic.Pointer[chan struct{}]
	o := options()
	o.FS = &pacedFS{vfs.NewMem(), func(int) {
		if hang := hang.Load(); hang != nil {
			<-*hang
		}
	}}
	r := start(t, o)
	s := follower(t, r, 2)
	log := r.Contents().Log
	if err := log.Reset(replication.Mark{Epoch: 1, Position: 7}, replication.EpochTable{{Epoch: 1, Start: 1}}); err != nil {
		t.Fatal(err)
	}
	barrier, err := replication.EncodeBarrier(replication.Seal{Epoch: 2, First: 8})
	if err != nil {
		t.Fatal(err)
	}
	payload := binary.AppendUvarint(nil, 10<<20)
	long, err := replication.EncodeRecord(replication.Seal{Epoch: 2, First: 9, Prev: barrier.Chain}, 1, append(payload, make([]byte, 10<<20)...))
	if err != nil {
		t.Fatal(err)
	}
	held := make(chan struct{})
	hang.Store(&held)
	appended := make(chan error, 1)
	go func() {
		appended <- s.Append(t.Context(), replication.Append{Epoch: 2, Sent: 1, Records: []replication.Record{barrier, long}})
	}()
	until(t, "it prepares", func() bool { return r.prepares.first.Load() != 0 })
	time.Sleep(50 * time.Millisecond)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if st, err := r.Status(ctx); err != nil || st.Last.Position != 7 {
		t.Errorf("%+v, %v", st.Last, err)
	}
	hang.Store(nil)
	close(held)
	if err := <-appended; err != nil {
		t.Fatal(err)
	}
	if last := log.Last(); last != long.Mark() {
		t.Errorf("the log ends in %v", last)
	}
}

// Two preparations may be under way, one of them left by an earlier leadership; each counts.
func TestPreparesAreTimedEach(t *testing.T) {
	var p prepares
	first, second := p.begin(5), p.begin(7)
	for _, want := range []int64{5, 7, 0} {
		if got := p.first.Load(); got != want {
			t.Errorf("the first began at %d, want %d", got, want)
		}
		switch want {
		case 5:
			first()
		case 7:
			second()
		}
	}
}
