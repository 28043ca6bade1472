package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/replicatedstore/replicatedstore/replication"
)

// TestFullDisk: if tables cannot be written, OnError is called, nothing claims to be durable, and once there is room
// again the flush succeeds.
func TestFullDisk(t *testing.T) {
	errNoSpace := errors.New("no space left on device")
	fs := &fullDisk{FS: vfs.NewMem(), why: errNoSpace}
	heard := make(chan error, 1)
	m, err := Open(fs, "state", Options{OnError: func(err error) {
		select {
		case heard <- err:
		default:
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	fs.full.Store(true)
	applyEntries(t, m, entryOf(putOf("k", "v", 0)))
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if mark, err := m.Flush(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("flush to a full disk: %v, %v", mark, err)
	}
	if err := <-heard; !errors.Is(err, errNoSpace) {
		t.Errorf("heard %v", err)
	}
	if m.Durable().Position != 0 {
		t.Errorf("durable is %v on a full disk", m.Durable())
	}
	fs.full.Store(false)
	if mark, err := m.Flush(t.Context()); err != nil || mark != m.Applied() || m.Durable() != mark {
		t.Errorf("with room again: %v, %v", mark, err)
	}
}

// fullDisk rejects new tables while full, and says why; but flushes may still write one while spare is set.
type fullDisk struct {
	vfs.FS
	full  atomic.Bool
	spare bool
	why   error
}

func (d *fullDisk) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if d.full.Load() && strings.HasSuffix(name, ".sst") && !(d.spare && c == "pebble-memtable-flush") {
		time.Sleep(10 * time.Millisecond) // the database retries at once
		return nil, d.why
	}
	return d.FS.Create(name, c)
}

// A goroutine that waits for memtables to be flushed to a full volume does not block Close.
func TestCloseOnAFullDisk(t *testing.T) {
	fs := &fullDisk{FS: vfs.NewMem(), why: syscall.ENOSPC}
	m, err := Open(fs, "state", Options{Memory: minMemory})
	if err != nil {
		t.Fatal(err)
	}
	fs.full.Store(true)
	var busy sync.WaitGroup
	var applied atomic.Int64
	busy.Go(func() {
		for n := 0; ; n++ {
			rec := record(t, m.Applied(), 1, m.AppliedTime()+1, entryOf(putOf(fmt.Sprint("k", n), strings.Repeat("v", 32<<10), 0)))
			if err := m.Apply([]replication.Record{rec}); err != nil {
				if !errors.Is(err, ErrClosed) {
					t.Error(err)
				}
				return
			}
			applied.Add(1)
		}
	})
	for last := int64(0); last == 0 || last != applied.Load(); time.Sleep(200 * time.Millisecond) { // until nothing can be poured any more
		last = applied.Load()
	}
	for range 3 {
		busy.Go(func() {
			if _, err := m.Flush(context.Background()); !errors.Is(err, ErrClosed) {
				t.Errorf("flush to a full disk that is closed: %v", err)
			}
		})
	}
	time.Sleep(50 * time.Millisecond) // a later flush is refused, which is right as well
	m.GiveUp()
	busy.Wait()
	closeInTime(t, m)
}

// Neither does one that waits for flushed tables to be compacted, for which there is no room either.
func TestCloseWhileNothingCanBeCompacted(t *testing.T) {
	fs := &fullDisk{FS: vfs.NewMem(), why: syscall.ENOSPC, spare: true}
	m, err := Open(fs, "state", Options{Memory: minMemory})
	if err != nil {
		t.Fatal(err)
	}
	m.mostSublevels = 20
	fs.full.Store(true)
	flush := func(n int, within time.Duration) error {
		applyEntries(t, m, entryOf(deleteOf(fmt.Sprint("key", n))))
		ctx, cancel := context.WithTimeout(t.Context(), within)
		defer cancel()
		_, err := m.Flush(ctx)
		return err
	}
	for n := range int(m.mostSublevels) {
		if err := flush(n, time.Minute); err != nil {
			t.Fatalf("flush %d: %v", n, err)
		}
	}
	if err := flush(int(m.mostSublevels), time.Second); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("there is no end to what may wait to be compacted: %v", err)
	}
	closeInTime(t, m)
}

func closeInTime(t *testing.T, m *Machine) {
	t.Helper()
	closed := make(chan error, 1)
	go func() { closed <- m.Close() }()
	select {
	case <-closed: // its error may be about what could not be written
	case <-time.After(time.Minute):
		t.Fatal("Close hangs")
	}
}
