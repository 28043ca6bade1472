package role

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// testLease is a Lease whose release takes as long as the test wants, and waits for deposed to return, as the real one
// does.
type testLease struct {
	invalid atomic.Bool
	release chan struct{} // nil: Release returns at once
	deposed atomic.Pointer[func(replication.Epoch)]
	calls   sync.WaitGroup // of deposed
}

func (l *testLease) Hold(_ replication.Epoch, _ time.Duration, deposed func(replication.Epoch)) {
	l.deposed.Store(&deposed)
}

func (l *testLease) Release() {
	if l.release != nil {
		<-l.release
	}
	l.calls.Wait()
}

func (l *testLease) Valid(time.Time) bool { return !l.invalid.Load() }

func mayRead(r *Runner) bool {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return r.AwaitReadWindow(ctx) == nil
}

// Once a leader is known to have promised a later epoch, another may be promoted at once, without waiting out any grant:
// by then the old one serves no linearizable read.
func TestFenceIsAnsweredOnlyOnceReadsHaveStopped(t *testing.T) {
	o := options()
	l := &testLease{release: make(chan struct{})}
	o.Lease = l
	r := start(t, o)
	lead(t, r, 1, replication.Rule{})
	until(t, "the leader serves reads", func() bool { return mayRead(r) })
	fenced := make(chan error, 1)
	go func() {
		_, err := r.Fence(t.Context(), wire.FenceRequest{Epoch: 2})
		fenced <- err
	}()
	select {
	case err := <-fenced:
		if mayRead(r) {
			t.Fatalf("fenced (%v), and still serving reads", err)
		}
	case <-time.After(200 * time.Millisecond): // it releases the Lease first
	}
	close(l.release)
	if err := <-fenced; err != nil {
		t.Fatal(err)
	}
	if mayRead(r) {
		t.Fatal("fenced, and still serving reads")
	}
}

// The Lease reports "deposed" at the very moment at which the order that deposes the leader arrives, while many calls
// wait.
func TestDeposedTwiceAtOnceDoesNotStall(t *testing.T) {
	o := options()
	l := &testLease{}
	o.Lease = l
	r := start(t, o)
	lead(t, r, 1, replication.Rule{})
	busy, begun := make(chan struct{}), make(chan struct{})
	r.works.Post(func() { close(begun); <-busy })
	<-begun
	r.works.Post(func() { _ = r.final(second(r.core.Fence(2, r.opt.Now()))) })
	for range 300 {
		r.works.Post(func() {})
	}
	l.calls.Go(func() { (*l.deposed.Load())(2) })
	time.Sleep(50 * time.Millisecond)
	close(busy)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	status := make(chan error, 1)
	go func() { status <- second(r.Status(ctx)) }()
	select {
	case err := <-status:
		if err != nil {
			t.Fatal(err)
		}
	case <-ctx.Done():
		t.Fatal("the role goroutine waits for the Lease, which waits for the role goroutine")
	}
}

func second[T any](_ T, err error) error { return err }

// A process that was paused past its Lease's expiry serves no read when it resumes, even before its role goroutine has
// noticed.
func TestAsynchronousLeaderReadsOnlyWhileItsLeaseIsValid(t *testing.T) {
	o := options()
	l := &testLease{}
	o.Lease = l
	r := start(t, o)
	lead(t, r, 1, replication.Rule{})
	until(t, "the leader serves reads", func() bool { return mayRead(r) })
	noticed, begun := make(chan struct{}), make(chan struct{})
	defer close(noticed)
	r.works.Post(func() { close(begun); <-noticed })
	<-begun
	l.invalid.Store(true)
	if mayRead(r) {
		t.Fatal("a read was served after the Lease had run out")
	}
}

// If both ports of a leader refuse connections, others take it for dead and do not wait out its grants. So it serves no
// linearizable read from before that on: from the end of its context, even while the holder of the turn waits for a disk.
func TestAMemberThatEndsServesNoRead(t *testing.T) {
	ctx, end := context.WithCancel(t.Context())
	r, err := Start(ctx, options())
	if err != nil {
		t.Fatal(err)
	}
	lead(t, r, 1, replication.Rule{})
	until(t, "the leader serves reads", func() bool { return mayRead(r) })
	r.works.turn.Lock()
	end()
	if mayRead(r) {
		t.Error("its context has ended, and it still serves reads")
	}
	r.works.turn.Unlock()
	<-r.Done()
}

// Nor does that rely on the member's state being published again: a member that ends does not publish it.
func TestALeadershipThatEndsServesNoRead(t *testing.T) {
	r := start(t, options())
	lead(t, r, 1, replication.Rule{})
	until(t, "the leader serves reads", func() bool { return mayRead(r) })
	if err := r.works.Do(t.Context(), func() {
		r.core.Resign()
		r.endLeadership(errLeaseLost)
		if r.MayRead() {
			t.Error("it leads no more, and still serves reads")
		}
	}); err != nil {
		t.Fatal(err)
	}
}
