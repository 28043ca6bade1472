package resp_test

import (
	"fmt"
	"slices"
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
			eventually(t, func() string { // at most four of them have their memory
				if waiting, ended := n.Server.Queued(); waiting < clients-4 && ended == 0 {
					return fmt.Sprintf("%d clients wait", waiting)
				}
				return ""
			})
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

// slowClock returns a clock that runs at an eighth of the speed, so that clients are not silent for too long just because the machine is busy.
func slowClock() func() time.Time {
	start := time.Now()
	return func() time.Time { return start.Add(time.Since(start) / 8) }
}

// Clients that send long requests slowly, but steadily, are all served.
func TestSlowUploadsAreServed(t *testing.T) {
	n := resptest.Start(t, resp.Options{MaxLarge: 2 << 20, Now: slowClock()})
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
	n := resptest.Start(t, resp.Options{MaxLarge: 4 << 20, StallTimeout: 5 * time.Second, CommitTimeout: time.Minute})
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
	time.Sleep(9 * time.Second)
	n.Resume()
	other.expect("+OK")
	c.discard(replies, 1_000_000)
	c.expect("+OK")
}

// A client that sends a request of many long arguments, or such a transaction, in good time is not cut off while others wait, although it
// has had its first part for long.
func TestUploadsOfManyPartsAreServed(t *testing.T) {
	const parts, limit = 40, 4 * time.Second
	value := strings.Repeat("x", 1_000_000)
	for name, tc := range map[string]struct{ begin, part, end, reply string }{
		"a request":     {"*81\r\n$4\r\nMSET\r\n", "$1\r\nk\r\n$1000000\r\n" + value + "\r\n", "", "+OK"},
		"a transaction": {"MULTI\r\n", string(encoded("SET", "k", value)), "EXEC\r\n", "*40"},
	} {
		t.Run(name, func(t *testing.T) {
			n := resptest.Start(t, resp.Options{MaxLarge: 2 << 20, StallTimeout: limit, CommitTimeout: time.Minute, Now: slowClock()})
			c, other := dial(t, n.Addr), dial(t, n.Addr)
			began := time.Now()
			for i, piece := range slices.Concat([]string{tc.begin}, slices.Repeat([]string{tc.part}, parts), []string{tc.end}) {
				c.renew()
				if _, err := c.nc.Write([]byte(piece)); err != nil {
					t.Fatalf("after %d parts: %v", i, err)
				}
				if i == 4 { // c has more than others may have beside it
					set := encoded("SET", "other", strings.Repeat("y", 3_000_000))
					go func() { _, _ = other.nc.Write(set) }() // a failure shows below
				}
				time.Sleep(limit / 20)
			}
			if took := time.Since(began); took < limit {
				t.Fatalf("all is sent after %v", took)
			}
			for line := c.line(); line != tc.reply; line = c.line() {
				if line != "+OK" && line != "+QUEUED" {
					t.Fatal(line)
				}
			}
			other.expect("+OK")
		})
	}
}

// The time in which a connection has to wait for memory in the middle of a request does not count against it once it goes on.
func TestWhoHadToWaitIsNotCutOff(t *testing.T) {
	n := resptest.Start(t, resp.Options{MaxLarge: 4 << 20, StallTimeout: 9 * time.Second, CommitTimeout: time.Minute, Now: slowClock()})
	long, c, other := dial(t, n.Addr), dial(t, n.Addr), dial(t, n.Addr)
	write := func(to *wire, b []byte) { go func() { _, _ = to.nc.Write(b) }() } // a failure shows below
	set := func(length int) []byte { return encoded("SET", "k", strings.Repeat("x", length)) }
	mset := encoded("MSET", "a", strings.Repeat("a", 900_000), "b", strings.Repeat("b", 1_000_000))
	write(c, mset[:800_000])
	someIsRationed(t, n)
	n.Stall()
	write(long, set(5_000_000)) // gets its memory once that of c is lent, and then has it until Resume
	eventually(t, func() string {
		if !n.InFlight() {
			return "the write does not arrive"
		}
		return ""
	})
	write(c, mset[800_000:1_400_000])
	write(other, set(3_500_000))
	time.Sleep(8 * time.Second)
	n.Resume()
	long.expect("+OK")
	time.Sleep(1200 * time.Millisecond) // other waits for c, and has it looked at twice
	write(c, mset[1_400_000:])
	c.expect("+OK")
	other.expect("+OK")
}
