package role

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/meta"
	"github.com/replicatedstore/replicatedstore/replication/wal"
)

// A member reports what was cut from its log as long as the files are there.
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
	if _, err := s.Hello(t.Context()); err != nil {
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

// A process may end between a cut and its count, or before a cut that a seed is to follow. What was cut is kept and
// reported anyway.
func TestCutOutlivesARestart(t *testing.T) {
	const entries = 50
	for name, p := range map[string]replication.Promises{
		"cut, and not counted": {},
		"not cut":              {NeedSeed: true, Uncut: true, CutAfter: 1},
	} {
		t.Run(name, func(t *testing.T) {
			o := options()
			o.RetainEvery, o.LogRetain, o.Segments = 10*time.Millisecond, 1, wal.Options{SegmentBytes: 64 << 10}
			ctx, stop := context.WithCancel(t.Context())
			r, err := Start(ctx, o)
			if err != nil {
				t.Fatal(err)
			}
			lead(t, r, 1, replication.Rule{})
			until(t, "the leader opens", r.Open)
			keep := r.Contents().Log.Pin(1)
			for i := range entries {
				write(t, r, fmt.Sprint(i, strings.Repeat("k", 8<<10)))
			}
			stop()
			<-r.Done()
			keep()
			kept, err := meta.Open(o.FS, o.Dir, meta.Options{Store: o.Store, Member: o.Member})
			if err != nil {
				t.Fatal(err)
			}
			p.Promised, p.Epoch, p.Leader = 2, 2, "other"
			err = kept.Update(func(s *meta.State) { s.Promises = p })
			if !p.Uncut {
				l, _, openErr := wal.Open(o.FS, kept.LogDir(1), wal.Options{QuarantineDir: kept.QuarantineDir()})
				if openErr != nil {
					t.Fatal(openErr)
				}
				_, cutErr := l.Cut(1, "as a leader asked")
				err = errors.Join(err, cutErr, l.Close(), kept.Update(func(s *meta.State) { s.Promises.NeedSeed = true }))
			}
			if err = errors.Join(err, kept.Close()); err != nil {
				t.Fatal(err)
			}

			r = start(t, o)
			time.Sleep(200 * time.Millisecond) // time to prune what is not to be cut, except the last segment
			s := &Session{m: r.Member}
			if err := r.works.Do(t.Context(), func() { r.session = s }); err != nil {
				t.Fatal(err)
			}
			h, err := s.Hello(t.Context())
			if err != nil || !h.Seed || h.Last.Position != 1 {
				t.Fatalf("%+v, %v", h, err)
			}
			until(t, "all entries are told of", func() bool {
				status, err := r.Status(t.Context())
				return err == nil && status.Quarantined == entries
			})
			files, err := wal.ListQuarantine(o.FS, r.meta.QuarantineDir())
			if err != nil || len(files) != 1 || files[0].Entries() != entries {
				t.Errorf("%+v, %v", files, err)
			}
		})
	}
}
