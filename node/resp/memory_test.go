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

// rawDial opens a socket that costs nothing in this process but a descriptor, so that only the server's side is measured.
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

// maxIdleBytes is far above what is measured, and far below one read buffer.
const maxIdleBytes = 12 << 10

// TestIdleConnectionMemory measures what a connection costs that has worked and is idle now: Go heap and stacks, without
// what the kernel keeps for the socket.
func TestIdleConnectionMemory(t *testing.T) {
	const clients = 400
	n := resptest.Start(t, resp.Options{})
	dial(t, n.Addr).do("SETRANGE k 10239 v", ":10240") // what is stored is not to be measured
	heapBefore, stackBefore := inUse()
	var fds []int
	defer func() {
		for _, fd := range fds {
			_ = syscall.Close(fd)
		}
	}()
	request := []byte("PING " + strings.Repeat("x", 10<<10) + "\r\nINCR n\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\n")
	reply := make([]byte, 64<<10)
	for range clients {
		fd := rawDial(t, n.Addr)
		fds = append(fds, fd)
		if _, err := syscall.Write(fd, request); err != nil {
			t.Fatal(err)
		}
		for got := 0; got < 20<<10; {
			k, err := syscall.Read(fd, reply)
			if err != nil || k == 0 {
				t.Fatalf("read: %d, %v", k, err)
			}
			got += k
		}
	}
	time.Sleep(50 * time.Millisecond)
	heapAfter, stackAfter := inUse()
	heap, stack := (heapAfter-heapBefore)/clients, (stackAfter-stackBefore)/clients
	each := heap + stack
	t.Logf("%d bytes per idle connection: heap %d, stack %d", each, heap, stack)
	if each > maxIdleBytes {
		t.Errorf("%d bytes per idle connection, more than %d", each, maxIdleBytes)
	}
}

func inUse() (heap, stack int64) {
	for range 6 { // pools are emptied by the second collection; each one halves stacks that are mostly unused
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc), int64(m.StackInuse)
}
