package resp_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/node/resp"
	"github.com/replicatedstore/replicatedstore/node/resp/resptest"
	"github.com/replicatedstore/replicatedstore/node/store"
)

// boundedPair is a forwardingPair with an output limit of 8 MiB.
func boundedPair(t *testing.T) (leader, follower *resptest.Node) {
	o := forwarding()
	o.MaxOutput = 8 << 20
	leader = resptest.StartWaiting(t, o)
	follower = leader.Follow(o)
	leader.Lead()
	follower.Point(leader.Addr)
	return leader, follower
}

// A transaction takes effect as a whole even if its replies are too long to be sent.
func TestTransactionWithTooLongReplies(t *testing.T) {
	leader, follower := boundedPair(t)
	w := dial(t, leader.Addr)
	w.do("SETRANGE big 2999999 x", ":3000000")
	for _, addr := range []string{leader.Addr, follower.Addr} {
		w.do("DEL a b", ":...")
		c := dial(t, addr)
		c.send("MULTI", "SET a 1", "GET big", "GET big", "GET big", "SET b 1")
		c.expect("+OK", "+QUEUED", "+QUEUED", "+QUEUED", "+QUEUED", "+QUEUED")
		c.send("EXEC")
		if addr == follower.Addr {
			c.expect("-OUTCOMEUNKNOWN...") // the follower only learns that the leader has closed the connection
		}
		c.closed()
		w.do("EXISTS a b", ":2")
	}
}

// The output limit bounds one reply, but not the replies of a pipeline together, as long as the client reads them.
func TestLongRepliesOfAPipeline(t *testing.T) {
	leader, follower := boundedPair(t)
	w := dial(t, leader.Addr)
	w.do("SETRANGE big 2999999 x", ":3000000")
	for _, addr := range []string{leader.Addr, follower.Addr} {
		c := dial(t, addr)
		c.send("SET a 1", strings.Repeat("GET big\r\n", 20)+"SET a 2", strings.Repeat("GET big\r\n", 20)+"GET a")
		c.expect("+OK")
		for range 20 {
			c.bulk()
		}
		c.expect("+OK")
		for range 20 {
			c.bulk()
		}
		c.expect("$1", "2")
	}
}

// A reply of the leader that exceeds the follower's output limit ends the connection, as one of the follower's own replies does.
func TestTooLongReplyOfTheLeader(t *testing.T) {
	leader := resptest.StartWaiting(t, forwarding())
	o := forwarding()
	o.MaxOutput = 1 << 20
	follower := leader.Follow(o)
	leader.Lead()
	follower.Point(leader.Addr)
	c := dial(t, follower.Addr)
	c.do("SETRANGE big 299999 x", ":300000")
	c.send("MGET big big big big")
	c.closed()
}

// An error that repeats what the client sent may be longer than the buffer it is read with.
func TestLongErrorOfTheLeader(t *testing.T) {
	_, follower := forwardingPair(t)
	c := dial(t, follower.Addr)
	word := strings.Repeat("x", 50_000)
	c.do("EXPIRE k 10 "+word, "-ERR Unsupported option "+word)
	c.do("PING", "+PONG")
}

// Commands that rewrite large values exceed the bound on what is in flight by at most one value.
func TestRewrittenValuesInFlightAreBounded(t *testing.T) {
	n := resptest.Start(t, resp.Options{}, store.SequencerOptions{MaxBytes: 4 << 20})
	w := dial(t, n.Addr)
	w.do("SETRANGE big 999999 x", ":1000000")
	before := n.Tail()
	n.Stall()
	w.send(strings.Repeat("APPEND big x\r\n", 63) + "PING")
	for end := time.Now().Add(200 * time.Millisecond); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if ahead := n.Tail() - before; ahead > 7 {
			t.Fatalf("%d values of 1 MB in flight, with a bound of 4 MiB", ahead)
		}
	}
	n.Resume()
	for i := range 63 {
		w.expect(":" + []string{"10000", "10000"}[i%2] + "...")
	}
	w.expect("+PONG")
}

// Asking only whether many large values exist copies none of them.
func TestExistenceKeepsNoCopies(t *testing.T) {
	n := resptest.Start(t, resp.Options{})
	w := dial(t, n.Addr)
	w.do("SETRANGE big 999999 x", ":1000000")
	many := "EXISTS" + strings.Repeat(" big", 100)
	for _, lines := range [][]string{
		{"SET a 1", many, strings.Repeat("TTL big\r\n", 50) + "PING end"},
		{"MULTI", "SET a 1", many, strings.Repeat("TTL big\r\n", 50) + "EXEC", "PING end"},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		w.send(lines...)
		for w.line() != "end" {
		}
		if runtime.ReadMemStats(&after); after.TotalAlloc-before.TotalAlloc > 30<<20 {
			t.Errorf("%s...: %d MiB allocated", lines[0], (after.TotalAlloc-before.TotalAlloc)>>20)
		}
	}
}

// A leadership ends between two batches of a pipeline on a connection that was accepted while the member followed.
func TestLeadershipEndsWithinAPipelineOfReads(t *testing.T) {
	a, b := forwardingPair(t)
	a.Resign()
	a.Point("")
	w := dial(t, a.Addr)
	w.do("PING", "+PONG")
	a.Lead()
	a.OnReadGate(func() { a.HandOver(b) })
	w.send("MULTI", "GET a", "EXEC", "GET b")
	w.expect("+OK", "+QUEUED", "-MASTERDOWN...")
	w.closed()
	dial(t, a.Addr).do("SET a 1", "+OK")
}

