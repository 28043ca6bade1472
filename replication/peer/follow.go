package peer

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// Follower is the following member as its one connection sees it.
type Follower interface {
	// Hello syncs the log and returns what to say to the leader.
	Hello(ctx context.Context) (replication.Hello, error)
	// Reply acts on the leader's answer.
	Reply(ctx context.Context, h replication.HelloReply) (replication.Step, error)
	// Append takes what the leader sent. It may return before that is durable. An error ends the stream.
	Append(ctx context.Context, a replication.Append) error
	// Arriving is called every Heartbeat while a single message arrives, provided it arrives at leastRate or faster. It
	// does not block.
	Arriving()
	// Acks has a token whenever Ack has something new to report.
	Acks() <-chan struct{}
	Ack() replication.Ack
	// Direct provides a function that sends the current Ack at once, as an alternative to a token in Acks. The function
	// does not block. It returns false if it could not send; then a token is due. Direct(nil) withdraws it.
	Direct(send func() bool)
	// Seed receives a snapshot and installs it.
	Seed(ctx context.Context, rw io.ReadWriter) error
	// Source returns the peer port of the follower that the leader named as the source of a snapshot, and what to say
	// there.
	Source() (address string, h replication.Hello)
	// SourceFailed reports that Source sends no snapshot, and why.
	SourceFailed(ctx context.Context, err error)
}

// Dialer opens a connection to a peer port.
type Dialer func(ctx context.Context, address string) (net.Conn, error)

// Follow talks to the leader at the other end of conn until the connection or ctx ends. It returns nil after a snapshot was
// installed; then dial again.
func Follow(ctx context.Context, conn net.Conn, dial Dialer, f Follower) error {
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
			return f.Seed(ctx, steady(conn, r))
		case replication.StepFetch:
			_ = conn.SetDeadline(time.Time{})
			go func() { cancel(awaitEnd(r)) }()
			return fetch(ctx, dial, f)
		case replication.StepStream:
			_ = conn.SetDeadline(time.Time{})
			in.idle, in.arriving = 2*Silence, f.Arriving
			w := newWriter(conn)
			encode := func(b []byte) []byte { return wire.AppendAck(b, f.Ack()) }
			f.Direct(func() bool { return w.atOnce(encode) })
			defer f.Direct(nil)
			go func() { cancel(sendAcks(ctx, w, encode, f.Acks())) }()
			return readAppends(ctx, in, r, f)
		case replication.StepLeave, replication.StepRenew:
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

// fetch gets a snapshot from a follower that the leader named. Every failure is attributed to the source, unless ctx ends.
func fetch(ctx context.Context, dial Dialer, f Follower) error {
	address, hello := f.Source()
	conn, r, err := greetSource(ctx, dial, address, hello)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		err = fmt.Errorf("fetch a snapshot from %s: %w", address, err)
		f.SourceFailed(ctx, err)
		return err
	}
	defer closeOn(ctx, conn)()
	if err := f.Seed(ctx, steady(conn, r)); err != nil {
		return errors.Join(err, context.Cause(ctx))
	}
	return nil
}

func greetSource(ctx context.Context, dial Dialer, address string, hello replication.Hello) (net.Conn, *bufio.Reader, error) {
	ctx, cancel := context.WithTimeout(ctx, handshake)
	defer cancel()
	conn, err := dial(ctx, address)
	if err != nil {
		return nil, nil, err
	}
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	r := bufio.NewReaderSize(conn, readBuffer)
	reply, err := ask(conn, r, hello)
	if err == nil && reply.Verdict != replication.VerdictSeed {
		err = fmt.Errorf("it answered %s: %s", reply.Verdict, reply.Message)
	}
	if err != nil {
		return nil, nil, errors.Join(err, conn.Close())
	}
	return conn, r, nil
}

// ask opens the conversation with a source.
func ask(conn net.Conn, r *bufio.Reader, hello replication.Hello) (reply replication.HelloReply, err error) {
	if _, err := io.WriteString(conn, wire.Preface); err != nil {
		return reply, fmt.Errorf("send preface: %w", err)
	}
	if err := writeJSON(conn, wire.FrameHello, hello); err != nil {
		return reply, err
	}
	frame, err := wire.ReadFrame(r)
	if err != nil {
		return reply, fmt.Errorf("read answer to hello: %w", err)
	}
	return reply, frame.JSON(wire.FrameHelloReply, &reply)
}

// awaitEnd returns when the leader ends the connection, on which it says nothing while another member sends the seed.
func awaitEnd(r *bufio.Reader) error {
	if _, err := r.ReadByte(); err != nil {
		return fmt.Errorf("the leader ended the connection that its log is held for: %w", err)
	}
	return fmt.Errorf("%w: a message of the leader while another member seeds", wire.ErrFrame)
}

// steadyReader gives each read of conn a deadline of its own: a frame may take long, as long as its bytes keep arriving.
type steadyReader struct {
	conn net.Conn
	idle time.Duration // 0: the connection's deadline is left alone
	// arriving, unless nil, is called every Heartbeat while a single frame arrives at leastRate. since is the time of the
	// last call, or of the frame's first bytes; it is zero before those. got counts the bytes since then.
	arriving func()
	since    time.Time
	got      int
}

// leastRate is the rate in bytes per second at which a frame must at least arrive for its sender to count as heard. A
// slower sender would run into writeStall.
const leastRate = maxBatch / int(writeStall/time.Second)

func (r *steadyReader) Read(p []byte) (int, error) {
	if r.idle > 0 {
		_ = r.conn.SetReadDeadline(time.Now().Add(r.idle))
	}
	n, err := r.conn.Read(p)
	if r.arriving != nil && n > 0 {
		now := time.Now()
		if r.since.IsZero() {
			r.since, r.got = now, 0
		}
		r.got += n
		switch d := now.Sub(r.since); {
		case d >= Heartbeat && float64(r.got) >= d.Seconds()*float64(leastRate):
			r.since, r.got = now, 0
			r.arriving()
		case d >= 2*Heartbeat: // do not let it catch up after a pause
			r.since, r.got = now, 0
		}
	}
	return n, err
}

// seedIdle is how long either side of a seed waits for the other to accept or send anything. A peer that hangs must not
// hold up a seed that another source, or a later attempt, would finish.
const seedIdle = 30 * time.Second

// steady wraps conn for a seed, which may take any time as long as bytes move. r reads from conn and may have buffered some
// of it.
func steady(conn net.Conn, r *bufio.Reader) io.ReadWriteCloser {
	_ = conn.SetDeadline(time.Time{})
	return steadyConn{conn, r}
}

// steadyConn gives each read and each write a deadline of its own.
type steadyConn struct {
	net.Conn
	r *bufio.Reader
}

func (c steadyConn) Read(p []byte) (int, error) {
	_ = c.Conn.SetReadDeadline(time.Now().Add(seedIdle))
	return c.r.Read(p)
}

func (c steadyConn) Write(p []byte) (int, error) {
	_ = c.Conn.SetWriteDeadline(time.Now().Add(seedIdle))
	return c.Conn.Write(p)
}

// readAppends passes on the Appends that it reads from r, which reads from in.
func readAppends(ctx context.Context, in *steadyReader, r *bufio.Reader, f Follower) error {
	for {
		in.since = time.Time{}
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

// sendAcks sends the Acks that could not be sent at once.
func sendAcks(ctx context.Context, w *writer, encode func([]byte) []byte, acks <-chan struct{}) error {
	for {
		select {
		case <-acks:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if err := w.write(encode); err != nil {
			return fmt.Errorf("send ack: %w", err)
		}
	}
}
