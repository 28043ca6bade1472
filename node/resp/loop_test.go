package resp_test

import (
	"bufio"
	"fmt"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/node/resp"
	"github.com/replicatedstore/replicatedstore/node/resp/resptest"
)

// looped makes sure that the loop has w: its last pipeline was simple.
func looped(w *wire) { w.do("SET looped 1", "+OK"); w.do("SET looped 1", "+OK") }

// The kernel reports input on a loop's connection only once, even for a command that is larger than what is read at once.
func TestLargeCommandInTheLoop(t *testing.T) {
	n := resptest.Start(t, resp.Options{})
	w := dial(t, n.Addr)
	looped(w)
	for _, size := range []int{1 << 20, 5<<20 + 17} {
		value := strings.Repeat("x", size)
		if _, err := fmt.Fprintf(w.nc, "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$%d\r\n%s\r\n", size, value); err != nil {
			t.Fatal(err)
		}
		w.expect("+OK")
		w.do("STRLEN k", fmt.Sprintf(":%d", size))
		w.do("GET k", fmt.Sprintf("$%d", size), value)
		looped(w)
	}
}

// A command arrives in pieces, each after the loop has read the one before.
func TestCommandInPiecesInTheLoop(t *testing.T) {
	n := resptest.Start(t, resp.Options{})
	w := dial(t, n.Addr)
	looped(w)
	for _, piece := range []string{"*3\r\n$3\r\nSE", "T\r\n$1\r", "\nk\r\n$3\r\nab", "c\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r", "\n"} {
		if _, err := w.nc.Write([]byte(piece)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
	}
	w.expect("+OK", "$3", "abc")
}

// A request that is longer than allowed ends a connection in the loop like any other connection.
func TestTooLongARequestInTheLoop(t *testing.T) {
	for _, large := range []int{0, 256 << 10} {
		n := resptest.Start(t, resp.Options{Limits: resp.Limits{MaxRequest: 1 << 20}, MaxLarge: large})
		w := dial(t, n.Addr)
		looped(w)
		_, _ = w.nc.Write([]byte("*40\r\n"))
		piece := []byte(fmt.Sprintf("$%d\r\n%s\r\n", 100<<10, strings.Repeat("x", 100<<10)))
		for range 40 {
			if _, err := w.nc.Write(piece); err != nil {
				break // the server has closed the connection
			}
		}
		eventually(t, func() string {
			if strings.Contains(text(t, n.Addr, "INFO clients"), "connected_clients:1\r\n") {
				return ""
			}
			return "the connection is still there"
		})
	}
}

// text returns the bulk string that command answers, over a new connection.
func text(t *testing.T, addr, command string) string {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = nc.Close() }()
	_, _ = fmt.Fprintf(nc, "%s\r\n", command)
	r := bufio.NewReader(nc)
	var size int
	if _, err := fmt.Fscanf(r, "$%d\r\n", &size); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, size)
	for got := 0; got < size; {
		k, err := r.Read(b[got:])
		if err != nil {
			t.Fatal(err)
		}
		got += k
	}
	return string(b)
}

// A client that takes no replies does not hold up the others, and gets all its replies in the end.
func TestClientThatTakesNothingInTheLoop(t *testing.T) {
	n := resptest.Start(t, resp.Options{})
	slow, quick := dial(t, n.Addr), dial(t, n.Addr)
	const size, gets = 60 << 10, 400
	value := strings.Repeat("v", size)
	slow.do("SET k "+value, "+OK")
	looped(slow)
	looped(quick)
	for range gets {
		slow.send("GET k")
	}
	for range 50 {
		quick.do("GET looped", "$1", "1")
	}
	for range gets {
		slow.expect(fmt.Sprintf("$%d", size), value)
	}
	slow.do("GET looped", "$1", "1")
}

// A connection waits for a slow commit, and the commands that it sends in the meantime wait as well. No other connection does.
func TestSlowCommitInTheLoop(t *testing.T) {
	n := resptest.Start(t, resp.Options{})
	w, other := dial(t, n.Addr), dial(t, n.Addr)
	looped(w)
	looped(other)
	n.Stall()
	w.send("SET a 1")
	time.Sleep(400 * time.Millisecond)
	w.send("GET a")
	other.do("GET looped", "$1", "1")
	n.Resume()
	w.expect("+OK", "$1", "1")
}

