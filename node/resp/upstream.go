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

// upstream is a client connection's own connection to the leader, which carries the client's session there. The client
// connection's goroutine owns it, but other goroutines may close nc or set its deadlines.
type upstream struct {
	addr  string
	nc    net.Conn
	in    *bufio.Reader
	resp3 bool
	given string // conn.given when it was dialed
	owes  bool   // the reply to an UNWATCH has not been read; see unwatch

	tells  bool // the leader knows shownCommand
	due    bool // shownCommand was sent and has not been answered
	untold bool // the leader has answered commands since it last reported what it has shown
}

// forwardedCommand is the first command on an upstream. It announces that another member sends what follows on behalf of
// its client. Its argument is Options.Store; members of earlier versions send none.
const forwardedCommand = "replicatedstore.forwarded"

// codeNotLeader starts the reply to a forwarded command that was not run because this member does not lead. The
// connection is closed after that reply. No later command on it is run either, so all of them may be tried elsewhere.
// Clients never see this code.
const codeNotLeader = "NOTLEADER"

// forwarded marks the connection as one from another member, whose client may have written over an earlier connection. If
// there is a password, the member sends it next.
func forwarded(c *call) {
	if own := c.srv.opt.Store; len(c.args) > 1 && !sameStore(own, string(c.args[1])) {
		c.conn.closing = true
		c.w.fail(fmt.Sprintf("ERR this is a member of the store %q, not of %q", own, c.args[1]))
		return
	}
	c.conn.forwarded, c.conn.wroteElsewhere = true, true
	if len(c.args) > 1 {
		c.w.simple(tellsShown)
		return
	}
	c.w.ok()
}

// sameStore reports whether two members with these values of Options.Store may belong to the same store. A member that does not know the UID
// may belong to any store of that name.
func sameStore(a, b string) bool {
	nameA, uidA, _ := strings.Cut(a, "/")
	nameB, uidB, _ := strings.Cut(b, "/")
	return nameA == nameB && (uidA == uidB || uidA == "" || uidB == "")
}

// dialUpstream connects to the leader at addr and logs in with one of words.
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

// greet tells the leader that this connection forwards for a client, and which store it belongs to.
func (u *upstream) greet(store string) error {
	reply, err := u.ask(forwardedCommand, store)
	if err != nil && strings.Contains(err.Error(), "wrong number of arguments") {
		_, err = u.ask(forwardedCommand) // an earlier version, which takes no argument
	}
	u.tells = reply == tellsShown
	return err
}

// dialWhile is dialUpstream, but gives up once the leader at addr is no longer the known one: the machine of a lost leader may not even
// refuse the connection.
func (s *Server) dialWhile(ctx context.Context, addr string, words []string) (*upstream, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		for {
			changed := s.backend.Changed() // before Place, so that no change is missed
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

var errLeaderChanged = errors.New("it no longer leads")

// ask sends words as one command and returns the first line of the reply, without its type. It returns an error if the
// reply is one.
func (u *upstream) ask(words ...string) (string, error) {
	args := make([][]byte, len(words))
	for i, w := range words {
		args[i] = []byte(w)
	}
	if _, err := u.nc.Write(appendCommand(nil, args)); err != nil {
		return "", err
	}
	reply, err := copyReply(nil, u.in, 1<<20, func(int) {})
	if err != nil {
		return "", err
	}
	line, _, _ := strings.Cut(string(reply[1:]), "\r\n")
	if reply[0] == '-' {
		return "", fmt.Errorf("it answers %q", line)
	}
	return line, nil
}

// send writes b, which must not be changed before sent has returned. sent reports how many bytes were written. If b may
// not fit the socket buffers, a goroutine writes it while the caller reads replies; otherwise both sides could wait for
// each other.
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

// speak switches the upstream to the client's version of the protocol.
func (u *upstream) speak(resp3 bool) error {
	if u.resp3 == resp3 {
		return nil
	}
	version := "2"
	if resp3 {
		version = "3"
	}
	if _, err := u.ask("HELLO", version); err != nil {
		return err
	}
	u.resp3 = resp3
	return nil
}

// ended reports whether an upstream with no command in flight can no longer be used: the leader has closed it, or has sent something
// unasked.
func (u *upstream) ended() bool {
	if u.in.Buffered() > 0 {
		return true // no reply is due
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

// appendCommand appends the RESP encoding of a command to dst.
func appendCommand(dst []byte, args [][]byte) []byte {
	dst = append(strconv.AppendInt(append(dst, '*'), int64(len(args)), 10), '\r', '\n')
	for _, a := range args {
		dst = append(strconv.AppendInt(append(dst, '$'), int64(len(a)), 10), '\r', '\n')
		dst = append(append(dst, a...), '\r', '\n')
	}
	return dst
}

// connect returns the connection's upstream to addr. It dials a new one unless the present one works.
func (c *conn) connect(ctx context.Context, addr string) (*upstream, error) {
	c.dismissed.Store(false)
	if u := c.up; u != nil && (u.addr != addr || u.given != c.given || !u.settle(c.srv.opt.Now().Add(c.srv.replyTimeout())) || u.ended()) {
		c.disconnect()
	}
	if c.up == nil {
		u, err := c.srv.dialWhile(ctx, addr, c.words())
		if err != nil {
			return nil, err
		}
		u.given = c.given
		c.setUpstream(u)
		_ = u.nc.SetDeadline(c.srv.opt.Now().Add(c.srv.replyTimeout()))
		if err := c.goOn(u); err != nil {
			c.disconnect()
			return nil, err
		}
	}
	_ = c.up.nc.SetDeadline(c.srv.opt.Now().Add(c.srv.replyTimeout()))
	if err := c.up.speak(c.resp3.Load()); err != nil {
		c.disconnect()
		return nil, err
	}
	return c.up, nil
}

// disconnect closes the upstream, if there is one. Keys watched over it are no longer watched.
func (c *conn) disconnect() {
	if c.up != nil {
		c.untold = c.untold || c.up.untold
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
	if u != nil && c.killed.Load() { // kill may have run just before c.up was set
		_ = u.nc.Close()
	}
}

// leaveUpstream gives a leader other than the one at addr only Options.LastMoment more to answer the commands in flight: a
// deposed leader answers at once, and one that is gone never does. Any goroutine may call it.
func (c *conn) leaveUpstream(addr string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.up != nil && c.up.addr != addr {
		_ = c.up.nc.SetDeadline(c.srv.opt.Now().Add(c.srv.opt.LastMoment))
	}
}

// replyTimeout bounds the wait for a forwarded command's reply. It is longer than the leader's own waits, so the leader gives up first.
func (s *Server) replyTimeout() time.Duration {
	return time.Duration(s.commitTimeout.Load()) + s.opt.ReadTimeout + s.opt.LastMoment
}
