package resp_test

import (
	"errors"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/node/resp"
	"github.com/replicatedstore/replicatedstore/node/resp/resptest"
)

// A leader that has heard from too few followers for as long as a write may wait refuses writes, which could only end with an unknown
// outcome. It still answers reads, and takes writes again once it hears from the followers.
func TestWritesWhileTooFewFollowersAreHeard(t *testing.T) {
	n := resptest.Start(t, resp.Options{CommitTimeout: time.Minute})
	c := dial(t, n.Addr)
	c.do("SET a 1", "+OK")
	n.SetUnheard(59 * time.Second) // the followers may be back before the write times out
	c.do("SET a 2", "+OK")
	n.SetUnheard(time.Minute)
	const refused = "NOREPLICAS nothing was written: the leader has heard from too few synchronous followers for 1m0s; try again once they are back"
	c.do("SET a 3", "-"+refused)
	c.do("DEL a", "-"+refused)
	c.do("GET a", "$1", "2")
	c.do("PING", "+PONG")
	c.do("MULTI", "+OK")
	c.do("GET a", "+QUEUED")
	c.do("SET a 4", "-"+refused)
	c.do("EXEC", "-EXECABORT Transaction discarded because of previous errors.")
	c.do("MULTI", "+OK")
	c.do("GET a", "+QUEUED")
	c.do("EXEC", "*1", "$1", "2")
	n.SetUnheard(0)
	c.do("MULTI", "+OK")
	c.do("SET a 5", "+QUEUED")
	n.SetUnheard(time.Minute)
	c.do("EXEC", "-EXECABORT Transaction discarded because of: NOREPLICAS nothing was written: the leader has heard from too few synchronous followers for 1m0s; "+
		"try again once they are back")
	n.SetUnheard(0)
	c.do("GET a", "$1", "2")
	c.do("SET a 6", "+OK")
}

// sentAway expects that the server closes the connection in an orderly way.
func sentAway(t *testing.T, c *wire) {
	t.Helper()
	c.renew()
	if line, err := c.r.ReadString('\n'); !errors.Is(err, io.EOF) || line != "" {
		t.Errorf("it stays: %q, %v", line, err)
	}
}

// startAlone runs a leader whose clock is ahead by *ahead, and connects a client. Once the caller sets ahead to 72 s, the client has been
// connected for that long.
func startAlone(t *testing.T) (n *resptest.Node, ahead *atomic.Int64, old *wire) {
	ahead = new(atomic.Int64)
	n = resptest.Start(t, resp.Options{
		CommitTimeout: time.Minute, Now: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) },
	})
	old = dial(t, n.Addr)
	old.do("SET a 1", "+OK")
	return n, ahead, old
}

const refusedAlone = "-NOREPLICAS nothing was written: the leader has heard from too few synchronous followers for 1m12s; try again once they are back"

// A leader that is alone may have been replaced, and its clients must find out. A client that has been connected for long is sent away once
// everything it asked for is answered. A client that has connected since stays.
func TestClientsOfALeaderThatIsAloneAreSentAway(t *testing.T) {
	n, ahead, old := startAlone(t)
	reader, refused := dial(t, n.Addr), dial(t, n.Addr)
	reader.do("GET a", "$1", "1")
	refused.do("GET a", "$1", "1")
	ahead.Store(int64(48 * time.Second))
	fresh := dial(t, n.Addr)
	fresh.do("PING", "+PONG")
	ahead.Store(int64(72 * time.Second))
	n.SetUnheard(72 * time.Second)
	old.send("GET a", "SET a 2", "SET a 3", "GET a")
	old.expect("$1", "1", refusedAlone, refusedAlone, "$1", "1")
	sentAway(t, old)
	reader.do("GET a", "$1", "1")
	for range 3 {
		fresh.do("SET a 4", refusedAlone)
	}
	fresh.do("GET a", "$1", "1")
	n.RefuseReads(resp.ErrStale) // a client that only reads is sent away once a read is refused
	fresh.do("GET a", mayNotRead)
	fresh.do("PING", "+PONG")
	refused.send("GET a", "PING")
	refused.expect(mayNotRead, "+PONG")
	sentAway(t, refused)
	n.SetUnheard(0) // as may happen for a moment
	reader.do("GET a", masterDown)
	reader.do("PING", "+PONG")
}

const mayNotRead = "-MASTERDOWN too few synchronous followers have been heard for 1m12s; another member may lead by now"
const masterDown = "-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'."

// startBetween runs a follower that forwards to a leader, and clients of the follower that have been connected for 72 s; see startAlone.
func startBetween(t *testing.T, park time.Duration) (leader, follower *resptest.Node, old []*wire) {
	var ahead atomic.Int64
	o := forwarding()
	o.CommitTimeout, o.Park = time.Minute, park
	o.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	leader = resptest.StartWaiting(t, o)
	follower = leader.Follow(o)
	leader.Lead()
	follower.Point(leader.Addr)
	for range 4 {
		c := dial(t, follower.Addr)
		c.do("SET a 1", "+OK")
		old = append(old, c)
	}
	ahead.Store(int64(72 * time.Second))
	return leader, follower, old
}

