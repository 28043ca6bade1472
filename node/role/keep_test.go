package role

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/wal"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// deposed makes r, which leads epoch 1, follow another leader over the session it returns.
func deposed(t *testing.T, r *Runner) *Session {
	t.Helper()
	s := &Session{m: r.Member}
	if err := r.works.Do(t.Context(), func() {
		if err := r.core.Follow(2, "other", ""); err != nil {
			t.Error(err)
		}
		r.session = s
	}); err != nil {
		t.Fatal(err)
	}
	return s
}

// sayHello has s told to cut all but the first record, and carries that out.
func sayHello(ctx context.Context, s *Session) error {
	step, err := s.Reply(ctx, replication.HelloReply{Verdict: replication.VerdictCut, Epoch: 1, End: 1})
	if err == nil && step != replication.StepAgain {
		err = fmt.Errorf("step %d", step)
	}
	if err == nil {
		_, err = s.Hello(ctx)
	}
	return err
}

// keeping returns a member that is keeping what it has to cut, with its first write blocked, and the outcome of its
// hello.
func keeping(t *testing.T, ctx context.Context) (fs blockedFS, r *Runner, s *Session, said chan error) {
	t.Helper()
	fs = newBlockedFS(errorfs.OpFileWrite, "quarantine")
	o := options()
	o.FS = fs
	r = start(t, o)
	lead(t, r, 1, replication.Rule{})
	until(t, "the leader opens", r.Open)
	write(t, r, "a", "b")
	s = deposed(t, r)
	said = make(chan error, 1)
	go func() { said <- sayHello(ctx, s) }()
	<-fs.began
	return fs, r, s, said
}

// A member answers however long it takes to keep what it is to cut, and reports meanwhile that its state is of no use.
func TestAMemberAnswersWhileItKeepsWhatItCuts(t *testing.T) {
	fs, r, _, said := keeping(t, t.Context())
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if status, err := r.Status(ctx); err != nil || !status.NeedSeed || status.Quarantined != 0 || status.Last.Position != 3 {
		t.Errorf("%+v, %v", status, err)
	}
	if f, err := r.Fence(ctx, wire.FenceRequest{Epoch: 3}); err != nil || !f.Seeding {
		t.Errorf("%+v, %v", f, err)
	}
	close(fs.goOn)
	if err := <-said; err != nil {
		t.Fatal(err)
	}
	if status, err := r.Status(t.Context()); err != nil || status.Quarantined != 2 || status.Last.Position != 1 {
		t.Errorf("%+v, %v", status, err)
	}
	files, err := wal.ListQuarantine(fs, r.meta.QuarantineDir())
	if err != nil || len(files) != 1 || files[0].Entries() != 2 {
		t.Errorf("%+v, %v", files, err)
	}
}

// Keeping entries for a leader that is no longer followed is abandoned: the next leader does not wait for it.
func TestKeepingEndsWithTheConnection(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	fs, r, s, said := keeping(t, ctx)
	cancel()
	close(fs.goOn)
	if err := <-said; !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v", err)
	}
	if status, err := r.Status(t.Context()); err != nil || status.Last.Position != 3 || !status.NeedSeed {
		t.Errorf("%+v, %v", status, err)
	}
	if _, err := s.Hello(t.Context()); err != nil {
		t.Fatal(err)
	}
	if status, err := r.Status(t.Context()); err != nil || status.Quarantined != 2 || status.Last.Position != 1 {
		t.Errorf("%+v, %v", status, err)
	}
	select {
	case err := <-r.Failed():
		t.Errorf("the member ended: %v", err)
	default:
	}
}

// What was kept for a cut that does not happen, because another leader is followed by then, does not stay on the volume.
func TestWhatWasKeptForNoCutGoes(t *testing.T) {
	fs, r, _, said := keeping(t, t.Context())
	if err := r.works.Do(t.Context(), func() { r.session = nil }); err != nil {
		t.Fatal(err)
	}
	close(fs.goOn)
	if err := <-said; !errors.Is(err, errRetargeted) {
		t.Errorf("it ended with %v", err)
	}
	if names, err := fs.List(r.meta.QuarantineDir()); err != nil || len(names) > 0 {
		t.Errorf("%v, %v", names, err)
	}
}
