package role

import (
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/go-logr/logr"

	"github.com/replicatedstore/replicatedstore/node/store"
	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// options returns the options of a member named m, in memory.
func options() Options {
	return Options{FS: vfs.NewMem(), Dir: "d", Store: "s", Member: "m", Log: logr.Discard(), Memory: 32 << 20, LogRetain: 1 << 20}
}

func start(t *testing.T, o Options) *Runner {
	t.Helper()
	r, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// writeTimeout is the write timeout that lead gives leaders.
const writeTimeout = 4321 * time.Millisecond

// lead makes r the leader of epoch e.
func lead(t *testing.T, r *Runner, e replication.Epoch, rules ...replication.Rule) {
	t.Helper()
	f, err := r.Fence(t.Context(), wire.FenceRequest{Epoch: e})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Promote(t.Context(), wire.PromoteRequest{
		Epoch: e, ConfigVersion: 1, Rules: rules, Start: f.Last, LeaseDurationMillis: 6000, SyncTimeoutMillis: writeTimeout.Milliseconds(),
	}); err != nil {
		t.Fatal(err)
	}
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	untilMoving(t, what, func() (done, moved bool) { return ok(), false })
}

// untilMoving is like until for work that may take long on a busy machine: what has moved has its full time again.
func untilMoving(t *testing.T, what string, look func() (done, moved bool)) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(2 * time.Millisecond) {
		done, moved := look()
		switch {
		case done:
			return
		case moved:
			deadline = time.Now().Add(time.Minute)
		case time.Now().After(deadline):
			t.Fatalf("not in time: %s", what)
		}
	}
}

// write writes keys, one after the other, and waits for each.
func write(t *testing.T, r *Runner, keys ...string) {
	t.Helper()
	for _, key := range keys {
		ticket, err := put(t, r, key)
		if err == nil {
			err = r.Generation().Seq.Wait(t.Context(), ticket)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// put queues one write.
func put(t *testing.T, r *Runner, key string) (store.Ticket, error) {
	t.Helper()
	return r.Generation().Seq.Run(t.Context(), func(b *store.Batch) {
		b.Begin().Put([]byte(key), store.Value{Type: store.TypeString, Data: []byte("v")})
		if err := b.End(); err != nil {
			t.Error(err)
		}
	})
}