// A member that forwards to a leader that is alone sends its clients away, and passes on the leader's error, also for a transaction.
func TestClientsOfAFollowerOfALeaderThatIsAlone(t *testing.T) {
	leader, follower, old := startBetween(t, 20*time.Second)
	leader.SetUnheard(72 * time.Second)
	fresh := dial(t, follower.Addr)
	fresh.do("SET a 2", refusedAlone)
	fresh.do("GET a", "$1", "1")
	old[0].send("SET a 2", "GET a")
	old[0].expect(refusedAlone, "$1", "1")
	sentAway(t, old[0])
	const aborted = "-EXECABORT Transaction discarded because of: "
	for _, c := range []*wire{fresh, old[1]} {
		c.send("MULTI", "GET a", "SET a 3", "EXEC", "GET a")
		c.expect("+OK", "+QUEUED", "+QUEUED", aborted+refusedAlone[1:], "$1", "1")
	}
	sentAway(t, old[1])
	leader.RefuseReads(resp.ErrStale)
	fresh.do("GET a", mayNotRead)
	fresh.do("PING", "+PONG")
	old[2].do("GET a", mayNotRead)
	sentAway(t, old[2])
	leader.SetUnheard(0)
	old[3].do("GET a", masterDown)
	leader.RefuseReads(nil)
	fresh.do("SET a 4", "+OK")
	old[3].do("GET a", "$1", "4")
	old[3].do("PING", "+PONG")
	fresh.send("INFO errorstats")
	if stats := fresh.bulk(); !strings.Contains(stats, "errorstat_NOREPLICAS:count=2\r\n") || !strings.Contains(stats, "errorstat_MASTERDOWN:count=3\r\n") {
		t.Errorf("what the leader replied is told as\n%s", stats)
	}
}

// A member that has heard from no leader for long sends its clients away, but not during the short time that a failover takes. A client that
// sends many commands at once waits for a leader only once.
func TestClientsOfAMemberThatHearsNoLeader(t *testing.T) {
	leader, follower, old := startBetween(t, 3*time.Second)
	follower.Point("")
	follower.SetUnheard(59 * time.Second)
	const nowhere = "-TRYAGAIN nothing was written: no leader was reached within 3s"
	old[0].do("GET a", nowhere)
	const patient = 400
	old[0].send(slices.Repeat([]string{"SET a 2"}, patient)...)
	time.Sleep(3500 * time.Millisecond) // most likely one command is answered by now
	follower.Point(leader.Addr)
	replies := map[string]int{}
	for range patient {
		replies[old[0].line()]++
	}
	if replies["+OK"] == 0 || replies["+OK"]+replies[nowhere] != patient {
		t.Errorf("once a leader is there: %v", replies)
	}
	follower.Point("")
	follower.SetUnheard(time.Minute)
	fresh := dial(t, follower.Addr)
	fresh.do("SET a 2", nowhere)
	fresh.do("PING", "+PONG")
	old[1].do("GET a", nowhere)
	sentAway(t, old[1])
	const commands = 1000 // each of which used to wait
	go func() { _, _ = old[2].nc.Write([]byte(strings.Repeat("SET a 2\r\n", commands))) }()
	began := time.Now()
	for i := range commands {
		if line := old[2].line(); line != nowhere {
			t.Fatalf("reply %d: %q", i, line)
		}
		if took := time.Since(began); took > 100*time.Second {
			t.Fatalf("%d commands waited for %v, and %d may for 3 s together", i+1, took, commands)
		}
	}
	sentAway(t, old[2])
	follower.Point(leader.Addr)
	follower.SetUnheard(0)
	old[0].do("SET a 3", "+OK")
	old[3].do("GET a", "$1", "3")
	old[3].do("PING", "+PONG")
}

// A pipeline longer than any buffer is answered completely before its client is sent away. (The connection used to be reset in the middle.)
func TestALongPipelineOfAClientThatIsSentAway(t *testing.T) {
	n, ahead, old := startAlone(t)
	n.Server.LeaveLater(10 * time.Second)
	n.Server.AwaitLast(5 * time.Second)
	ahead.Store(int64(72 * time.Second))
	n.SetUnheard(72 * time.Second)
	const commands = 20_000
	go func() { _, _ = old.nc.Write([]byte(strings.Repeat("SET a "+strings.Repeat("x", 50)+"\r\n", commands))) }()
	for i := range commands {
		if line := old.line(); line != refusedAlone {
			t.Fatalf("reply %d: %q", i, line)
		}
	}
	sentAway(t, old)
}

// A client that goes on sending commands is sent away all the same, after a reply and in an orderly way, whatever it has just sent.
func TestAClientThatGoesOnIsSentAway(t *testing.T) {
	n, ahead, old := startAlone(t)
	ahead.Store(int64(72 * time.Second))
	n.SetUnheard(72 * time.Second)
	for began := time.Now(); time.Since(began) < testTimeout; {
		old.send("SET a 2", "PING")
		line, err := old.r.ReadString('\n')
		if errors.Is(err, io.EOF) && line == "" {
			return
		}
		if err != nil || line != refusedAlone+"\r\n" {
			t.Fatalf("%q, %v", line, err)
		}
		old.expect("+PONG")
	}
	t.Fatal("it stays")
}

// However short the commit timeout is, a short interruption is not enough to refuse writes.
func TestMomentsAloneAreNoReasonToRefuse(t *testing.T) {
	n := resptest.Start(t, resp.Options{CommitTimeout: 2 * time.Second})
	c := dial(t, n.Addr)
	n.SetUnheard(2900 * time.Millisecond)
	c.send("SET a 1")
	if line := c.line(); line != "+OK" && !strings.HasPrefix(line, "-OUTCOMEUNKNOWN") { // it may take longer on a busy machine
		t.Error(line)
	}
	n.SetUnheard(3 * time.Second)
	dial(t, n.Addr).do("SET a 2", "-NOREPLICAS nothing was written: the leader has heard from too few synchronous followers for 3s; try again once they are back")
}
