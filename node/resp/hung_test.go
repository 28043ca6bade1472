package resp_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/node/resp"
	"github.com/replicatedstore/replicatedstore/node/resp/resptest"
	"github.com/replicatedstore/replicatedstore/node/store"
)

// hungLog is a node whose log disk, after hangNext, hangs for the first goroutine that offers entries, and that commits nothing from then on.
type hungLog struct {
	*resptest.Node
	hang atomic.Bool
	hung chan struct{} // closed when a goroutine hangs
	end  chan struct{}
	told atomic.Int64
}

func startHung(t *testing.T, o resp.Options) *hungLog {
	l := &hungLog{hung: make(chan struct{}), end: make(chan struct{})}
	l.Node = resptest.Start(t, o, store.SequencerOptions{OnQueued: func(patient bool) {
		l.told.Add(1)
		if patient && l.hang.CompareAndSwap(true, false) {
			close(l.hung)
			<-l.end
		}
	}})
	t.Cleanup(func() { close(l.end); l.Resume() })
	return l
}

func (l *hungLog) hangNext() { l.Stall(); l.hang.Store(true) }

// A disk that hangs for the loop's own goroutine does not keep others from being answered, even when nobody waits for a commit any more.
func TestHungDiskInTheLoop(t *testing.T) {
	l := startHung(t, resp.Options{})
	w := dial(t, l.Addr)
	var others []*wire
	for range 8 {
		other := dial(t, l.Addr)
		looped(other)
		others = append(others, other)
	}
	looped(w)
	eventually(t, func() string { // otherwise a goroutine might offer the write
		if n := l.Server.Parked(); n != len(others)+1 {
			return fmt.Sprintf("the loop has %d connections", n)
		}
		return ""
	})
	l.hangNext()
	w.send("SET a 1")
	select {
	case <-l.hung:
	case <-time.After(testTimeout):
		t.Fatal("the disk does not hang")
	}
	time.Sleep(1100 * time.Millisecond)
	for range 3 {
		for _, other := range others {
			other.do("GET looped", "$1", "1")
		}
	}
}

// What a connection has written before the loop hands it to a goroutine is offered to the log as usual.
func TestWriteOfAConnectionThatIsHandedOver(t *testing.T) {
	l := startHung(t, resp.Options{MaxOutput: 64 << 10})
	w := dial(t, l.Addr)
	w.do("SET k "+strings.Repeat("v", 60<<10), "+OK")
	w.do("APPEND k "+strings.Repeat("v", 60<<10), ":122880")
	looped(w)
	before := l.told.Load()
	w.send("GETSET k 1") // the reply exceeds the output limit
	w.closed()
	eventually(t, func() string {
		if l.told.Load() == before {
			return "nobody was told of the write"
		}
		return ""
	})
}

// deposedMeanwhile resigns right after the server has checked whether it leads.
type deposedMeanwhile struct {
	*resptest.Node
	depose atomic.Bool
}

func (d *deposedMeanwhile) Room() resp.Room {
	if d.depose.CompareAndSwap(true, false) {
		d.Resign()
	}
	return d.Node.Room()
}

// serve runs another server, on backend b, until the test ends.
func serve(t *testing.T, b resp.Backend, o resp.Options) (addr string) {
	t.Helper()
	s, err := resp.New(b, o)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Shutdown(t.Context()) })
	return l.Addr().String()
}

// If the leader is deposed just when the loop executes a connection's commands, that connection waits for the next leader without holding up
// others.
func TestDeposedInTheLoop(t *testing.T) {
	d := &deposedMeanwhile{Node: resptest.Start(t, resp.Options{})}
	addr := serve(t, d, resp.Options{Now: time.Now, Park: 20 * time.Second, Dial: func(context.Context, string) (net.Conn, error) {
		return nil, errors.New("there is no leader")
	}})
	w := dial(t, addr)
	var others []*wire
	for range 8 {
		other := dial(t, addr)
		looped(other)
		others = append(others, other)
	}
	looped(w)
	d.depose.Store(true)
	w.send("SET a 1")
	time.Sleep(100 * time.Millisecond)
	for _, other := range others {
		other.do("PING", "+PONG")
	}
	_ = w.nc.SetReadDeadline(time.Now().Add(time.Millisecond))
	if _, err := w.r.Peek(1); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("the others were answered no sooner than it: %v", err)
	}
	w.expect("-TRYAGAIN ...")
}

// silentStatus blocks in Status until end is closed, as if its disk hung.
type silentStatus struct {
	*resptest.Node
	end chan struct{}
}

func (s *silentStatus) Status() resp.Status {
	<-s.end
	return resp.Status{}
}

// HELLO, which clients send first, answers with the role without calling Status.
func TestHelloAsksForNoStatus(t *testing.T) {
	s := &silentStatus{Node: resptest.Start(t, resp.Options{}), end: make(chan struct{})}
	w := dial(t, serve(t, s, resp.Options{Now: time.Now}))
	defer close(s.end)
	w.send("HELLO 2", "QUIT")
	if reply, err := io.ReadAll(w.r); err != nil || !strings.Contains(string(reply), "role\r\n$6\r\nmaster") {
		t.Errorf("%q %v", reply, err)
	}
}
