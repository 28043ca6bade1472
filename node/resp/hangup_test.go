package resp_test

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/node/resp"
	"github.com/replicatedstore/replicatedstore/node/resp/resptest"
)

// A client that sends everything and then shuts down its write side, as nc and pipes do, gets its replies, and then the end of the connection.
// Its own end may arrive together with its commands, and is then not reported again.
func TestClientThatShutsItsSide(t *testing.T) {
	n := resptest.Start(t, resp.Options{})
	for range 200 {
		nc, err := net.Dial("tcp", n.Addr)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(nc, "PING\r\n")
		_ = nc.(*net.TCPConn).CloseWrite()
		_ = nc.SetReadDeadline(time.Now().Add(testTimeout))
		if all, err := io.ReadAll(nc); err != nil || string(all) != "+PONG\r\n" {
			t.Fatalf("%q, %v", all, err)
		}
		_ = nc.Close()
	}
}

// The connection of a client that hangs up while it is blocked is closed.
func TestHangupWhileBlocked(t *testing.T) {
	n := resptest.Start(t, resp.Options{})
	a, b := dial(t, n.Addr), dial(t, n.Addr)
	b.send("WAIT 5 0")
	_ = b.nc.Close()
	a.isAlone()
}

// isAlone waits until no other client is connected.
func (w *wire) isAlone() {
	eventually(w.t, func() string {
		w.send("INFO clients")
		if info := w.bulk(); !strings.Contains(info, "connected_clients:1\r\n") {
			return info
		}
		return ""
	})
}

// The same holds if the client has sent more commands since it was blocked, as clients that share a connection do.
func TestHangupWhileBlockedBehindWhatWasSaid(t *testing.T) {
	n := resptest.Start(t, resp.Options{})
	a, b := dial(t, n.Addr), dial(t, n.Addr)
	b.send("WAIT 5 0")
	time.Sleep(100 * time.Millisecond)
	b.send("GET a")
	_ = b.nc.Close()
	a.isAlone()
}
