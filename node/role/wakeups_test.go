package role

import (
	"context"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// A waiter for acknowledgements returns when the leadership ends, even if nothing else happens here any more.
func TestEndOfALeadershipEndsAWait(t *testing.T) {
	r := start(t, options())
	lead(t, r, 1, replication.Rule{})
	until(t, "it takes writes", r.Open)
	ticket, err := put(t, r, "a")
	if err != nil {
		t.Fatal(err)
	}
	waited := make(chan int, 1)
	go func() {
		_, followers := r.WaitAcknowledged(t.Context(), ticket.Position, false, 1)
		waited <- followers
	}()
	time.Sleep(20 * time.Millisecond) // most likely it waits by now; if not, it returns all the same
	if _, err := r.Fence(t.Context(), wire.FenceRequest{Epoch: 2}); err != nil {
		t.Fatal(err)
	}
	select {
	case n := <-waited:
		if n != 0 {
			t.Errorf("on %d followers", n)
		}
	case <-time.After(time.Minute):
		t.Fatal("it still waits")
	}
}

// A handover whose target is not there yet looks again when something has happened, and not because it has looked.
func TestHandoverWaitsWithoutSpinning(t *testing.T) {
	c := newCluster(t)
	disk := &hangFS{FS: vfs.NewMem()}
	c.start("a")
	c.start("b", func(o *Options) { o.FS = disk })
	c.leadSync("a", 0, "b")
	hang := make(chan struct{})
	disk.hang.Store(&hang)
	defer func() {
		disk.hang.Store(nil)
		close(hang)
	}()
	c.fill("more", 1)
	m := c.members["a"].Member
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan error, 1)
	go func() {
		_, err := m.Handover(ctx, wire.HandoverRequest{Epoch: c.epoch, To: "b", HoldMillis: 400})
		over <- err
		cancel()
	}()
	signals := 0
	for ctx.Err() == nil {
		select {
		case <-m.acks.next():
			signals++
		case <-ctx.Done():
		}
	}
	if err := <-over; !replication.IsRefusal(err) {
		t.Errorf("%v, want a refusal: b has not everything", err)
	}
	if signals > 200 { // heartbeats are acknowledged meanwhile
		t.Errorf("woken %d times", signals)
	}
}
