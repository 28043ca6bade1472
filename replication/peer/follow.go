package peer

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// Follower is the following member as its one connection sees it.
type Follower interface {
	// Hello syncs the log and says what it holds.
	Hello(ctx context.Context) (replication.Hello, error)
	// Reply acts on the leader's answer.
	Reply(ctx context.Context, h replication.HelloReply) (replication.Step, error)
	// Append takes what the leader sent; it may return before that is durable. An error ends the stream.
	Append(ctx context.Context, a replication.Append) error
	// Acks has a token whenever Ack has something new to say.
	Acks() <-chan struct{}
	Ack() replication.Ack
	// Seed receives a snapshot and installs it.
	Seed(ctx context.Context, rw io.ReadWriter) error
}

// Follow speaks to the leader at the other end of conn until the connection or ctx ends. It returns nil when a snapshot
// was installed: dial again.
func Follow(ctx context.Context, conn net.Conn, f Follower) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer closeOn(ctx, conn)()
	in := &steadyReader{conn: conn}
	r := bufio.NewReaderSize(in, readBuffer)
	if _, err := io.WriteString(conn, wire.Preface); err != nil {
		return fmt.Errorf("send preface: %w", err)
	}
	for {
		reply, err := greet(ctx, conn, r, f)
		if err != nil {
			return err
		}
		step, err := f.Reply(ctx, reply)
		if err != nil {
			return err
		}
		switch step {
		case replication.StepAgain:
			continue
		case replication.StepSeed:
			_ = conn.SetDeadline(time.Time{})
			return f.Seed(ctx, readWriter{r, conn})
		case replication.StepStream:
			_ = conn.SetDeadline(time.Time{})
			in.idle = 2 * Silence
			go func() { cancel(sendAcks(ctx, conn, f)) }()
			return readAppends(ctx, r, f)
		case replication.StepLeave:
			return fmt.Errorf("leader answered %s: %s", reply.Verdict, reply.Message)
		default:
			return fmt.Errorf("step %d after %s", step, reply.Verdict)
		}
	}
}

func greet(ctx context.Context, conn net.Conn, r *bufio.Reader, f Follower) (replication.HelloReply, error) {
	var reply replication.HelloReply
	hello, err := f.Hello(ctx)
	if err != nil {
		return reply, err
	}
	_ = conn.SetDeadline(time.Now().Add(handshake))
	if err := writeJSON(conn, wire.FrameHello, hello); err != nil {
		return reply, err
	}
	frame, err := wire.ReadFrame(r)
	if err != nil {
		return reply, fmt.Errorf("read answer to hello: %w", err)
	}
	return reply, frame.JSON(wire.FrameHelloReply, &reply)
}

// steadyReader gives every read of conn its own deadline: a frame may take long, as long as bytes of it arrive.
type steadyReader struct {
	conn net.Conn
	idle time.Duration // 0: the connection's deadline is left alone
}

func (r *steadyReader) Read(p []byte) (int, error) {
	if r.idle > 0 {
		_ = r.conn.SetReadDeadline(time.Now().Add(r.idle))
	}
	return r.conn.Read(p)
}

func readAppends(ctx context.Context, r *bufio.Reader, f Follower) error {
	for {
		frame, err := wire.ReadFrame(r)
		if err != nil {
			if cause := context.Cause(ctx); cause != nil {
				return cause
			}
			return err
		}
		a, err := frame.Append()
		if err != nil {
			return err
		}
		if err := f.Append(ctx, a); err != nil {
			return err
		}
	}
}

func sendAcks(ctx context.Context, conn net.Conn, f Follower) error {
	var buf []byte
	for {
		select {
		case <-f.Acks():
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		buf = wire.AppendAck(buf[:0], f.Ack())
		_ = conn.SetWriteDeadline(time.Now().Add(writeStall))
		if _, err := conn.Write(buf); err != nil {
			return fmt.Errorf("send ack: %w", err)
		}
	}
}
