package peer

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// fakeLeader gives out one stream.
type fakeLeader struct {
	stream *Stream
	hello  func()
	ended  chan *Stream
}

func (l *fakeLeader) Hello(context.Context, replication.Hello) (replication.HelloReply, *Stream, error) {
	if l.hello != nil {
		l.hello()
	}
	return replication.HelloReply{Verdict: replication.VerdictStream}, l.stream, nil
}
func (l *fakeLeader) Ack(replication.Voter, replication.Ack) {}
func (l *fakeLeader) End(_ replication.Voter, s *Stream)     { l.ended <- s }
func (l *fakeLeader) Seed(context.Context, replication.Hello, io.ReadWriteCloser) error {
	return errors.New("no seeds here")
}

// greetLeader says Hello over conn, as a follower that holds nothing.
func greetLeader(conn net.Conn) error {
	if _, err := io.WriteString(conn, wire.Preface); err != nil {
		return err
	}
	return writeJSON(conn, wire.FrameHello, replication.Hello{Store: "s", Member: "f", Incarnation: "i", Epoch: 1})
}

// patient is a connection without deadlines: a busy machine may let one pass.
type patient struct{ net.Conn }

func (patient) SetDeadline(time.Time) error      { return nil }
func (patient) SetReadDeadline(time.Time) error  { return nil }
func (patient) SetWriteDeadline(time.Time) error { return nil }

// A stream that was given out is returned, even if the follower is gone before it hears of it.
func TestStreamIsGivenBackWhenTheFollowerIsGone(t *testing.T) {
	here, there := net.Pipe()
	l := &fakeLeader{ended: make(chan *Stream, 1), hello: func() { _ = there.Close() }, stream: &Stream{Epoch: 1}}
	served := make(chan error, 1)
	go func() { served <- Serve(t.Context(), patient{here}, l) }()
	if err := greetLeader(there); err != nil {
		t.Fatal(err)
	}
	if err := <-served; err == nil {
		t.Fatal("served a follower that was gone")
	}
	select {
	case s := <-l.ended:
		if s != l.stream {
			t.Fatal("another stream was given back")
		}
	default:
		t.Fatal("the leader was not told that the stream is gone: it would take the follower for live for ever")
	}
}
