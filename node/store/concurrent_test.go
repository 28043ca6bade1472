package store

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// incr is INCR as the client protocol does it.
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

// TestConcurrentCounters runs connections, readers, expiry, checkpoints and the role goroutine concurrently. Every INCR
// that was answered must have counted exactly once, and must be visible to a read after the answer.
func TestConcurrentCounters(t *testing.T) {
	const workers, each = 8, 300
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute) // so that nobody waits forever for a pump that failed
	defer cancel()
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
			if _, err := l.m.View(0).Count(ctx); err != nil {
				t.Error(err)
			}
			if _, _, _, err := l.s.Expire(ctx, 50); err != nil {
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
				n, ticket, err := incr(ctx, l.s, key)
				if err == nil {
					err = l.s.Wait(ctx, ticket)
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

// TestChangingLeaders deposes the leader again and again while connections write. Every write whose Wait returned nil
// must be there; any other may or may not be.
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
