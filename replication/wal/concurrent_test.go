package wal

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/replicatedstore/replicatedstore/replication"
)

// One appender, two syncers, readers that follow the end, readers from the start, pins, pruning and marks, all concurrent.
func TestConcurrentUse(t *testing.T) {
	l, _ := mustOpen(t, vfs.Default, t.TempDir(), Options{Create: true, TailBytes: 20_000})
	const records = 3000
	stop := make(chan struct{})
	var wg sync.WaitGroup
	fail := make(chan error, 16)
	run := func(f func() error) {
		wg.Go(func() {
			if err := untilStopped(stop, f); err != nil {
				fail <- err
			}
		})
	}
	for range 2 {
		run(func() error {
			before := l.Last()
			m, err := l.Sync()
			if err == nil && m.Position < before.Position {
				err = fmt.Errorf("synced %v, appended before was %v", m, before)
			}
			return err
		})
	}
	run(func() error { return l.Prune(l.PruneBound(4 * testSegment)) })
	var follow, read atomic.Uint64
	follow.Store(1)
	run(func() error { return follower(l, &follow, 4000) })
	run(func() error {
		release := l.Pin(l.First())
		defer release()
		next := atomic.Uint64{}
		next.Store(uint64(l.First()))
		for range 5 {
			if err := follower(l, &next, 50_000); err != nil && !errors.Is(err, ErrPruned) {
				return err
			}
			read.Add(1)
		}
		_, _ = l.MarkAt(l.First() + 10)
		_, _, _ = l.Epochs(), l.Segments(), l.Durable()
		return nil
	})
	for i := range records {
		if i%100 == 0 {
			if err := l.Append(barrierAfter(t, l.Last(), replication.Epoch(i+1))); err != nil {
				t.Fatal(err)
			}
		}
		appendSome(t, l, replication.Epoch(i/100*100+1), 1, 300)
	}
	deadline := time.Now().Add(time.Minute)
	for follow.Load() <= uint64(l.Last().Position) && time.Now().Before(deadline) && len(fail) == 0 {
		time.Sleep(time.Millisecond)
	}
	close(stop)
	wg.Wait()
	select {
	case err := <-fail:
		t.Fatal(err)
	default:
	}
	if follow.Load() != uint64(l.Last().Position)+1 || read.Load() == 0 {
		t.Fatalf("the follower got to %d of %v", follow.Load(), l.Last())
	}
	closeLog(t, l)
}

// follower reads once from next and checks that the records follow each other. If next was pruned, it continues at First.
func follower(l *Log, next *atomic.Uint64, size int) error {
	recs, err := l.Read(replication.Position(next.Load()), size, nil)
	if errors.Is(err, ErrPruned) {
		next.Store(uint64(l.First()))
		return nil
	}
	if err != nil {
		return err
	}
	for i := range recs {
		if i > 0 {
			if err := recs[i].Follows(recs[i-1].Mark()); err != nil {
				return err
			}
		}
		if recs[i].First != replication.Position(next.Load()) {
			return fmt.Errorf("read %d at %d", recs[i].First, next.Load())
		}
		next.Store(uint64(recs[i].Last()) + 1)
	}
	return nil
}

// Append does not wait while a Sync hangs in the disk.
func TestAppendDuringSync(t *testing.T) {
	var armed atomic.Bool
	entered, hold := make(chan struct{}), make(chan struct{})
	slow := failing(vfs.NewMem(), &armed, func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileSyncData {
			armed.Store(false)
			close(entered)
			<-hold
		}
		return nil
	})
	l, _ := mustOpen(t, slow, "wal", Options{Create: true, SegmentBytes: 8 << 20})
	first := appendSome(t, l, 1, 1, 10)[0]
	armed.Store(true)
	synced := make(chan replication.Mark, 1)
	go func() {
		m, err := l.Sync()
		if err != nil {
			t.Error(err)
		}
		synced <- m
	}()
	<-entered
	more := appendSome(t, l, 1, 10, 10) // would never return if it waited
	if got := readAll(t, l); !bytes.Equal(got[len(got)-1].Raw, more[9].Raw) {
		t.Fatal("appended records are not readable while a sync runs")
	}
	if l.Durable() != (replication.Mark{}) {
		t.Fatal("durable before the sync ended")
	}
	close(hold)
	if m := <-synced; m != first.Mark() {
		t.Fatalf("synced %v: it claims records that were appended after it began (want %v)", m, first.Mark())
	}
	if m := mustSync(t, l); m != more[9].Mark() {
		t.Fatalf("synced %v", m)
	}
	closeLog(t, l)
}

// A reader that holds an old segment open is not disturbed by its removal.
func TestReadWhilePruned(t *testing.T) {
	l, _ := mustOpen(t, vfs.Default, t.TempDir(), Options{Create: true, TailBytes: 1})
	defer closeLog(t, l)
	want := appendSome(t, l, 1, 300, 300)
	mustSync(t, l)
	l.mu.Lock()
	v := l.viewAt(1)
	l.mu.Unlock()
	if err := l.Prune(l.Last().Position); err != nil || l.First() == 1 {
		t.Fatalf("first %d, %v", l.First(), err)
	}
	got, err := l.readSegment(v, 1, 1000, nil)
	v.s.release()
	if err != nil || len(got) == 0 || !bytes.Equal(got[0].Raw, want[0].Raw) {
		t.Fatalf("%d records, %v", len(got), err)
	}
}
