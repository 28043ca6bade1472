package role

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/replicatedstore/replicatedstore/node/store"
	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// An asynchronous leader comes back, and is told to cut what it has committed before all of it is applied. The applier
// does not try to read what was cut.
func TestCutBelowWhatIsBeingApplied(t *testing.T) {
	r := start(t, options())
	lead(t, r, 1, replication.Rule{})
	until(t, "the leader opens", r.Open)
	write(t, r, "a", "b")
	g, s := r.Generation(), &Session{m: r.Member}
	// The applier is slow: it knows that more is committed, but has not read it yet.
	if err := r.works.Do(t.Context(), func() {
		if err := r.core.Extend(4, 2, []byte{1, 'x', 1, 'y'}, 1); err != nil {
			t.Error(err)
		}
		if _, err := g.Log.Sync(); err != nil {
			t.Error(err)
		}
		r.core.OnDurable(r.opt.Now())
		r.works.apply.target.Store(uint64(r.core.Commit()))
		if err := r.core.Follow(2, "other", ""); err != nil {
			t.Error(err)
		}
		r.session = s
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Reply(t.Context(), replication.HelloReply{Verdict: replication.VerdictCut, Epoch: 1, End: 1}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Hello(t.Context()); err != nil {
		t.Fatal(err)
	}
	if end := g.Log.Last().Position; end != 1 {
		t.Fatalf("the log ends at %d", end)
	}
	var a *applier
	if err := r.works.Do(t.Context(), func() { a = r.works.apply; nudge(a.wake) }); err != nil {
		t.Fatal(err)
	}
	until(t, "the applier has been woken", func() bool { return len(a.wake) == 0 })
	nudge(a.wake) // consumed only after the applier has read
	until(t, "the applier has looked", func() bool { return len(a.wake) == 0 || len(r.works.fatal) > 0 })
	select {
	case err := <-r.Failed():
		t.Fatalf("the member ended: %v", err)
	default:
	}
}

// crowd makes r write until nothing more seems to be applied.
func crowd(t *testing.T, r *Runner) {
	t.Helper()
	g := r.Generation()
	for {
		ticket, err := g.Seq.Run(t.Context(), func(b *store.Batch) {
			b.Begin().Put(fmt.Appendf(nil, "k:%d", g.Log.Last().Position), store.Value{Type: store.TypeString, Data: filler})
			if err := b.End(); err != nil {
				t.Error(err)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, end := context.WithTimeout(t.Context(), 3*time.Second)
		err = g.Seq.Wait(ctx, ticket)
		end()
		if err != nil && g.Machine.Applied().Position < g.Log.Last().Position {
			return
		}
	}
}

// A member that is to cut its log answers even while its applier waits for room, which may take as long as the volume is
// full; afterwards it continues with the same state.
func TestCutWhileApplyingWaitsForRoom(t *testing.T) {
	fs := newBlockedFS(errorfs.OpCreate, ".sst")
	o := options()
	o.FS, o.Memory, o.LogRetain = fs, 1<<20, 1<<30
	r := start(t, o)
	lead(t, r, 1, replication.Rule{})
	until(t, "the leader opens", r.Open)
	g, s := r.Generation(), &Session{m: r.Member}
	var last replication.Record // will be cut, and was not applied
	var committed replication.Position
	for last.First == 0 {
		crowd(t, r)
		if err := r.works.Do(t.Context(), func() {
			committed = r.core.Commit()
			for next := g.Machine.Applied().Position + 1; next <= g.Log.Last().Position; next = last.Last() + 1 {
				recs, err := g.Log.Read(next, 1, nil)
				if err != nil {
					t.Error(err)
					return
				}
				last = recs[0]
			}
			if last.First == 0 {
				return // it was only slow
			}
			if err := r.core.Follow(2, "other", ""); err != nil {
				t.Error(err)
			}
			r.session = s
		}); err != nil || t.Failed() {
			t.Fatal(err)
		}
	}
	ended := make(chan error, 1)
	go func() {
		_, err := s.Reply(t.Context(), replication.HelloReply{Verdict: replication.VerdictCut, Epoch: 1, End: last.First - 1})
		if err == nil {
			_, err = s.Hello(t.Context())
		}
		ended <- err
	}()
	ctx, end := context.WithTimeout(t.Context(), time.Minute)
	defer end()
	select {
	case err := <-ended:
		if err != nil {
			t.Fatal(err)
		}
	case <-ctx.Done():
		close(fs.goOn)
		t.Fatal("the cut waits for room")
	}
	if _, err := r.Fence(ctx, wire.FenceRequest{Epoch: 3}); err != nil {
		t.Error(err)
	}
	close(fs.goOn)
	// What is cut may have been applied just before: the state is replaced then.
	until(t, "all that is left is applied", func() bool { return g.Machine.Applied().Position >= min(committed, g.Log.Last().Position) })
	select {
	case err := <-r.Failed():
		t.Fatalf("the member ended: %v", err)
	default:
	}
}
