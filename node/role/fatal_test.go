package role

import (
	"context"
	"errors"
	"testing"

	"github.com/replicatedstore/replicatedstore/node/store"
	"github.com/replicatedstore/replicatedstore/replication"
)

// Clients keep writing between the log's failure and the end of the process. An entry that follows one that is not in the
// log cannot be appended: the leadership ends, and nothing else.
func TestLeaderWhoseLogFailedTakesNoMoreWrites(t *testing.T) {
	r := start(t, options())
	lead(t, r, 1, replication.Rule{})
	until(t, "the leader opens", r.Open)
	seq := r.Generation().Seq
	if err := r.Generation().Log.Close(); err != nil {
		t.Fatal(err)
	}
	ticket, err := put(t, r, "a")
	if err != nil {
		t.Fatal(err)
	}
	if err := <-r.Failed(); err == nil {
		t.Fatal("the failed log did not end the process")
	}
	for range 3 {
		if _, err := put(t, r, "b"); err == nil {
			until(t, "the next write is taken or refused", func() bool { return !r.Open() || len(seq.Pending()) == 0 })
		}
	}
	if err := seq.Wait(t.Context(), ticket); !errors.Is(err, store.ErrOutcomeUnknown) {
		t.Fatalf("a write that is not in the log: %v", err)
	}
	until(t, "the leadership ends", func() bool { return r.Role() == replication.RoleWaiting })
}

// A snapshot that cannot be put in force ends the process in order.
func TestFailedReplacementEndsInOrder(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	r, err := Start(ctx, options())
	if err != nil {
		t.Fatal(err)
	}
	broken := errors.New("disk is gone")
	if err := r.works.Do(ctx, func() { _ = r.final(r.replace(func() error { return broken })) }); err != nil {
		t.Fatal(err)
	}
	if err := <-r.Failed(); !errors.Is(err, broken) {
		t.Fatalf("ended by %v", err)
	}
	stop()
	<-r.Done()
}
