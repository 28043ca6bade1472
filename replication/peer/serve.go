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

// Timing of streams. All of these are transport deadlines; none of them decides who leads.
const (
	// Heartbeat is how often a leader that has nothing to send sends a heartbeat.
	Heartbeat = 100 * time.Millisecond
	// Silence is how long a follower waits for its leader before it reports the leader lost.
	Silence = time.Second
	// handshake bounds each step of the conversation before the stream.
	handshake = 5 * time.Second
	// writeStall bounds one write of up to maxBatch bytes. A follower that accepts nothing for this long is cut off; it
	// reconnects by itself.
	writeStall = 5 * time.Second
	readBuffer = 64 << 10
)

// Leader is the leading member as its connections see it. Its methods may be called from many goroutines.
type Leader interface {
	// Hello judges a follower. It returns a Stream if the verdict is VerdictStream.
	Hello(ctx context.Context, h replication.Hello) (replication.HelloReply, *Stream, error)
	// Ack passes on an acknowledgement.
	Ack(from replication.Voter, a replication.Ack)
	// End reports that the follower's connection is gone.
	End(from replication.Voter, s *Stream)
	// Seed is always called after VerdictSeed, and returns when the seed is over. It sends a snapshot over the connection,
	// which is closed afterwards; closing the connection earlier ends the seed. If the reply named another source, Seed
	// waits until the follower closes the connection.
	Seed(ctx context.Context, h replication.Hello, rw io.ReadWriteCloser) error
}

// Stream is what the leader gives to one follower's connection.
type Stream struct {
	Epoch replication.Epoch
	Log   Reader
	// Holds is the position up to which the follower shares the leader's log.
	Holds replication.Position
	// Wake has capacity for one token. It gets one when the log has grown and the new records should be sent. The log is
	// also checked whenever there is something else to send, at the latest with the next heartbeat.
	Wake chan struct{}
	// Done is closed when the leadership ends, before Log or Ends show anything of the next one, or when a newer connection
	// of the same follower takes over.
	Done <-chan struct{}
	// Ends returns the current end of the log and commit position.
	Ends func() (last, commit replication.Position)
	// Clock returns the leader's monotonic time.
	Clock func() time.Duration
	// Deaf reports whether the leader has not heard from enough of its voters for a while; nil means never. It never
	// blocks, so that it tells the truth even about a leader that hangs.
	Deaf func() bool
	// Hung reports whether the leader's disk fails to complete writes; nil means never. A hung leader sends no heartbeats,
	// because its followers must not vouch for it. Hung never blocks either.
	Hung func() bool
	// Version returns the version of the commit rules that the leader obeys; nil means 0. It never blocks either.
	Version func() uint64
}

// Due reports whether a, which the stream's Sender has made, should be sent.
func (s *Stream) Due(a replication.Append) bool {
	return len(a.Records) > 0 || !s.hung()
}

func (s *Stream) deaf() bool { return s.Deaf != nil && s.Deaf() }

// hung reports whether the leader must not be heard now.
func (s *Stream) hung() bool { return s.Hung != nil && s.Hung() }

// Serve talks to one follower until the connection or ctx ends. The error says why; it is io.EOF if the follower left.
func Serve(ctx context.Context, conn net.Conn, l Leader) error {
	defer closeOn(ctx, conn)()
	r := bufio.NewReaderSize(conn, readBuffer)
	_ = conn.SetDeadline(time.Now().Add(handshake))
	var preface [len(wire.Preface)]byte
	if _, err := io.ReadFull(r, preface[:]); err != nil {
		return fmt.Errorf("read preface: %w", err)
	}
	if string(preface[:]) != wire.Preface {
		return fmt.Errorf("%w: preface %q is not this version's", wire.ErrFrame, preface[:])
	}
	for {
		_ = conn.SetDeadline(time.Now().Add(handshake))
		f, err := wire.ReadFrame(r)
		if err != nil {
			return err
		}
		var h replication.Hello
		if err := f.JSON(wire.FrameHello, &h); err != nil {
			return err
		}
		h.Address = reachable(h.Address, conn)
		reply, stream, err := l.Hello(ctx, h)
		if err != nil {
			return err
		}
		if err := writeJSON(conn, wire.FrameHelloReply, reply); err != nil {
			// The leader relies on being told that the conversation is over.
			switch {
			case stream != nil:
				l.End(replication.Voter{Member: h.Member, Incarnation: h.Incarnation}, stream)
			case reply.Verdict == replication.VerdictSeed:
				_ = conn.Close()
				_ = l.Seed(ctx, h, conn)
			}
			return err
		}
		switch reply.Verdict {
		case replication.VerdictCut:
			continue
		case replication.VerdictStream:
			return serveStream(ctx, conn, r, h, l, stream)
		case replication.VerdictSeed:
			if reply.Source == nil {
				return l.Seed(ctx, h, steady(conn, r))
			}
			_ = conn.SetDeadline(time.Time{})
			return l.Seed(ctx, h, readWriter{r, conn})
		case replication.VerdictRefuse:
			return fmt.Errorf("refused %s: %s", h.Member, reply.Message)
		default:
			return fmt.Errorf("verdict %q for %s", reply.Verdict, h.Member)
		}
	}
}

// reachable completes a follower's address: one without a host gets that of the connection.
func reachable(address string, conn net.Conn) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil || host != "" {
		return address
	}
	if remote, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		return net.JoinHostPort(remote.IP.String(), port)
	}
	return ""
}

