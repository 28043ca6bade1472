package role

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// An abandoned connection may still be writing a seed to a slow disk. Until it has ended, nothing else begins: neither
// the connection to the next leader, which would write the same files, nor the release of the process's lock on the
// directory.
func TestConnectionsOfAFollowerDoNotOverlap(t *testing.T) {
	o := options()
	dialled, slow := make(chan string, 8), make(chan struct{})
	o.Dial = func(_ context.Context, address string) (net.Conn, error) {
		dialled <- address
		<-slow // a disk ignores contexts
		return nil, errors.New("nobody there")
	}
	ctx, stop := context.WithCancel(t.Context())
	r, err := Start(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	follow := func(e replication.Epoch, leader string) {
		if err := r.Follow(t.Context(), wire.FollowRequest{Epoch: e, Leader: leader, Address: leader + ":1"}); err != nil {
			t.Fatal(err)
		}
	}
	follow(1, "a")
	if a := <-dialled; a != "a:1" {
		t.Fatalf("dialled %s first", a)
	}
	follow(2, "b")
	stop()
	select {
	case a := <-dialled:
		t.Fatalf("dialled %s while the connection before was not done", a)
	case <-r.Done():
		t.Fatal("closed the directory while a connection was not done")
	case <-time.After(100 * time.Millisecond):
	}
	close(slow)
	<-r.Done()
}

// A follower that cannot take a snapshot, for lack of room for example, backs off before it asks again.
func TestFailedSeedIsNoProgress(t *testing.T) {
	r := start(t, options())
	s := &Session{m: r.Member, link: &Link{target: target{leader: "other"}}}
	if err := r.works.Do(t.Context(), func() {
		if err := r.core.Follow(1, "other", ""); err != nil {
			t.Error(err)
		}
		r.session = s
	}); err != nil {
		t.Fatal(err)
	}
	step, err := s.Reply(t.Context(), replication.HelloReply{Verdict: replication.VerdictSeed})
	if step != replication.StepSeed || err != nil {
		t.Fatalf("step %d, %v", step, err)
	}
	conn, _ := net.Pipe()
	_ = conn.Close()
	if err := s.Seed(t.Context(), conn); err == nil || s.streamed {
		t.Fatalf("a seed that ended with %v counts as progress: %t", err, s.streamed)
	}
}