// Connections that run all kinds of commands at once move between loop and goroutines, and each gets its own replies in order.
func TestManyConnectionsInTheLoop(t *testing.T) {
	n := resptest.Start(t, resp.Options{})
	var wg sync.WaitGroup
	for i := range 32 {
		w := dial(t, n.Addr)
		wg.Go(func() {
			key := fmt.Sprintf("key%d", i)
			for k := range 100 {
				w.send(fmt.Sprintf("SET %s %d", key, k), "GET "+key)
				w.expect("+OK", fmt.Sprintf("$%d", len(fmt.Sprint(k))), fmt.Sprint(k))
				w.do("GET "+key, fmt.Sprintf("$%d", len(fmt.Sprint(k))), fmt.Sprint(k))
				switch k % 7 {
				case 0:
					w.send("MULTI", "INCR "+key, "EXEC")
					w.expect("+OK", "+QUEUED", "*1", fmt.Sprintf(":%d", k+1))
				case 1:
					w.do("PING", "+PONG")
				case 2:
					w.send("WATCH "+key, "MULTI", "GET "+key, "EXEC")
					w.expect("+OK", "+OK", "+QUEUED", "*1", fmt.Sprintf("$%d", len(fmt.Sprint(k))), fmt.Sprint(k))
				}
			}
		})
	}
	wg.Wait()
}

// A connection that waits for input has no goroutine.
func TestIdleConnectionHasNoGoroutine(t *testing.T) {
	n := resptest.Start(t, resp.Options{})
	before := runtime.NumGoroutine()
	for range 100 {
		w := dial(t, n.Addr)
		w.do("CLIENT SETNAME c", "+OK")
		looped(w)
	}
	eventually(t, func() string {
		if now := runtime.NumGoroutine(); now > before+10 {
			return fmt.Sprintf("%d goroutines for 100 idle connections", now-before)
		}
		return ""
	})
}

// If a client closes its side right after a command, both arrive together and are reported only once. The server sees the end after it has sent
// the reply, even if the reply waits for a commit.
func TestClientThatEndsInTheLoop(t *testing.T) {
	n := resptest.Start(t, resp.Options{})
	for _, command := range []string{"GET looped", "SET a 1"} {
		for range 50 {
			w := dial(t, n.Addr)
			looped(w)
			w.send(command)
			_ = w.nc.(*net.TCPConn).CloseWrite()
			w.line()
			if command[0] == 'G' {
				w.line()
			}
			w.closed()
		}
	}
}

// The loop's goroutine can be woken any number of times.
func TestLoopIsWokenForEver(t *testing.T) {
	n := resptest.Start(t, resp.Options{})
	w := dial(t, n.Addr)
	looped(w)
	for range 2000 {
		n.Server.Disturb()
	}
	w.do("GET looped", "$1", "1")
	w.do("SET looped 2", "+OK")
}

// A write without effect has nothing to wait for if nothing else is in flight: there is no commit that would wake the loop.
func TestWriteWithoutEffectInTheLoop(t *testing.T) {
	n := resptest.Start(t, resp.Options{})
	w := dial(t, n.Addr)
	looped(w)
	slow := 0
	for i := range 40 {
		began := time.Now()
		if w.do([]string{"DEL missing", "SETNX looped 2"}[i%2], ":0"); time.Since(began) > 125*time.Millisecond {
			slow++
		}
	}
	if slow > 20 { // a busy machine delays some
		t.Fatalf("%d of 40 took more than 125 ms", slow)
	}
}

// A connection that reads data that is not in memory leaves the loop for that, and comes back later.
func TestColdReadsInTheLoop(t *testing.T) {
	n := resptest.Start(t, resp.Options{})
	w := dial(t, n.Addr)
	looped(w)
	for i := range 200 {
		w.do(fmt.Sprintf("GET absent%d", i), "$-1")
		w.do(fmt.Sprintf("SETNX new%d 1", i), ":1")
		w.do(fmt.Sprintf("SETNX new%d 1", i), ":0")
		w.do("INCR n", fmt.Sprintf(":%d", i+1))
		w.do(fmt.Sprintf("EXISTS absent%d", i), ":0")
		w.do(fmt.Sprintf("DEL absent%d", i), ":0")
		w.do("GET n", fmt.Sprintf("$%d", len(fmt.Sprint(i+1))), fmt.Sprint(i+1))
	}
}
