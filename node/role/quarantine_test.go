package role

import (
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/replication"
)

// A member tells of what was cut from its log for as long as the files are there.
func TestQuarantineIsToldOfUntilItIsRemoved(t *testing.T) {
	o := options()
	r := start(t, o)
	lead(t, r, 1, replication.Rule{})
	until(t, "the leader opens", r.Open)
	write(t, r, "a", "b")
	s := &Session{m: r.Member}
	do := func(f func()) {
		t.Helper()
		if err := r.works.Do(t.Context(), f); err != nil {
			t.Fatal(err)
		}
	}
	do(func() {
		if err := r.core.Follow(2, "other", ""); err != nil {
			t.Error(err)
		}
		r.session = s
	})
	if _, err := s.Reply(t.Context(), replication.HelloReply{Verdict: replication.VerdictCut, Epoch: 1, End: 1}); err != nil {
		t.Fatal(err)
	}
	told := func() uint64 {
		status, err := r.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return status.Quarantined
	}
	dir := r.meta.QuarantineDir()
	looked := func() {
		t.Helper()
		do(func() { r.recounting.lookedAt = time.Time{} })
		until(t, "it has looked", func() (done bool) {
			do(func() { done = !r.recounting.lookedAt.IsZero() && !r.recounting.busy })
			return done
		})
	}
	looked()
	if n := told(); n != 2 {
		t.Fatalf("%d entries, want 2", n)
	}
	names, err := o.FS.List(dir)
	if err != nil || len(names) != 1 {
		t.Fatalf("%v, %v", names, err)
	}
	if err := o.FS.Remove(o.FS.PathJoin(dir, names[0])); err != nil {
		t.Fatal(err)
	}
	looked()
	if n := told(); n != 0 {
		t.Errorf("%d entries, want none", n)
	}
}
