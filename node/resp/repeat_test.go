package resp_test

import (
	"fmt"
	"net"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/node/resp"
	"github.com/replicatedstore/replicatedstore/node/resp/resptest"
)

// repeated encodes a command that contains the last of words times times.
func repeated(times int, words ...string) string {
	var b strings.Builder
	last := words[len(words)-1]
	fmt.Fprintf(&b, "*%d\r\n", len(words)-1+times)
	for _, word := range words[:len(words)-1] {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(word), word)
	}
	b.WriteString(strings.Repeat(fmt.Sprintf("$%d\r\n%s\r\n", len(last), last), times))
	return strings.TrimSuffix(b.String(), "\r\n")
}

// A client that is asked for twice is listed twice, as in Redis, in both protocol versions.
func TestClientListOfTheSame(t *testing.T) {
	n := resptest.Start(t, resp.Options{})
	w := dial(t, n.Addr)
	id := strings.TrimPrefix(func() string { w.send("CLIENT ID"); return w.line() }(), ":")
	for _, hello := range []string{"", "HELLO 3"} {
		if hello != "" {
			w.send(hello, "ECHO ready")
			for w.line() != "ready" {
			}
		}
		w.send("CLIENT LIST ID " + id + " 999 " + id)
		lines := strings.Split(strings.TrimPrefix(w.bulk(), "txt:"), "\n")
		if len(lines) != 3 || !strings.HasPrefix(lines[0], "id="+id+" ") || !strings.HasPrefix(lines[1], "id="+id+" ") || lines[2] != "" {
			t.Errorf("%s: %q", hello, lines)
		}
		w.send("CLIENT LIST ID 999")
		if got := strings.TrimPrefix(w.bulk(), "txt:"); got != "" {
			t.Errorf("%s: nobody is %q", hello, got)
		}
	}
}

// A reply that repeats something small closes its connection once it exceeds the output limit. It is not produced completely before that.
func TestRepetitionsBeyondTheOutputLimit(t *testing.T) {
	n := resptest.Start(t, resp.Options{MaxOutput: 1 << 20})
	w := dial(t, n.Addr)
	w.do("CLIENT ID", ":1") // the client that is listed
	for name, tc := range map[string]struct {
		queue int // number of COMMANDs to queue
		ask   string
	}{
		"CLIENT LIST":  {0, repeated(200_000, "CLIENT", "LIST", "ID", "1")},
		"COMMAND INFO": {0, repeated(200_000, "COMMAND", "INFO", "get")},
		"EXEC":         {3000, "EXEC"},
	} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, n.Addr)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			if tc.queue > 0 {
				c.send("MULTI", "SET k 1", strings.Repeat("COMMAND\r\n", tc.queue)+"PING")
				c.expect("+OK", "+QUEUED", "+QUEUED")
				for range tc.queue {
					c.expect("+QUEUED")
				}
			}
			c.send(tc.ask)
			c.closed()
			if runtime.ReadMemStats(&after); after.TotalAlloc-before.TotalAlloc > 100<<20 { // most of this is for the request
				t.Errorf("%d MiB allocated", (after.TotalAlloc-before.TotalAlloc)>>20)
			}
			if tc.queue > 0 {
				w.do("EXISTS k", ":1") // the write took effect all the same
			}
		})
	}
}

// Replies that are long because they repeat something take turns as well: only one of them may be longer than its share.
func TestRepetitionsTakeTurns(t *testing.T) {
	const clients, most = 4, 128 << 10
	for name, ask := range map[string]string{
		"CLIENT LIST":  repeated(600, "CLIENT", "LIST", "ID", "1"),
		"COMMAND INFO": repeated(1200, "COMMAND", "INFO", "get"),
	} {
		t.Run(name, func(t *testing.T) {
			n := resptest.Start(t, resp.Options{MaxLong: most, StallTimeout: time.Hour})
			addr := withSmallBuffers(t, n)
			listed := dial(t, addr)
			listed.do("CLIENT ID", ":1")
			listed.do("CLIENT SETNAME "+strings.Repeat("n", 1000), "+OK")
			listed.send(ask, "ECHO end")
			length := listed.until("end")
			var all []*wire
			for range clients {
				c := dial(t, addr)
				_ = c.nc.(*net.TCPConn).SetReadBuffer(16 << 10)
				c.send(ask, "ECHO end")
				all = append(all, c)
			}
			highest := 0
			look := func() (waiting int) {
				held, waiting := n.Server.Replies()
				highest = max(highest, held)
				return waiting
			}
			eventually(t, func() string {
				if waiting := look(); waiting < clients-1 || highest < length/2 {
					return fmt.Sprintf("%d clients wait for their turn, and at most %d bytes were held", waiting, highest)
				}
				return ""
			})
			var done sync.WaitGroup
			for _, c := range all {
				done.Go(func() { c.until("end") })
			}
			ended := make(chan struct{})
			go func() { done.Wait(); close(ended) }()
			for more := true; more; look() {
				select {
				case <-ended:
					more = false
				case <-time.After(time.Millisecond):
				}
			}
			if highest < length/2 || highest > length+4*most {
				t.Errorf("%d KiB were held at once for replies of %d KiB", highest>>10, length>>10)
			}
			noneIsHeld(t, n)
		})
	}
}

// until reads lines of a reply up to last, and returns how long the lines before it were, in bytes.
func (w *wire) until(last string) (length int) {
	for {
		line := w.line()
		if line == last {
			return length
		}
		length += len(line) + 2
	}
}

// withSmallBuffers makes n serve a second address, where the kernel keeps little of what clients do not take. It returns that address.
func withSmallBuffers(t *testing.T, n *resptest.Node) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	raw, err := l.(*net.TCPListener).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if outer := raw.Control(func(fd uintptr) { // connections inherit it
		err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_SNDBUF, 32<<10)
	}); outer != nil || err != nil {
		t.Fatal(outer, err)
	}
	go func() { _ = n.Server.Serve(l) }() // until n stops
	return l.Addr().String()
}