// If the reads of one leadership cannot be proved to be current, a write of the next leadership in the same pipeline is not acknowledged.
func TestNextLeadershipWithinAPipeline(t *testing.T) {
	n := resptest.Start(t, forwarding())
	w := dial(t, n.Addr)
	w.do("SET a 1", "+OK")
	n.RefuseReads(resp.ErrStale)
	n.OnReadGate(func() {
		n.Resign()
		n.Lead()
		n.Stall()
	})
	w.send("MULTI", "GET a", "EXEC", "SET b 1")
	w.expect("+OK", "+QUEUED", "-MASTERDOWN...", "-OUTCOMEUNKNOWN...")
	w.closed()
	n.Resume()
}

// A key that a member has reported as expired while it led does not come back when it follows.
func TestExpiredStaysSoAfterALeadership(t *testing.T) {
	n := resptest.Start(t, resp.Options{})
	n.SetActiveExpire(false)
	w := dial(t, n.Addr)
	w.do("SET a 1 PX 60000", "+OK")
	n.Advance(time.Hour)
	w.do("GET a", "$-1")
	n.Depose()
	dial(t, n.Addr).do("GET a", "$-1")
}

// A loop never reads from the disk, whatever the command.
func TestColdReadsLeaveTheLoop(t *testing.T) {
	n := resptest.Start(t, resp.Options{})
	w := dial(t, n.Addr)
	for i := range 600 { // three times as much as fits in memory
		w.do(fmt.Sprintf("SETRANGE k%d 99999 x", i), ":100000")
	}
	parked := func(want int) {
		t.Helper()
		eventually(t, func() string {
			if got := n.Server.Parked(); got != want {
				return fmt.Sprintf("%d connections are parked", got)
			}
			return ""
		})
	}
	for i, cmd := range []string{"EXISTS", "TOUCH", "MGET"} {
		c := dial(t, n.Addr)
		c.do("PING", "+PONG")
		parked(2)
		// The beginning of another command keeps the goroutine that the connection is handed to.
		if _, err := fmt.Fprintf(c.nc, "%s k%d\r\nPIN", cmd, i); err != nil {
			t.Fatal(err)
		}
		if head := c.line(); head == "*1" {
			c.line()
			c.line()
		}
		parked(1)
		_ = c.nc.Close()
	}
}

// A command with many reads ends when its connection is killed, as it does when the server stops.
func TestKilledClientReadsNoFurther(t *testing.T) {
	n := resptest.Start(t, resp.Options{})
	w := dial(t, n.Addr)
	for i := range 8 { // more than fits in memory, so that each read takes milliseconds
		w.do(fmt.Sprintf("SETRANGE k%d 8388607 x", i), ":8388608")
	}
	const keys = 200_000
	command := fmt.Sprintf("*%d\r\n$6\r\nEXISTS\r\n", keys+1) + strings.TrimSuffix(strings.Repeat("$2\r\nk0\r\n", keys), "\r\n")
	for _, lines := range [][]string{{command}, {"MULTI", command, "EXEC"}} {
		c := dial(t, n.Addr)
		c.send("CLIENT ID")
		id := strings.TrimPrefix(c.line(), ":")
		c.send(lines...)
		eventually(t, func() string {
			w.send("CLIENT LIST ID " + id)
			if list := w.bulk(); !strings.Contains(list, "cmd=exists") {
				return list
			}
			return ""
		})
		w.do("CLIENT KILL ID "+id, ":1")
		eventually(t, func() string {
			w.send("CLIENT LIST ID " + id)
			return w.bulk()
		})
	}
}

// Long requests take turns, so that many at once do not take more memory than there is. Their memory is given back however they end.
func TestLongRequestsTakeTurns(t *testing.T) {
	n := resptest.Start(t, resp.Options{MaxLarge: 4 << 20, StallTimeout: time.Hour, Now: slowClock()})
	head := "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$3000000\r\n"
	slow := dial(t, n.Addr)
	slow.send(head + strings.Repeat("x", 998_998)) // the rest comes late; send adds two bytes
	eventually(t, func() string {
		if n.Server.Rationed() == 0 {
			return "nothing is taken"
		}
		return ""
	})
	gone := dial(t, n.Addr)
	gone.send(head + strings.Repeat("x", 1_000_000))
	_ = gone.nc.Close()
	done := make(chan struct{})
	for range 8 {
		go func() {
			defer func() { done <- struct{}{} }()
			c := dial(t, n.Addr)
			for range 4 {
				c.send(head + strings.Repeat("y", 3_000_000))
				if got := c.line(); got != "+OK" {
					t.Error(got)
				}
			}
		}()
	}
	left := 2_001_000
	for ended := 0; ended < 8; {
		select {
		case <-done:
			ended++
		case <-time.After(500 * time.Millisecond): // it must not be silent
			slow.send(strings.Repeat("x", 998))
			left -= 1000
		}
	}
	slow.send(strings.Repeat("x", left))
	slow.expect("+OK")
	eventuallyNone(t, n.Server.Rationed)
}

// Each argument that MULTI queues takes memory, however short it is.
func TestTransactionOfManyArguments(t *testing.T) {
	n := resptest.Start(t, resp.Options{Limits: resp.Limits{MaxBulk: 1 << 20}})
	w := dial(t, n.Addr)
	w.do("MULTI", "+OK")
	del := "*50001\r\n$3\r\nDEL\r\n" + strings.Repeat("$0\r\n\r\n", 50_000)
	for i := range 10 {
		if _, err := w.nc.Write([]byte(del)); err != nil {
			t.Fatal(err)
		}
		if line := w.line(); line == "-ERR the transaction is longer than client-query-buffer-limit" {
			w.do("EXEC", "-EXECABORT...")
			return
		} else if line != "+QUEUED" {
			t.Fatalf("%d: %s", i, line)
		}
	}
	t.Error("ten million bytes of arguments that are empty are in memory")
}
