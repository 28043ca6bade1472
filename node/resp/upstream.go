package resp

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// upstream is a client connection's own connection to the leader: the session there is its session. The connection's goroutine
// owns it; nc may be closed, or be given a deadline, by others.
type upstream struct {
	addr  string
	nc    net.Conn
	in    *bufio.Reader
	resp3 bool
	given string // conn.given when it was dialled
}

// forwardedCommand opens an upstream: what comes over it was sent by another member on behalf of its client. Its argument is
// Options.Store; a member of an earlier build names none.
const forwardedCommand = "replicatedstore.forwarded"

// codeNotLeader answers a forwarded command that was not run because this member does not lead, and ends the connection: nothing
// that comes after it is run either, so all of it may be tried elsewhere. Clients never see it.
const codeNotLeader = "NOTLEADER"

// forwarded notes that another member speaks, whose client may have written over a connection before this one. A password it gives next.
func forwarded(c *call) {
	if own := c.srv.opt.Store; len(c.args) > 1 && !sameStore(own, string(c.args[1])) {
		c.conn.closing = true
		c.w.fail(fmt.Sprintf("ERR this is a member of the store %q, and not of %q", own, c.args[1]))
		return
	}
	c.conn.forwarded, c.conn.wroteElsewhere = true, true
	c.w.ok()
}

// sameStore compares what Options.Store says of two members. Who does not know the UID may be of any store of that name.
func sameStore(a, b string) bool {
	nameA, uidA, _ := strings.Cut(a, "/")
	nameB, uidB, _ := strings.Cut(b, "/")
	return nameA == nameB && (uidA == uidB || uidA == "" || uidB == "")
}

// dialUpstream connects to the leader.
func (s *Server) dialUpstream(ctx context.Context, addr string, words []string) (*upstream, error) {
	nc, err := s.opt.Dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	u := &upstream{addr: addr, nc: nc, in: bufio.NewReaderSize(nc, 16<<10)}
	stop := context.AfterFunc(ctx, func() { _ = nc.SetDeadline(time.Unix(1, 0)) })
	if err = u.greet(s.opt.Store); err == nil { // first: a member of another store must not learn of passwords
		err = u.login(words)
	}
	if err == nil && !stop() {
		err = context.Cause(ctx)
	}
	if err != nil {
		_ = nc.Close()
		return nil, fmt.Errorf("greet the leader at %s: %w", addr, err)
	}
	return u, nil
}

// greet says on whose behalf, and for which store, this connection will ask.
func (u *upstream) greet(store string) error {
	err := u.ask(forwardedCommand, store)
	if err != nil && strings.Contains(err.Error(), "wrong number of arguments") {
		return u.ask(forwardedCommand) // a build that knew of no argument
	}
	return err
}

// dialWhile is dialUpstream for as long as the leader at addr is the one that is known: a lost one's machine does not even refuse.
func (s *Server) dialWhile(ctx context.Context, addr string, words []string) (*upstream, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		for {
			changed := s.backend.Changed() // before looking
			if leads, leader := s.backend.Place(); leads || leader != addr {
				cancel(errLeaderChanged)
				return
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	}()
	return s.dialUpstream(ctx, addr, words)
}

var errLeaderChanged = errors.New("it does not lead any more")

// ask sends one command of words and reads its reply, which must be no error.
func (u *upstream) ask(words ...string) error {
	args := make([][]byte, len(words))
	for i, w := range words {
		args[i] = []byte(w)
	}
	if _, err := u.nc.Write(appendCommand(nil, args)); err != nil {
		return err
	}
	reply, err := copyReply(nil, u.in, 1<<20, func(int) {})
	if err == nil && reply[0] == '-' {
		err = fmt.Errorf("it answers %q", strings.TrimSpace(string(reply[1:])))
	}
	return err
}

// send writes b, which stays in use until sent has returned how much of it was written. What may not fit the buffers between is written
// beside the reading of replies, or both sides would wait for each other.
func (u *upstream) send(b []byte) (sent func() (int, error)) {
	if len(b) <= 2*burstBytes {
		n, err := u.nc.Write(b)
		return func() (int, error) { return n, err }
	}
	var n int
	var err error
	written := make(chan struct{})
	go func() {
		defer close(written)
		n, err = u.nc.Write(b)
	}()
	return func() (int, error) {
		<-written
		return n, err
	}
}

// speak makes the replies come in the client's version of the protocol.
func (u *upstream) speak(resp3 bool) error {
	if u.resp3 == resp3 {
		return nil
	}
	version := "2"
	if resp3 {
		version = "3"
	}
	if err := u.ask("HELLO", version); err != nil {
		return err
	}
	u.resp3 = resp3
	return nil
}

// ended reports whether the leader has closed the connection while nothing was asked.
func (u *upstream) ended() bool {
	if u.in.Buffered() > 0 {
		return true // nothing is due
	}
	sc, ok := u.nc.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return true
	}
	idle := false
	err = raw.Control(func(fd uintptr) {
		var b [1]byte
		_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		idle = err == syscall.EAGAIN || err == syscall.EINTR
	})
	return err != nil || !idle
}

// appendCommand encodes a command as clients send it.
func appendCommand(dst []byte, args [][]byte) []byte {
	dst = append(strconv.AppendInt(append(dst, '*'), int64(len(args)), 10), '\r', '\n')
	for _, a := range args {
		dst = append(strconv.AppendInt(append(dst, '$'), int64(len(a)), 10), '\r', '\n')
		dst = append(append(dst, a...), '\r', '\n')
	}
	return dst
}

// connect returns the connection's upstream to addr, dialled unless there is one that works.
func (c *conn) connect(ctx context.Context, addr string) (*upstream, error) {
	if u := c.up; u != nil && (u.addr != addr || u.given != c.given || u.ended()) {
		c.disconnect()
	}
	if c.up == nil {
		u, err := c.srv.dialWhile(ctx, addr, c.words())
		if err != nil {
			return nil, err
		}
		u.given = c.given
		c.setUpstream(u)
	}
	_ = c.up.nc.SetDeadline(c.srv.opt.Now().Add(c.srv.replyTimeout()))
	if err := c.up.speak(c.resp3.Load()); err != nil {
		c.disconnect()
		return nil, err
	}
	return c.up, nil
}

// disconnect lets go of the upstream, and of what is watched there.
func (c *conn) disconnect() {
	if c.up != nil {
		_ = c.up.nc.Close()
		c.setUpstream(nil)
	}
}

func (c *conn) setUpstream(u *upstream) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if (c.up == nil) != (u == nil) {
		n := int64(1)
		if u == nil {
			n = -1
		}
		c.srv.stats.forwarding.Add(n)
	}
	c.up = u
	if u != nil && c.killed.Load() { // kill may have looked just before
		_ = u.nc.Close()
	}
}

// leaveUpstream gives what is under way at another leader than the one at addr a last moment: a leader that was deposed answers at
// once, one that is gone never does. From any goroutine.
func (c *conn) leaveUpstream(addr string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.up != nil && c.up.addr != addr {
		_ = c.up.nc.SetDeadline(c.srv.opt.Now().Add(lastMoment))
	}
}

const lastMoment = time.Second

// replyTimeout bounds the wait for a forwarded command's reply: the leader ends its own before.
func (s *Server) replyTimeout() time.Duration {
	return time.Duration(s.commitTimeout.Load()) + s.opt.ReadTimeout + lastMoment
}
