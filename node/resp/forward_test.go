package resp_test

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/node/resp"
	"github.com/replicatedstore/replicatedstore/node/resp/resptest"
)

func dialMember(ctx context.Context, addr string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", addr)
}

func forwarding() resp.Options { return resp.Options{Dial: dialMember, Park: 20 * time.Second} }

// forwardingPair runs a leader, and a follower that forwards to it.
func forwardingPair(t *testing.T) (leader, follower *resptest.Node) { return pairWith(t, forwarding()) }

func pairWith(t *testing.T, o resp.Options) (leader, follower *resptest.Node) {
	leader = resptest.StartWaiting(t, o)
	follower = leader.Follow(o)
	leader.Lead()
	follower.Point(leader.Addr)
	return leader, follower
}

func TestFollowerForwards(t *testing.T) {
	leader, follower := forwardingPair(t)
	l, f := dial(t, leader.Addr), dial(t, follower.Addr)
	l.do("SET a 1", "+OK")
	f.do("GET a", "$1", "1")
	f.do("SET a 2", "+OK")
	f.do("GET a", "$1", "2")
	l.do("GET a", "$1", "2")
	f.send("INCR n", "GET n", "PING", "MGET a n", "CLIENT REPLY SKIP", "INCR n", "INCR n", "STRLEN missing")
	f.expect(":1", "$1", "1", "+PONG", "*2", "$1", "2", "$1", "1", ":3", ":0")
	f.do("INCR a x", "-ERR wrong number...")
	f.do("SET a text", "+OK")
	f.do("INCR a", "-ERR value is not an integer or out of range")
	f.do("WAIT 1 1000", ":1")
	f.do("DBSIZE", ":2")
	f.send("FLUSHALL", "DBSIZE")
	f.expect("+OK", ":0")
}

func TestForwardedTransactions(t *testing.T) {
	leader, follower := forwardingPair(t)
	l, f := dial(t, leader.Addr), dial(t, follower.Addr)
	f.send("MULTI", "INCR a", "PING", "GET a", "ECHO here", "EXEC", "GET a")
	f.expect("+OK", "+QUEUED", "+QUEUED", "+QUEUED", "+QUEUED", "*4", ":1", "+PONG", "$1", "1", "$4", "here", "$1", "1")
	f.send("MULTI", "SET a", "EXEC")
	f.expect("+OK", "-ERR wrong number...", "-EXECABORT...")
	f.send("WATCH a", "MULTI", "SET a 5", "EXEC")
	f.expect("+OK", "+OK", "+QUEUED", "*1", "+OK")
	f.do("WATCH a", "+OK")
	l.do("SET a 6", "+OK")
	f.send("MULTI", "SET a 7", "EXEC", "GET a")
	f.expect("+OK", "+QUEUED", "*-1", "$1", "6")
	f.do("WATCH a", "+OK")
	f.do("UNWATCH", "+OK")
	l.do("SET a 8", "+OK")
	f.send("MULTI", "SET a 9", "DISCARD", "MULTI", "SET a 10", "EXEC")
	f.expect("+OK", "+QUEUED", "+OK", "+OK", "+QUEUED", "*1", "+OK")
	f.do("HELLO 3", "%7")
	for f.line() != "*0" { // the reply to HELLO ends with an empty list of modules
	}
	f.do("GET missing", "_")
	f.send("MULTI", "GET missing", "EXEC")
	f.expect("+OK", "+QUEUED", "*1", "_")
}

// Client connections survive a planned handover: commands that arrive during it wait, and the next leader runs them.
func TestHandoverCostsClientsNothing(t *testing.T) {
	a, b := forwardingPair(t)
	w, watching, reads := dial(t, a.Addr), dial(t, a.Addr), dial(t, a.Addr)
	w.do("SET n 1", "+OK")
	watching.do("WATCH n", "+OK")
	reads.do("GET n", "$1", "1")
	a.Hold()
	w.send("INCR n", "GET n", "MULTI", "INCR n", "EXEC")
	time.Sleep(20 * time.Millisecond) // most likely the write waits by now; the reply is the same if not
	a.HandOver(b)
	w.expect(":2", "$1", "2", "+OK", "+QUEUED", "*1", ":3")
	watching.send("MULTI", "SET n 100", "EXEC", "GET n") // keys watched here may have changed at the next leader
	watching.expect("+OK", "+QUEUED", "*-1", "$1", "3")
	reads.do("GET n", "$1", "3")
	direct := dial(t, b.Addr)
	direct.do("INCR n", ":4")
	w.do("GET n", "$1", "4")
	w.do("WATCH n", "+OK")
	// And back: the member that forwarded leads again.
	b.Hold()
	w.send("INCR n")
	direct.send("INCR n")
	time.Sleep(20 * time.Millisecond)
	b.HandOver(a)
	w.line()
	direct.line()
	w.send("GET n", "MULTI", "SET n 1", "EXEC", "GET n")
	w.expect("$1", "6", "+OK", "+QUEUED", "*-1", "$1", "6")
}

