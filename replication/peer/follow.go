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
	// Hello syncs the log and says what it holds.
	Hello(ctx context.Context) (replication.Hello, error)
	// Reply acts on the leader's answer.
	Reply(ctx context.Context, h replication.HelloReply) (replication.Step, error)
	// Append takes what the leader sent; it may return before that is durable. An error ends the stream.
	Append(ctx context.Context, a replication.Append) error
	// Arriving is called every Heartbeat while one message arrives, no slower than leastRate. It does not wait.
	Arriving()
	// Acks has a token whenever Ack has something new to say.
	Acks() <-chan struct{}
	Ack() replication.Ack
	// Direct lends a function that sends Ack at once, in place of a token in Acks; it does not wait, and is false when that did not
	// work: then a token is due. nil ends that.
	Direct(send func() bool)
	// Seed receives a snapshot and installs it.
	Seed(ctx context.Context, rw io.ReadWriter) error
	// Source is the peer port of the follower that the leader named to fetch a snapshot from, and what to say there.
	Source() (address string, h replication.Hello)
	// SourceFailed tells that Source sends none, and why.
	SourceFailed(ctx context.Context, err error)
}

// Dialer opens a connection to a peer port.
type Dialer func(ctx context.Context, address string) (net.Conn, error)

// Follow speaks to the leader at the other end of conn until the connection or ctx ends. It returns nil when a snapshot
// was installed: dial again.
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

// fetch gets a snapshot from a follower that the leader named. Every failure is the source's, unless ctx ends.
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

// awaitEnd returns when the leader ends a connection on which it has nothing to say while another member seeds.
func awaitEnd(r *bufio.Reader) error {
	if _, err := r.ReadByte(); err != nil {
		return fmt.Errorf("the leader ended the connection that its log is held for: %w", err)
	}
	return fmt.Errorf("%w: a message of the leader while another member seeds", wire.ErrFrame)
}

// steadyReader gives every read of conn its own deadline: a frame may take long, as long as bytes of it arrive.
type steadyReader struct {
	conn net.Conn
	idle time.Duration // 0: the connection's deadline is left alone
	// arriving is told every Heartbeat while one frame arrives at leastRate; nil: nobody is. since is when it was last, or when the frame's
	// first bytes came; zero: none have. got is what came since.
	arriving func()
	since    time.Time
	got      int
}

// leastRate is what arrives at least of a frame whose sender counts as heard by that, in bytes a second: no less than it takes to send.
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
		case d >= 2*Heartbeat: // a pause is not to be made up for
			r.since, r.got = now, 0
		}
	}
	return n, err
}

// seedIdle is how long either side of a seed waits for the other to take or to send anything: what hangs must not hold up
// a seed that another source, or a later attempt, would finish.
const seedIdle = 30 * time.Second

// steady is conn for a seed, which may take any time as long as bytes move. r has read from conn, and may hold some of it.
func steady(conn net.Conn, r *bufio.Reader) io.ReadWriteCloser {
	_ = conn.SetDeadline(time.Time{})
	return steadyConn{conn, r}
}

// steadyConn gives every read and every write its own deadline.
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

// readAppends reads from r, which reads from in.
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

// sendAcks sends those that could not be sent at once.
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
