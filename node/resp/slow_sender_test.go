package resp_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/node/resp"
	"github.com/replicatedstore/replicatedstore/node/resp/resptest"
)

// Clients that stop in the middle of a long request, or in a transaction, take bounded memory, however many they are, and lose their
// connections as soon as others need it.
func TestWhoStopsInALongRequestIsCutOff(t *testing.T) {
	const most, length = 4 << 20, 1_500_000
	set := string(encoded("SET", "k", strings.Repeat("x", length)))
	for name, begin := range map[string]string{
		"a request":     set[:len(set)-3],
		"a transaction": "MULTI\r\n" + set[:len(set)-2],
	} {
		t.Run(name, func(t *testing.T) {
			n := resptest.Start(t, resp.Options{MaxLarge: most, StallTimeout: 2 * time.Second})
			const clients = 9
			for range clients {
				c := dial(t, n.Addr)
				go func() { _, _ = c.nc.Write([]byte(begin + "\r\n")) }() // blocks, and fails once the server has closed the connection
			}
			someIsRationed(t, n)
			done := make(chan struct{})
			w := dial(t, n.Addr)
			go func() {
				defer close(done)
				w.send(set[:len(set)-2])
				w.expect("+OK")
			}()
			for waits := true; waits; {
				select {
				case <-done:
					waits = false
				case <-time.After(10 * time.Millisecond):
				}
				if got := n.Server.Rationed(); got > 2*most+most/4+length {
					t.Fatalf("%d bytes are taken", got)
				}
			}
			w.send("INFO clients")
			if info := w.bulk(); strings.Contains(info, fmt.Sprintf("connected_clients:%d\r\n", clients+1)) {
				t.Error("nobody was cut off")
			}
		})
	}
}

func someIsRationed(t *testing.T, n *resptest.Node) {
	t.Helper()
	eventually(t, func() string {
		if n.Server.Rationed() == 0 {
			return "nothing is rationed"
		}
		return ""
	})
}

// Clients that send long requests slowly, but steadily, are all served.
func TestSlowUploadsAreServed(t *testing.T) {
	n := resptest.Start(t, resp.Options{MaxLarge: 2 << 20})
	set := string(encoded("SET", "k", strings.Repeat("x", 1_000_000)))
	var all sync.WaitGroup
	for range 8 {
		c := dial(t, n.Addr)
		all.Go(func() {
			for rest := []byte(set); len(rest) > 0; time.Sleep(50 * time.Millisecond) {
				piece := rest[:min(50_000, len(rest))]
				if _, err := c.nc.Write(piece); err != nil {
					t.Error(err)
					return
				}
				rest = rest[len(piece):]
			}
			if got := c.line(); got != "+OK" {
				t.Error(got)
			}
		})
	}
	all.Wait()
	eventuallyNone(t, n.Server.Rationed)
}

// A client that is slow to take its replies, and whose next request has to wait for memory, is not blamed for the time of that wait.
func TestWhoWaitsForMemoryIsNotCutOff(t *testing.T) {
	n := resptest.Start(t, resp.Options{MaxLarge: 4 << 20, StallTimeout: 2 * time.Second, CommitTimeout: time.Minute})
	w := dial(t, n.Addr)
	w.do("SETRANGE big 999999 x", ":1000000")
	set := string(encoded("SET", "k", strings.Repeat("x", 3_000_000)))
	set = set[:len(set)-2]
	n.Stall()
	other := dial(t, n.Addr)
	other.send(set) // has its memory until Resume
	eventually(t, func() string {
		if !n.InFlight() {
			return "the write does not arrive"
		}
		return ""
	})
	c := dial(t, n.Addr)
	const replies = 30
	go func() { _, _ = c.nc.Write([]byte(strings.Repeat("GET big\r\n", replies) + set + "\r\n")) }() // a failure shows below
	time.Sleep(6 * time.Second)
	n.Resume()
	other.expect("+OK")
	c.discard(replies, 1_000_000)
	c.expect("+OK")
}
