package resp_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

const testTimeout = 2 * time.Minute // with the race detector, a busy machine needs a good part of it

// wire is a client that sends and compares raw bytes. Commands are inline unless noted otherwise.
type wire struct {
	t  testing.TB
	nc net.Conn
	r  *bufio.Reader
}

func dial(t testing.TB, addr string) *wire {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	return &wire{t: t, nc: nc, r: bufio.NewReader(nc)}
}

// renew gives the next step of the test its full time.
func (w *wire) renew() { _ = w.nc.SetDeadline(time.Now().Add(testTimeout)) }

// send writes one line per command, all in one write.
func (w *wire) send(lines ...string) {
	w.t.Helper()
	w.renew()
	if _, err := w.nc.Write([]byte(strings.Join(lines, "\r\n") + "\r\n")); err != nil {
		w.t.Fatal(err)
	}
}

// line reads a line of a reply.
func (w *wire) line() string {
	w.t.Helper()
	w.renew()
	s, err := w.r.ReadString('\n')
	if err != nil {
		w.t.Fatalf("read reply: %v (had %q)", err, s)
	}
	return strings.TrimSuffix(s, "\r\n")
}

// expect reads lines and compares them. A "..." at the end of an expected line matches the rest of the line.
func (w *wire) expect(lines ...string) {
	w.t.Helper()
	for _, want := range lines {
		got := w.line()
		prefix, open := strings.CutSuffix(want, "...")
		if got != want && !(open && strings.HasPrefix(got, prefix)) {
			w.t.Fatalf("got %q, want %q", got, want)
		}
	}
}

// discard reads n bulk strings of size bytes.
func (w *wire) discard(n int, size int64) {
	w.t.Helper()
	for range n {
		w.expect(fmt.Sprintf("$%d", size))
		if _, err := io.CopyN(io.Discard, w.r, size+2); err != nil {
			w.t.Errorf("in the middle of a string: %v", err)
			return
		}
	}
}

func (w *wire) do(cmd string, want ...string) {
	w.t.Helper()
	w.send(cmd)
	w.expect(want...)
}

// bulk reads a bulk or verbatim string.
func (w *wire) bulk() string {
	w.t.Helper()
	head := w.line()
	var n int
	if _, err := fmt.Sscanf(head[1:], "%d", &n); err != nil {
		w.t.Fatalf("no bulk string: %q", head)
	}
	b := make([]byte, n+2)
	if _, err := io.ReadFull(w.r, b); err != nil {
		w.t.Fatal(err)
	}
	return string(b[:n])
}

// closed expects that the server has closed the connection.
func (w *wire) closed() {
	w.t.Helper()
	w.renew()
	if b, err := w.r.ReadByte(); err == nil {
		rest, _ := w.r.Peek(w.r.Buffered())
		w.t.Fatalf("got %q, want the connection closed", string(b)+string(rest))
	} else if ne, ok := err.(net.Error); ok && ne.Timeout() {
		w.t.Fatal("the connection stays open")
	}
}

// eventually calls f until it returns "". If that takes too long, the test fails with the last result.
func eventually(t testing.TB, f func() string) {
	t.Helper()
	last := ""
	for end := time.Now().Add(testTimeout); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if last = f(); last == "" {
			return
		}
	}
	t.Fatal(last)
}
