package resp_test

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/node/resp/resptest"
)

// A read that the leader cannot answer, because its reply is too long, is asked just once more. The commands after it are answered.
func TestForwardedReadThatTheLeaderCannotAnswer(t *testing.T) {
	o := forwarding()
	o.MaxOutput = 64 << 10
	leader := resptest.StartWaiting(t, o)
	follower := leader.Follow(o)
	leader.Lead()
	follower.Point(leader.Addr)
	f := dial(t, follower.Addr)
	long := strings.Repeat("x", 40<<10)
	f.do("SET a "+long, "+OK")
	f.do("SET b "+long, "+OK")
	const unanswered = "-ERR the leader did not answer this command, although it was retried..."
	f.do("MGET a b", unanswered)
	f.send("STRLEN a", "MGET a b", "STRLEN b", "WAIT 0 0")
	f.expect(":40960", unanswered, ":40960", ":1")
	f.do("SET c 1", "+OK")
	f.send("MULTI", "MGET a b", "EXEC", "GET c")
	f.expect("+OK", "+QUEUED", "-EXECABORT Transaction discarded because of: the leader did not answer...", "$1", "1")
	stats := dial(t, leader.Addr)
	stats.send("INFO stats")
	var made int
	for line := range strings.SplitSeq(stats.bulk(), "\r\n") {
		_, _ = fmt.Sscanf(line, "total_connections_received:%d", &made)
	}
	if most := 12; made > most || made < 4 {
		t.Errorf("%d connections were made to the leader, and %d would do", made, most)
	}
}

// startRefusing runs a member that is taken for the leader but answers that it is not. asked counts how often.
func startRefusing(t *testing.T) (addr string, asked *atomic.Int64) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	asked = new(atomic.Int64)
	refuse := func(c net.Conn) {
		defer c.Close()
		for in := bufio.NewScanner(c); in.Scan(); {
			switch line := in.Text(); {
			case strings.HasPrefix(line, "replicatedstore"):
				fmt.Fprint(c, "+OK\r\n")
			case line == "SET":
				asked.Add(1)
				fmt.Fprint(c, "-NOTLEADER nothing was run\r\n")
				return
			}
		}
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go refuse(c)
		}
	}()
	return l.Addr().String(), asked
}

// A command that is tried again and again ends when its client hangs up or is killed.
func TestTryingAgainEndsWithTheClient(t *testing.T) {
	for name, end := range map[string]func(c, other *wire){
		"hangs up": func(c, _ *wire) { _ = c.nc.Close() },
		"killed":   func(_, other *wire) { other.do("CLIENT KILL TYPE normal SKIPME yes", ":1") },
	} {
		t.Run(name, func(t *testing.T) {
			addr, asked := startRefusing(t)
			_, follower := forwardingPair(t)
			follower.Point(addr)
			c, other := dial(t, follower.Addr), dial(t, follower.Addr)
			c.send("SET a 1")
			eventually(t, func() string {
				if asked.Load() < 3 {
					return "it is not tried again"
				}
				return ""
			})
			end(c, other)
			began := time.Now()
			eventually(t, func() string {
				other.send("CLIENT LIST")
				list := other.bulk()
				if strings.Contains(list, "cmd=set") {
					return "the connection is still served"
				}
				return ""
			})
			if took := time.Since(began); took > 50*time.Second {
				t.Errorf("it took %v", took)
			}
			before := asked.Load()
			time.Sleep(300 * time.Millisecond)
			if n := asked.Load(); n > before+1 {
				t.Errorf("it was asked %d times after the end", n-before)
			}
		})
	}
}

// A connection that has only read so far may write while its member stops, for as long as the member still reads from it.
func TestFirstWriteWhileAFollowerStops(t *testing.T) {
	leader, follower := forwardingPair(t)
	follower.Server.AwaitLast(30 * time.Second)
	f := dial(t, follower.Addr)
	f.do("GET a", "$-1")
	time.Sleep(50 * time.Millisecond) // until the server waits for the next command; otherwise the connection ends with the last reply
	done := shutdown(follower)
	time.Sleep(100 * time.Millisecond)
	f.send("SET a 1", "GET a")
	f.expect("+OK", "$1", "1")
	f.closed()
	if err := <-done; err != nil {
		t.Error(err)
	}
	dial(t, leader.Addr).do("GET a", "$1", "1")
}

