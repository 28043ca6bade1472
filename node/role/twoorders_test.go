package role

import (
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// Two orders meet one fsync of a busy leader, such as those of an operator that is late, or never got the first answer.
// The second has the turn and waits for an fsync that the syncer cannot begin, because it waits for the turn to report
// the previous one.
func TestTwoOrdersMeetOneFsync(t *testing.T) {
	fence := func(e replication.Epoch) func(*Runner) error {
		return func(r *Runner) error {
			_, err := r.Fence(t.Context(), wire.FenceRequest{Epoch: e})
			return err
		}
	}
	promote := func(r *Runner) error {
		return r.Promote(t.Context(), wire.PromoteRequest{Epoch: 5, ConfigVersion: 1, Rules: []replication.Rule{{}}, LeaseDurationMillis: 6000})
	}
	for name, orders := range map[string][2]func(*Runner) error{
		"late fences": {fence(3), fence(3)}, "fence and promote": {fence(5), promote}, "promote twice": {promote, promote}, "fence and newer fence": {fence(5), fence(6)},
	} {
		t.Run(name, func(t *testing.T) { twoOrdersMeet(t, orders) })
	}
}

func twoOrdersMeet(t *testing.T, orders [2]func(*Runner) error) {
	fs := &hangFS{FS: vfs.NewMem()}
	o := options()
	o.FS = fs
	r := start(t, o)
	lead(t, r, 5, replication.Rule{})
	until(t, "the leader opens", r.Open)
	hang := make(chan struct{})
	fs.hang.Store(&hang)
	if _, err := put(t, r, "a"); err != nil {
		t.Fatal(err)
	}
	until(t, "its fsync runs", func() bool { return r.Contents().Log.Last().Position > r.Contents().Log.Durable().Position })
	if _, err := put(t, r, "b"); err != nil { // queued meanwhile
		t.Fatal(err)
	}
	answered := make(chan error, len(orders))
	for _, order := range orders {
		go func() { answered <- order(r) }()
		time.Sleep(100 * time.Millisecond) // so that it has the turn, or waits for it
	}
	fs.hang.Store(nil)
	close(hang)
	for n := range orders {
		select {
		case err := <-answered:
			if err != nil && !replication.IsRefusal(err) {
				t.Errorf("order %d: %v", n+1, err)
			}
		case <-time.After(time.Minute):
			t.Fatalf("order %d is not answered; the turn is held for %v", n+1, r.Stuck())
		}
	}
}
