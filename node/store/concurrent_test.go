package store

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/replicatedstore/replicatedstore/replication"
)

// incr is INCR as the client protocol would do it.
func incr(ctx context.Context, s *Sequencer, key []byte) (n int, _ Ticket, err error) {
	ticket, runErr := s.Run(ctx, func(b *Batch) {
		tx := b.Begin()
		var v Value
		if v, _, err = tx.Get(key); err != nil {
			b.Discard()
			return
		}
		n, _ = strconv.Atoi(string(v.Data))
		n++
		tx.Put(key, Value{Type: TypeString, ExpireAt: v.ExpireAt, Data: strconv.AppendInt(nil, int64(n), 10)})
		err = b.End()
	})
	return n, ticket, errors.Join(runErr, err)
}

// pump is the role goroutine: it seals and applies until stop is closed.
func (l *leader) pump(stop <-chan struct{}) {
	for {
		select {
		case <-l.s.Pending():
			l.settle()
		case <-stop:
			return
		}
	}
}

// TestConcurrentCounters runs connections, readers, expiry, checkpoints and the role goroutine at once. Every INCR that was
// answered must have counted exactly once, and be visible to a read after the answer.
func TestConcurrentCounters(t *testing.T) {
	const workers, each = 8, 300
	clock := new(atomic.Int64)
	l := newLeader(t, SequencerOptions{MaxEntries: 20, Clock: func() int64 { return clock.Add(1) }})
	stop := make(chan struct{})
	var role, side, wg sync.WaitGroup
	role.Go(func() { l.pump(stop) })
	side.Go(func() {
		for i := range 5 {
			if _, err := l.m.Checkpoint(fmt.Sprintf("copy%d", i)); err != nil {
				t.Error(err)
			}
			if _, err := l.m.View(0).Count(t.Context()); err != nil {
				t.Error(err)
			}
			if _, _, _, err := l.s.Expire(t.Context(), 50); err != nil {
				t.Error(err)
			}
		}
	})
	var mu sync.Mutex
	seen := map[string]bool{}
	for w := range workers {
		wg.Go(func() {
			for i := range each {
				key := []byte(fmt.Sprintf("counter%d", (w+i)%3))
				l.s.Prefetch(key)
				n, ticket, err := incr(t.Context(), l.s, key)
				if err == nil {
					err = l.s.Wait(t.Context(), ticket)
				}
				if err != nil {
					t.Error(err)
					return
				}
				v, _, err := l.m.View(0).Get(key)
				if got, _ := strconv.Atoi(string(v.Data)); err != nil || got < n {
					t.Errorf("%s: answered %d, then read %d (%v)", key, n, got, err)
				}
				mu.Lock()
				if id := fmt.Sprint(string(key), "=", n); seen[id] {
					t.Errorf("%s was answered twice", id)
				} else {
					seen[id] = true
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	side.Wait()
	close(stop)
	role.Wait()
	total := 0
	for i := range 3 {
		v, _, _ := l.m.View(0).Get([]byte(fmt.Sprintf("counter%d", i)))
		n, _ := strconv.Atoi(string(v.Data))
		total += n
	}
	if total != workers*each {
		t.Errorf("%d increments were answered, the counters say %d", workers*each, total)
	}
	l.s.Close(nil)
	replica := openMachine(t, vfs.NewMem(), "replica")
	if err := replica.Apply(l.log); err != nil {
		t.Fatal(err)
	}
	if dump(t, replica) != dump(t, l.m) {
		t.Error("a replica holds other bytes")
	}
}

// TestChangingLeaders deposes the leader again and again while connections write. What was answered must be there; what
// was not answered nil may be there or not.
func TestChangingLeaders(t *testing.T) {
	l := newLeader(t, SequencerOptions{})
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var acked [4]atomic.Int64
	for w := range acked {
		wg.Go(func() {
			key := []byte(fmt.Sprintf("counter%d", w))
			for ctx.Err() == nil {
				n, ticket, err := incr(ctx, l.s, key)
				if err != nil {
					continue // deposed at the moment
				}
				switch err := l.s.Wait(ctx, ticket); {
				case err == nil:
					acked[w].Store(int64(n))
				case !errors.Is(err, ErrOutcomeUnknown):
					t.Errorf("Wait: %v", err)
				}
			}
		})
	}
	rng := newRand(t, 0)
	for range 60 {
		for range rng.IntN(20) {
			select {
			case <-l.s.Pending():
			case <-time.After(10 * time.Millisecond):
			}
			l.seal(1 + rng.IntN(300))
			l.apply(l.sent + rng.IntN(len(l.log)-l.sent+1))
		}
		l.deposed(errors.New("deposed"))
		l.lead()
	}
	cancel()
	l.s.Close(nil)
	wg.Wait()
	for w := range acked {
		v, _, _ := l.m.View(0).Get([]byte(fmt.Sprintf("counter%d", w)))
		if n, _ := strconv.Atoi(string(v.Data)); int64(n) < acked[w].Load() {
			t.Errorf("counter %d is %d although %d was answered", w, n, acked[w].Load())
		}
	}
}

// TestFullDisk: when tables cannot be written, OnError hears of it, nothing claims to be durable, and once there is room
// again the flush succeeds.
func TestFullDisk(t *testing.T) {
	var full atomic.Bool
	errNoSpace := errors.New("no space left on device")
	fs := fullDisk(&full, errNoSpace)
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
	full.Store(true)
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
	full.Store(false)
	if mark, err := m.Flush(t.Context()); err != nil || mark != m.Applied() || m.Durable() != mark {
		t.Errorf("with room again: %v, %v", mark, err)
	}
}

// fullDisk takes no new file while full, and says why.
func fullDisk(full *atomic.Bool, why error) vfs.FS {
	return errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if full.Load() && op.Kind == errorfs.OpCreate {
			return why
		}
		return nil
	}))
}

// Whoever waits for memtables to be flushed to a volume that has no room does not keep Close waiting.
func TestCloseOnAFullDisk(t *testing.T) {
	var full atomic.Bool
	m, err := Open(fullDisk(&full, syscall.ENOSPC), "state", Options{Memory: minMemory})
	if err != nil {
		t.Fatal(err)
	}
	full.Store(true)
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
	for last := int64(-1); last != applied.Load(); time.Sleep(200 * time.Millisecond) { // until nothing can be poured any more
		last = applied.Load()
	}
	for range 3 {
		busy.Go(func() {
			if _, err := m.Flush(context.Background()); !errors.Is(err, ErrClosed) {
				t.Errorf("flush to a full disk that is closed: %v", err)
			}
		})
	}
	time.Sleep(50 * time.Millisecond) // a flush that begins later is refused, which is right as well
	closed := make(chan error, 1)
	go func() { closed <- m.Close() }()
	select {
	case <-closed: // the tables that could not be written may be its error
	case <-time.After(20 * time.Second):
		t.Fatal("Close hangs")
	}
	busy.Wait()
}