// A member that stops and reaches no leader says so without waiting for long, however many commands there are.
func TestWritesWhileAFollowerOfNobodyStops(t *testing.T) {
	_, follower := forwardingPair(t)
	follower.Server.AwaitLast(2 * time.Second)    // the commands wait for as long, all together
	dead, err := net.Listen("tcp", "127.0.0.1:0") // connects, but never answers
	if err != nil {
		t.Fatal(err)
	}
	defer dead.Close()
	follower.Point(dead.Addr().String())
	f := dial(t, follower.Addr)
	f.do("PING", "+PONG")
	time.Sleep(50 * time.Millisecond) // as above
	began := time.Now()
	done := shutdown(follower)
	time.Sleep(100 * time.Millisecond)
	const n = 100
	var lines, want []string
	for range n {
		lines, want = append(lines, "SET a 1"), append(want, "-TRYAGAIN nothing was written...")
	}
	f.send(lines...)
	f.expect(want...)
	f.closed()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 50*time.Second { // each for itself, they would take 200 s
		t.Errorf("it took %v", took)
	}
}

// When the forwarding member stops, a WAIT at the leader answers with the number of followers so far, as it would on a leader that stops. The
// commands after it are answered.
func TestForwardedWaitWhileAFollowerStops(t *testing.T) {
	leader, follower := forwardingPair(t)
	follower.Server.AwaitLast(30 * time.Second)
	f := dial(t, follower.Addr)
	f.do("SET a 1", "+OK")
	f.send("WAIT 5 0", "GET a")
	eventually(t, func() string {
		l := dial(t, leader.Addr)
		l.send("CLIENT LIST")
		if !strings.Contains(l.bulk(), "cmd=wait") {
			return "the WAIT does not arrive"
		}
		return ""
	})
	done := shutdown(follower)
	f.expect(":1", "$1", "1")
	f.closed()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// WAIT and WAITAOF go to the leader as part of their transaction, and do not wait there.
func TestWaitInAForwardedTransaction(t *testing.T) {
	_, follower := forwardingPair(t)
	f := dial(t, follower.Addr)
	f.do("MULTI", "+OK")
	f.do("WAIT 0 10", "+QUEUED")
	f.do("EXEC", "*1", "-ERR WAIT cannot be used with replica instances...") // as outside of a transaction: this connection has not written
	f.send("MULTI", "SET a 1", "WAIT 5 0", "PING", "WAITAOF 1 5 0", "EXEC", "GET a")
	f.expect("+OK", "+QUEUED", "+QUEUED", "+QUEUED", "+QUEUED", "*4", "+OK", ":1", "+PONG", "*2", ":1", ":1", "$1", "1")
	f.send("MULTI", "WAIT 1 0", "EXEC", "WAIT 1 0")
	f.expect("+OK", "+QUEUED", "*1", ":1", ":1")
}

// A leader was elected but cannot take writes, for example because its voter's disk hangs. Commands at a follower then wait no longer than
// those at the leader.
func TestForwardingToALeaderThatDoesNotOpen(t *testing.T) {
	o := forwarding()
	o.Park = 2 * time.Second
	leader := resptest.StartWaiting(t, o)
	follower := leader.Follow(o)
	leader.Elect()
	follower.Point(leader.Addr)
	f := dial(t, follower.Addr)
	const refused = "TRYAGAIN nothing was written: no leader was reached within 2s: the elected leader does not take writes yet"
	f.do("SET a 1", "-"+refused)
	f.send("MULTI", "SET a 1", "EXEC")
	f.expect("+OK", "+QUEUED", "-EXECABORT Transaction discarded because of: "+refused)
	leader.Lead()
	f.do("SET a 1", "+OK")
}

// A leader that is about to hand over may hold a command for longer than commands wait for a leader. The next leader runs it all the same.
func TestForwardedCommandThatWasHeldForLong(t *testing.T) {
	o := forwarding()
	o.Park = 2 * time.Second
	a := resptest.StartWaiting(t, o)
	b, follower := a.Follow(o), a.Follow(o)
	a.Lead()
	follower.Point(a.Addr)
	f := dial(t, follower.Addr)
	f.do("SET a 1", "+OK")
	a.Hold()
	f.send("INCR a")
	time.Sleep(o.Park + 500*time.Millisecond)
	a.HandOver(b)
	time.Sleep(50 * time.Millisecond) // the follower learns of it a moment later
	follower.Point(b.Addr)
	f.expect(":2")
}
