package role

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/replication"
)

// What was posted runs before what its poster does next.
func TestPostsComeBeforeWhatFollowsThem(t *testing.T) {
	r := start(t, options())
	for i := range 1000 {
		done := false
		r.works.Post(func() { done = true })
		if err := r.works.Do(t.Context(), func() {
			if !done {
				t.Errorf("call %d overtook what was posted before it", i)
			}
		}); err != nil {
			t.Fatal(err)
		}
		if t.Failed() {
			return
		}
	}
}

// Callers of a stuck member that give up leave no waiting goroutine behind: they ask again and again, for as long as the
// disk hangs.
func TestThoseWhoGiveUpTheirTurnLeaveNothingBehind(t *testing.T) {
	r := start(t, options())
	r.works.turn.Lock()
	before := runtime.NumGoroutine()
	for range 50 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		if _, err := r.Status(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("asked while nobody gets the turn: %v", err)
		}
		cancel()
	}
	after := runtime.NumGoroutine()
	r.works.turn.Unlock()
	if after > before+5 {
		t.Errorf("%d goroutines wait for the turn of those who have given up", after-before)
	}
	if _, err := r.Status(t.Context()); err != nil {
		t.Errorf("once it comes round again: %v", err)
	}
}

// One goroutine has the turn at a time, and the turn is never lost, whoever gives up when.
func TestTheTurnIsOnePersonsAtATime(t *testing.T) {
	var turn turn
	var all sync.WaitGroup
	has, taken := 0, 0
	for i := range 32 {
		all.Go(func() {
			for j := range 500 {
				ctx, cancel := context.Background(), context.CancelFunc(func() {})
				if i%4 != 0 {
					ctx, cancel = context.WithTimeout(ctx, time.Duration((i*j)%97)*time.Microsecond)
				}
				got := turn.lockWhile(ctx)
				cancel()
				if !got {
					continue
				}
				if has++; has != 1 {
					t.Errorf("%d have the turn", has)
				}
				taken++
				if j%8 == 0 {
					time.Sleep(20 * time.Microsecond)
				}
				has--
				turn.Unlock()
			}
		})
	}
	all.Wait()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if !turn.lockWhile(ctx) {
		t.Fatal("the turn is lost")
	}
	turn.Unlock()
	t.Logf("%d turns, %d gave up", taken, 32*500-taken)
}

// Those in line get the turn in the order in which they came.
func TestTheTurnGoesAlongTheLine(t *testing.T) {
	var turn turn
	turn.Lock()
	var all sync.WaitGroup
	var order []int
	waits := func(n int) func() bool {
		return func() bool {
			turn.queue.Lock()
			defer turn.queue.Unlock()
			return len(turn.line) == n
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	for i := range 5 {
		all.Go(func() {
			of := t.Context()
			if i == 1 {
				of = ctx
			}
			if turn.lockWhile(of) {
				order = append(order, i)
				turn.Unlock()
			}
		})
		until(t, "it stands in line", waits(i+1))
	}
	cancel()
	until(t, "it has left", waits(4))
	turn.Unlock()
	all.Wait()
	if len(order) != 4 || order[0] != 0 || order[1] != 2 || order[2] != 3 || order[3] != 4 {
		t.Errorf("served in the order %v", order)
	}
}

// What clients are told first, who leads, does not wait for the holder of the turn, whose disk may hang.
func TestAGlimpseNeedsNoTurn(t *testing.T) {
	r := start(t, options())
	lead(t, r, 1, replication.Rule{})
	until(t, "it takes writes", r.Open)
	want, err := r.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r.works.turn.Lock()
	defer r.works.turn.Unlock()
	got := r.Glimpse()
	if got.Role != want.Role || !got.Writable || got.Last.Position != want.Last.Position || got.Commit != want.Commit || got.Member != want.Member {
		t.Errorf("%+v, but it is %+v", got, want)
	}
}