func TestSameStore(t *testing.T) {
	for pair, want := range map[[2]string]bool{
		{"", ""}: true, {"a/1", "a/1"}: true, {"a/1", "a/"}: true, {"a/", "a/2"}: true, {"a", "a/2"}: true,
		{"a/1", "a/2"}: false, {"a/1", "b/1"}: false, {"a/", "b/"}: false, {"", "a/1"}: false,
	} {
		if got := resp.SameStore(pair[0], pair[1]); got != want {
			t.Errorf("%q and %q: %v", pair[0], pair[1], got)
		}
	}
}

// The address of a former leader may belong to another store by now, whose members would accept any command.
func TestForwardingToAnotherStoresMember(t *testing.T) {
	mine, others := forwarding(), forwarding()
	mine.Store, others.Store = "orders/1", "orders/2"
	leader := resptest.StartWaiting(t, mine)
	follower := leader.Follow(mine)
	leader.Lead()
	other := resptest.Start(t, others)
	follower.Point(other.Addr)
	f := dial(t, follower.Addr)
	f.send("SET a 1")
	time.Sleep(50 * time.Millisecond) // the follower tries again and again
	dial(t, other.Addr).do("EXISTS a", ":0")
	follower.Point(leader.Addr)
	f.expect("+OK")
	dial(t, leader.Addr).do("EXISTS a", ":1")
	dial(t, other.Addr).do("EXISTS a", ":0")
}

// A member that gets a forwarded command but does not lead runs nothing, and answers so that the command is tried elsewhere.
func TestForwardingToWhoDoesNotLead(t *testing.T) {
	leader, follower := forwardingPair(t)
	third := resptest.StartWaiting(t, forwarding())
	third.Point(follower.Addr) // which must not forward it once more
	w := dial(t, third.Addr)
	w.send("SET a 1", "SET b 1", "MULTI", "SET c 1", "EXEC")
	time.Sleep(50 * time.Millisecond)
	third.Point(leader.Addr)
	w.expect("+OK", "+OK", "+OK", "+QUEUED", "*1", "+OK")
	raw := dial(t, follower.Addr)
	raw.do("REPLICATEDSTORE.FORWARDED", "+OK")
	raw.send("SET a 2", "SET b 2")
	raw.expect("-NOTLEADER...")
	raw.closed()
	dial(t, leader.Addr).do("MGET a b", "*2", "$1", "1", "$1", "1")
}

// Forwarded pipelines keep their order and arrive complete, however large they are.
func TestForwardedPipelines(t *testing.T) {
	_, follower := forwardingPair(t)
	w := dial(t, follower.Addr)
	big := strings.Repeat("x", 40<<10)
	var lines, want []string
	for i := range 300 {
		lines = append(lines, fmt.Sprintf("APPEND log %d,", i%10), "STRLEN log")
		want = append(want, fmt.Sprintf(":%d", 2*(i+1)), fmt.Sprintf(":%d", 2*(i+1)))
		if i%50 == 0 {
			lines = append(lines, "SET big "+big, "GET big")
			want = append(want, "+OK", fmt.Sprintf("$%d", len(big)), big)
		}
	}
	w.send(lines...)
	w.expect(want...)
}

// Keys that a follower's client watches at one leader are not watched at the next leader, so EXEC must not run there.
func TestWatchIsLostWithTheLeaderThatKeptIt(t *testing.T) {
	for _, between := range []string{"", "GET other"} {
		first := resptest.StartWaiting(t, forwarding())
		follower, next := first.Follow(forwarding()), first.Follow(forwarding())
		first.Lead()
		follower.Point(first.Addr)
		f := dial(t, follower.Addr)
		f.do("SET a 1", "+OK")
		f.do("WATCH a", "+OK")
		first.HandOver(next)
		follower.Point(next.Addr)
		if between != "" {
			f.do(between, "$-1")
		}
		dial(t, next.Addr).do("SET a 2", "+OK")
		f.send("MULTI", "SET a 3", "EXEC", "GET a")
		f.expect("+OK", "+QUEUED", "*-1", "$1", "2")
		f.send("WATCH a", "MULTI", "SET a 4", "EXEC")
		f.expect("+OK", "+OK", "+QUEUED", "*1", "+OK")
	}
}

// A follower that must not serve reads itself forwards transactions of reads as a whole, even as the first command of a connection.
func TestTransactionOfReadsIsForwarded(t *testing.T) {
	leader, follower := forwardingPair(t)
	dial(t, leader.Addr).do("SET a 1", "+OK")
	follower.RefuseReads(resp.ErrStale)
	f := dial(t, follower.Addr)
	f.send("MULTI", "GET a", "PING", "EXEC", "GET a")
	f.expect("+OK", "+QUEUED", "+QUEUED", "*2", "$1", "1", "+PONG", "$1", "1")
}

// UNWATCH in a transaction does nothing that EXEC would not do, so the connection to the leader stays open.
func TestUnwatchInAForwardedTransaction(t *testing.T) {
	_, follower := forwardingPair(t)
	f := dial(t, follower.Addr)
	f.do("WATCH a", "+OK")
	f.send("MULTI", "SET a 1", "UNWATCH", "GET a", "EXEC", "GET a")
	f.expect("+OK", "+QUEUED", "+QUEUED", "+QUEUED", "*3", "+OK", "+OK", "$1", "1", "$1", "1")
}

