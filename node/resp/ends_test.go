package resp_test

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/node/resp"
	"github.com/replicatedstore/replicatedstore/node/resp/resptest"
)

// A client shuts down its write side while the server is working for it.
func TestClientThatShutsItsSideMeanwhile(t *testing.T) {
	n := resptest.Start(t, resp.Options{EnableDebug: true})
	w := dial(t, n.Addr)
	w.send("DEBUG SLEEP 0.3")
	time.Sleep(100 * time.Millisecond)
	w.send("PING")
	_ = w.nc.(*net.TCPConn).CloseWrite()
	w.expect("+OK", "+PONG")
	_ = w.nc.SetReadDeadline(time.Now().Add(testTimeout))
	if _, err := w.r.ReadByte(); !errors.Is(err, io.EOF) {
		t.Fatalf("after the client closed its half: %v", err)
	}
}

// Two clients that kill each other do not wait for each other.
func TestClientsThatKillEachOther(t *testing.T) {
	n := resptest.Start(t, resp.Options{})
	hung := 0
	for range 100 {
		a, b := dial(t, n.Addr), dial(t, n.Addr)
		a.send("CLIENT ID")
		b.send("CLIENT ID")
		ida, idb := a.line()[1:], b.line()[1:]
		go func() { _, _ = a.nc.Write([]byte("CLIENT KILL ID " + idb + "\r\n")) }()
		_, _ = b.nc.Write([]byte("CLIENT KILL ID " + ida + "\r\n"))
		for _, w := range []*wire{a, b} {
			_ = w.nc.SetReadDeadline(time.Now().Add(testTimeout))
			if _, err := w.r.ReadByte(); err != nil {
				var ne net.Error
				if errors.As(err, &ne) && ne.Timeout() {
					hung++
				}
			}
		}
		if hung > 0 {
			break
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	done := make(chan struct{})
	go func() { _ = n.Server.Shutdown(ctx); close(done) }()
	select {
	case <-done:
	case <-time.After(testTimeout):
		t.Errorf("Shutdown does not return after its context ended")
	}
	if hung > 0 {
		t.Errorf("%d clients hang", hung)
	}
}

// A batch in the middle of a pipeline has as much time as the first one.
func TestSecondBatchHasItsOwnTime(t *testing.T) {
	n := resptest.Start(t, resp.Options{CommitTimeout: 5 * time.Second})
	w := dial(t, n.Addr)
	w.send("SET a 1", "WAIT 9 6000", "SET b 2", "GET b")
	w.expect("+OK", ":0", "+OK", "$1", "2")
}
