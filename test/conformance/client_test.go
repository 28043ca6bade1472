package conformance

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"strconv"
	"testing"
	"time"
)

// client speaks the protocol without any library, so that nothing is hidden.
type client struct {
	nc net.Conn
	r  *bufio.Reader
}

func dial(t testing.TB, addr string) *client {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	return &client{nc: nc, r: bufio.NewReaderSize(nc, 64<<10)}
}

// command is a command with its arguments.
type command []string

func (c command) String() string {
	var b bytes.Buffer
	for i, w := range c {
		if i > 0 {
			b.WriteByte(' ')
		}
		if len(w) > 80 {
			fmt.Fprintf(&b, "<%d bytes %q...>", len(w), w[:16])
		} else {
			fmt.Fprintf(&b, "%q", w)
		}
	}
	return b.String()
}

func (c command) encode() []byte {
	b := fmt.Appendf(nil, "*%d\r\n", len(c))
	for _, w := range c {
		b = fmt.Appendf(b, "$%d\r\n", len(w))
		b = append(append(b, w...), "\r\n"...)
	}
	return b
}

const replyTimeout = time.Minute

// do sends all commands at once and returns their raw replies. If the server closes the connection, the missing replies are
// "<closed>".
func (c *client) do(cmds ...command) []string {
	var b []byte
	for _, cmd := range cmds {
		b = append(b, cmd.encode()...)
	}
	_ = c.nc.SetDeadline(time.Now().Add(replyTimeout))
	written := make(chan struct{})
	go func() { // in parallel with reading: both sides may have full buffers
		defer close(written)
		_, _ = c.nc.Write(b)
	}()
	out := make([]string, 0, len(cmds))
	for range cmds {
		var raw bytes.Buffer
		if err := readReply(c.r, &raw); err != nil {
			out = append(out, closedText(err))
			continue
		}
		out = append(out, raw.String())
	}
	<-written
	return out
}

func closedText(err error) string {
	if ne, ok := err.(net.Error); ok && ne.Timeout() {
		return "<no reply>"
	}
	return "<closed>"
}

// readReply copies one reply of either protocol version to raw.
func readReply(r *bufio.Reader, raw *bytes.Buffer) error {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return err
	}
	raw.Write(line)
	if len(line) < 3 {
		return fmt.Errorf("short line %q", line)
	}
	kind := line[0]
	n, _ := strconv.Atoi(string(line[1 : len(line)-2]))
	switch kind {
	case '+', '-', ':', '_', ',', '#', '(':
		return nil
	case '$', '=', '!':
		if n < 0 {
			return nil
		}
		_, err := io.CopyN(raw, r, int64(n)+2)
		return err
	case '%', '|':
		n *= 2
	case '*', '~', '>':
	default:
		return fmt.Errorf("unknown reply type %q", kind)
	}
	for range n {
		if err := readReply(r, raw); err != nil {
			return err
		}
	}
	return nil
}

// exchange sends raw bytes, closes the sending half, and returns everything that comes back.
func exchange(t testing.TB, addr string, raw []byte) string {
	t.Helper()
	c := dial(t, addr)
	_ = c.nc.SetDeadline(time.Now().Add(replyTimeout))
	go func() {
		_, _ = c.nc.Write(raw)
		_ = c.nc.(*net.TCPConn).CloseWrite()
	}()
	out, err := io.ReadAll(c.r)
	if err != nil && len(out) == 0 {
		return closedText(err)
	}
	return string(out)
}
