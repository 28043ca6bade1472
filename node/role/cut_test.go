package role

import (
	"testing"

	"github.com/replicatedstore/replicatedstore/replication"
)

// An asynchronous leader comes back, and is told to cut what it has committed before all of it is applied: what is cut is not
// asked for any more.
func TestCutBelowWhatIsBeingApplied(t *testing.T) {
	r := start(t, options())
	lead(t, r, 1, replication.Rule{})
	until(t, "the leader opens", r.Open)
	write(t, r, "a", "b")
	g, s := r.Generation(), &Session{m: r.Member}
	// The applier is slow: it knows that more is committed, and has not looked yet.
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
	if end := g.Log.Last().Position; end != 1 {
		t.Fatalf("the log ends at %d", end)
	}
	var a *applier
	if err := r.works.Do(t.Context(), func() { a = r.works.apply; nudge(a.wake) }); err != nil {
		t.Fatal(err)
	}
	until(t, "the applier has been woken", func() bool { return len(a.wake) == 0 })
	nudge(a.wake) // taken only after it has looked
	until(t, "the applier has looked", func() bool { return len(a.wake) == 0 || len(r.works.fatal) > 0 })
	select {
	case err := <-r.Failed():
		t.Fatalf("the member ended: %v", err)
	default:
	}
}
