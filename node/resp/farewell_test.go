package resp_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/node/resp"
	"github.com/replicatedstore/replicatedstore/node/resp/resptest"
)

// The last reply and the end of the connection arrive together: a client that checks whether the connection has ended before it sends the next
// command, as client libraries do, never sends one in vain. (An update on a busy machine left one write in ten thousand with an unknown
// outcome.)
func TestTheEndArrivesWithTheLastReply(t *testing.T) {
	for range 5 {
		n := resptest.Start(t, resp.Options{})
		n.Server.AwaitLast(30 * time.Second)
		var done sync.WaitGroup
		var asked atomic.Int64
		for i := range 40 {
			c := dial(t, n.Addr)
			done.Go(func() {
				if err := askUntilTheEnd(c, i, &asked); err != nil {
					t.Errorf("client %d: %v", i, err)
				}
			})
		}
		for asked.Load() < 4000 {
			time.Sleep(time.Millisecond)
		}
		if err := <-shutdown(n); err != nil {
			t.Error(err)
		}
		done.Wait()
	}
}

// askUntilTheEnd sends one write after the other until it finds that the connection has ended before it sends the next.
func askUntilTheEnd(c *wire, i int, asked *atomic.Int64) error {
	defer func() { _ = c.nc.Close() }()
	for {
		if ended(c.nc) {
			return nil
		}
		if _, err := fmt.Fprintf(c.nc, "INCR counter-%d\r\n", i); err != nil {
			return fmt.Errorf("asking: %w", err)
		}
		if _, err := c.r.ReadString('\n'); err != nil {
			return fmt.Errorf("asked, and was not answered: %w", err)
		}
		asked.Add(1)
	}
}

// ended reports whether the peer has closed the connection, without waiting.
func ended(nc net.Conn) bool {
	raw, err := nc.(syscall.Conn).SyscallConn()
	if err != nil {
		return true
	}
	var n int
	var seen error
	if err := raw.Control(func(fd uintptr) {
		n, _, seen = syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	}); err != nil {
		return true
	}
	return n == 0 && seen == nil || seen != nil && !errors.Is(seen, syscall.EAGAIN)
}

// A member that stops waits for the rest of a command that is just arriving.
func TestShutdownInTheMiddleOfACommand(t *testing.T) {
	n := resptest.Start(t, resp.Options{})
	n.Server.AwaitLast(30 * time.Second)
	w := dial(t, n.Addr)
	w.do("PING", "+PONG")
	done := shutdown(n)
	time.Sleep(50 * time.Millisecond)
	_, _ = io.WriteString(w.nc, "SET a 1\r\nINCR")
	w.expect("+OK")
	time.Sleep(100 * time.Millisecond)
	_, _ = io.WriteString(w.nc, " a\r\n")
	w.expect(":2")
	w.closed()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
