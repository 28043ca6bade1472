package resp_test

import (
	"net"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/node/resp"
	"github.com/replicatedstore/replicatedstore/node/resp/resptest"
)

// rawDial opens a socket that takes only a descriptor in this process, so that only the server's side is measured.
func rawDial(t *testing.T, addr string) int {
	t.Helper()
	a, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatalf("socket: %v", err)
	}
	sa := &syscall.SockaddrInet4{Port: a.Port}
	copy(sa.Addr[:], a.IP.To4())
	if err := syscall.Connect(fd, sa); err != nil {
		t.Fatal(err)
	}
	return fd
}

// TestIdleConnectionMemory measures the memory of connections that have executed commands and are idle now: Go heap and stacks, without what
// the kernel keeps for the socket. The bounds are far above the measured values, and far below one read buffer.
func TestIdleConnectionMemory(t *testing.T) {
	large := "PING " + strings.Repeat("x", 10<<10) + "\r\nINCR n\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\n" // not simple, so the loop hands it over
	for _, tc := range []struct {
		name     string
		requests []string
		most     int64
	}{
		{"served by the loop", []string{large, "GET k\r\n"}, 4 << 10},
		{"left by a goroutine", []string{"GET k\r\n", large}, 4 << 10},
	} {
		t.Run(tc.name, func(t *testing.T) {
			n := resptest.Start(t, resp.Options{})
			dial(t, n.Addr).do("SETRANGE k 10239 v", ":10240") // before measuring, which must not include the stored data
			heapBefore, stackBefore := inUse()
			const clients = 400
			idleClients(t, n.Addr, clients, tc.requests)
			var heap, stack int64
			for begun := time.Now(); time.Since(begun) < testTimeout; time.Sleep(100 * time.Millisecond) { // goroutines take a while to end
				heapAfter, stackAfter := inUse()
				heap, stack = (heapAfter-heapBefore)/clients, (stackAfter-stackBefore)/clients
				if heap+stack <= tc.most {
					break
				}
			}
			t.Logf("%d bytes per idle connection: heap %d, stack %d", heap+stack, heap, stack)
			if heap+stack > tc.most {
				t.Errorf("%d bytes per idle connection, more than %d", heap+stack, tc.most)
			}
		})
	}
}

// idleClients opens connections that send each of requests and read its reply, which ends with a large value.
func idleClients(t *testing.T, addr string, clients int, requests []string) {
	t.Helper()
	reply := make([]byte, 64<<10)
	for range clients {
		fd := rawDial(t, addr)
		t.Cleanup(func() { _ = syscall.Close(fd) })
		for _, request := range requests {
			if _, err := syscall.Write(fd, []byte(request)); err != nil {
				t.Fatal(err)
			}
			for got := 0; got < 10<<10; {
				k, err := syscall.Read(fd, reply)
				if err != nil || k == 0 {
					t.Fatalf("read: %d, %v", k, err)
				}
				got += k
			}
		}
	}
	time.Sleep(50 * time.Millisecond)
}

func inUse() (heap, stack int64) {
	for range 6 { // the second collection empties the pools, and each one halves stacks that are mostly unused
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc), int64(m.StackInuse)
}

// Rounds keep no references to requests: they go from one connection to the next, and a request's buffer is reused once it is answered.
func TestRoundsKeepNoRequests(t *testing.T) {
	n := resptest.Start(t, resp.Options{})
	w := dial(t, n.Addr)
	eventually(t, func() string {
		w.send("SET a 1", "GET a", "SET b 2")
		w.expect("+OK", "$1", "1", "+OK")
		switch places, kept := resp.LeftInRound(); {
		case places == 0:
			return "the round is not the one that was used"
		case kept > 0:
			t.Fatalf("a round that was given back keeps %d", kept)
		}
		return ""
	})
}