// WAIT also counts what the connection wrote at an earlier leader.
func TestWaitCountsWhatWasWrittenElsewhere(t *testing.T) {
	a, b := forwardingPair(t)
	w := dial(t, b.Addr)
	w.do("SET a 1", "+OK")
	a.HandOver(b)
	b.Lag(1) // its followers hold nothing after position 1
	w.do("WAIT 1 20", ":0")
	w.do("WAITAOF 1 1 20", "*2", ":1", ":0")
}

// A forwarded WAIT without a timeout ends when its client hangs up at the follower.
func TestForwardedWaitEndsWithItsClient(t *testing.T) {
	leader, follower := forwardingPair(t)
	f := dial(t, follower.Addr)
	f.do("SET a 1", "+OK")
	f.send("WAIT 5 0")
	waiting := func() bool {
		l := dial(t, leader.Addr)
		l.send("CLIENT LIST")
		return strings.Contains(l.bulk(), "cmd=wait")
	}
	eventually(t, func() string {
		if !waiting() {
			return "the WAIT does not arrive"
		}
		return ""
	})
	_ = f.nc.Close()
	eventually(t, func() string {
		if waiting() {
			return "the leader still waits"
		}
		return ""
	})
}

// A transaction whose commands and replies fill all buffers in between arrives complete.
func TestLargeForwardedTransaction(t *testing.T) {
	_, follower := forwardingPair(t)
	f := dial(t, follower.Addr)
	const n, size, atOnce = 5000, 1 << 10, 50
	f.do("MULTI", "+OK")
	for i := 0; i < n; i += atOnce {
		var lines []string
		for k := range atOnce {
			lines = append(lines, fmt.Sprintf("GETSET k %0*d", size, i+k))
		}
		f.send(lines...)
		f.expect(slices.Repeat([]string{"+QUEUED"}, atOnce)...)
	}
	f.do("EXEC", fmt.Sprintf("*%d", n), "$-1")
	for i := range n - 1 {
		f.expect(fmt.Sprintf("$%d", size), fmt.Sprintf("%0*d", size, i))
	}
}

// A member that the -rw Service selects may not lead yet, or no longer. Its clients want the leader's data, not its own.
func TestClientsOfTheLeaderAreServedByTheLeader(t *testing.T) {
	leader, follower := forwardingPair(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = follower.Server.ServeByLeader(l) }()
	dial(t, leader.Addr).do("SET a 1", "+OK")
	follower.RefuseReads(resp.ErrLoading)
	f := dial(t, l.Addr().String())
	f.do("GET a", "$1", "1")
	f.send("MULTI", "GET a", "EXEC", "PING")
	f.expect("+OK", "+QUEUED", "*1", "$1", "1", "+PONG")
	dial(t, follower.Addr).do("GET a", "-LOADING...")
	// Some clients check the role, and refuse to write to a replica for as long as the connection lasts.
	for _, c := range []struct {
		conn  *wire
		leads bool
	}{{f, true}, {dial(t, follower.Addr), false}, {dial(t, leader.Addr), true}} {
		c.conn.send("INFO replication")
		if info := c.conn.bulk(); strings.Contains(info, "role:master") != c.leads {
			t.Errorf("leads %t: %s", c.leads, info)
		}
		c.conn.send("ROLE")
		role := map[bool][]string{true: {"*3", "$6", "master"}, false: {"*5", "$5", "slave"}}[c.leads]
		c.conn.expect(role...)
	}
	h := dial(t, l.Addr().String())
	h.send("HELLO 3")
	for want := "role"; h.line() != want; {
	}
	h.expect("$6", "master")
}

// A transaction without commands on data runs even where reads are refused.
func TestTransactionWithoutDataAtAFollowerThatMayNotRead(t *testing.T) {
	_, follower := forwardingPair(t)
	follower.RefuseReads(resp.ErrStale)
	f := dial(t, follower.Addr)
	f.send("MULTI", "PING", "EXEC", "MULTI", "EXEC")
	f.expect("+OK", "+QUEUED", "*1", "+PONG", "+OK", "*0")
}

// A pipeline does many reads after a write while the leadership is handed over: none of its outcomes is unknown.
func TestHandoverInTheMiddleOfALongPipeline(t *testing.T) {
	a, b := forwardingPair(t)
	dial(t, a.Addr).do("SET n 1", "+OK")
	lines, want := []string{"SET m 1"}, []string{"+OK"}
	for range 20_000 {
		lines, want = append(lines, "GET n"), append(want, "$1", "1")
	}
	for try := range 10 {
		w := dial(t, a.Addr)
		go w.send(lines...)
		time.Sleep(time.Duration(1+try) * time.Millisecond)
		a.Hold()
		time.Sleep(500 * time.Millisecond) // until the batch that Hold has waited for knows that it is proved; a real handover takes longer
		a.HandOver(b)
		w.expect(want...)
		_ = w.nc.Close()
		a, b = b, a
	}
}