// readWriter is a connection whose reads go through the buffer that the handshake has filled.
type readWriter struct {
	*bufio.Reader
	io.WriteCloser
}

// serveStream writes Appends and concurrently reads Acks.
func serveStream(ctx context.Context, conn net.Conn, r *bufio.Reader, h replication.Hello, l Leader, s *Stream) error {
	from := replication.Voter{Member: h.Member, Incarnation: h.Incarnation}
	defer l.End(from, s)
	_ = conn.SetDeadline(time.Time{})
	acks := make(chan error, 1)
	go func() { acks <- readAcks(r, from, l) }()
	err := writeAppends(ctx, conn, s, acks)
	_ = conn.Close() // ends readAcks
	return err
}

func readAcks(r *bufio.Reader, from replication.Voter, l Leader) error {
	for {
		f, err := wire.ReadFrame(r)
		if err != nil {
			return err
		}
		a, err := f.Ack()
		if err != nil {
			return err
		}
		l.Ack(from, a)
	}
}

// Next returns what sender should send next, and whether it is due.
func (s *Stream) Next(sender *Sender) (replication.Append, bool, error) {
	last, commit := s.Ends()
	a, due, err := sender.Next(last, commit, s.Clock())
	if s.Version != nil {
		a.Version = s.Version()
	}
	a.Deaf = due && len(a.Records) == 0 && s.deaf()
	return a, due, err
}

var errDone = errors.New("the leadership ended or a newer connection took over")

func writeAppends(ctx context.Context, conn net.Conn, s *Stream, acks <-chan error) error {
	sender := NewSender(s.Log, s.Epoch, s.Holds, Heartbeat)
	again := time.NewTimer(Heartbeat)
	defer again.Stop()
	var head []byte
	for {
		a, due, err := s.Next(sender)
		if err != nil {
			return fmt.Errorf("read the log at %d: %w", sender.next, err)
		}
		// Check only after reading: once the leadership is over, log and commit position may be those of another epoch.
		select {
		case <-s.Done:
			return errDone
		default:
		}
		if due && s.Due(a) {
			head = head[:0]
			told := long(a.Records) && s.deaf()
			if told {
				head = wire.AppendHeader(head, replication.Append{Epoch: a.Epoch, Commit: a.Commit, Sent: a.Sent, Version: a.Version, Deaf: true})
			}
			head = wire.AppendHeader(head, a)
			if err := send(conn, head, a.Records, s.mute(told)); err != nil {
				return fmt.Errorf("send up to %d: %w", sender.next-1, err)
			}
			if len(a.Records) > 0 {
				continue
			}
		}
		again.Reset(sender.Wait(s.Clock()))
		select {
		case <-s.Wake:
		case <-again.C:
		case err := <-acks:
			return err
		case <-s.Done:
			return errDone
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// long reports whether recs starts with a record larger than a batch. While such a record arrives, its sender counts as
// heard, so a deaf leader announces that it is deaf before the record. The receiver may be the very follower that the
// leader fails to hear.
func long(recs []replication.Record) bool { return len(recs) > 0 && len(recs[0].Raw) > maxBatch }

var (
	errHung = errors.New("this leader's disk hangs")
	errDeaf = errors.New("this leader hears too few voters")
)

// mute returns a function that is called between the pieces of a large record. It returns an error if nothing more may
// follow, because whatever arrives makes the follower take the leader for alive. A leader that becomes deaf while it sends
// a record, and stays deaf for writeStall, ends the stream, and announces that it is deaf before it sends the record again.
// told means that it has announced it already.
func (s *Stream) mute(told bool) func() error {
	deaf, since := false, time.Duration(0)
	return func() error {
		if s.hung() {
			return errHung
		}
		if told || !s.deaf() {
			deaf = false
			return nil
		}
		if !deaf {
			deaf, since = true, s.Clock()
		}
		if s.Clock()-since >= writeStall {
			return errDeaf
		}
		return nil
	}
}

// send writes one Append. A record larger than a batch is sent in pieces, each of which may take writeStall, until mute
// stops it.
func send(conn net.Conn, head []byte, recs []replication.Record, mute func() error) error {
	bufs := make(net.Buffers, 0, 1+len(recs))
	bufs = append(bufs, head)
	flush := func() error {
		rest := bufs // WriteTo consumes it
		_ = conn.SetWriteDeadline(time.Now().Add(writeStall))
		_, err := rest.WriteTo(conn)
		bufs = bufs[:0]
		return err
	}
	for _, rec := range recs {
		raw := rec.Raw
		for len(raw) > maxBatch {
			bufs, raw = append(bufs, raw[:maxBatch]), raw[maxBatch:]
			if err := flush(); err != nil {
				return err
			}
			if err := mute(); err != nil {
				return err
			}
		}
		bufs = append(bufs, raw)
	}
	return flush()
}

func writeJSON(w io.Writer, t wire.FrameType, msg any) error {
	b, err := wire.AppendJSON(nil, t, msg)
	if err != nil {
		return err
	}
	if _, err := w.Write(b); err != nil {
		return fmt.Errorf("send %s: %w", t, err)
	}
	return nil
}

// closeOn closes conn when ctx ends, so that blocked reads and writes return. The returned function ends the watch and also
// closes conn.
func closeOn(ctx context.Context, conn net.Conn) func() {
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	return func() {
		stop()
		_ = conn.Close()
	}
}
