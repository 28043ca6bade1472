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

// A leader that has heard too few followers for as long as a write may wait refuses writes, which could only end as of unknown
// outcome; it goes on reading, and takes writes again once it hears them.
func TestWritesWhileTooFewFollowersAreHeard(t *testing.T) {
	n := resptest.Start(t, resp.Options{CommitTimeout: 5 * time.Second})
	c := dial(t, n.Addr)
	c.do("SET a 1", "+OK")
	n.SetUnheard(4900 * time.Millisecond) // they may be back before it is given up
	c.do("SET a 2", "+OK")
	n.SetUnheard(5 * time.Second)
	const refused = "NOREPLICAS nothing was written: too few synchronous followers have been heard for 5s; try again once they are back"
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
	c.do("EXEC", "-EXECABORT Transaction discarded because of: NOREPLICAS nothing was written: too few synchronous followers have been heard for 1m0s; "+
		"try again once they are back")
	n.SetUnheard(0)
	c.do("GET a", "$1", "2")
	c.do("SET a 6", "+OK")
}

// sentAway expects the end of the connection, in an orderly way.
func sentAway(t *testing.T, c *wire) {
	t.Helper()
	c.renew()
	if line, err := c.r.ReadString('\n'); !errors.Is(err, io.EOF) || line != "" {
		t.Errorf("it stays: %q, %v", line, err)
	}
}

// startAlone runs a leader whose clock is ahead by what is returned, and a client that has been connected for 6 s when that is set.
func startAlone(t *testing.T) (n *resptest.Node, ahead *atomic.Int64, old *wire) {
	ahead = new(atomic.Int64)
	n = resptest.Start(t, resp.Options{
		CommitTimeout: 5 * time.Second, Now: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) },
	})
	old = dial(t, n.Addr)
	old.do("SET a 1", "+OK")
	return n, ahead, old
}

const refusedAlone = "-NOREPLICAS nothing was written: too few synchronous followers have been heard for 6s; try again once they are back"

// A leader that is alone may have been replaced, and its clients must find out: who has been connected for long is sent away, once
// everything it asked for is answered; who has come since stays.
func TestClientsOfALeaderThatIsAloneAreSentAway(t *testing.T) {
	n, ahead, old := startAlone(t)
	reader, refused := dial(t, n.Addr), dial(t, n.Addr)
	reader.do("GET a", "$1", "1")
	refused.do("GET a", "$1", "1")
	ahead.Store(int64(4 * time.Second))
	fresh := dial(t, n.Addr)
	fresh.do("PING", "+PONG")
	ahead.Store(int64(6 * time.Second))
	n.SetUnheard(6 * time.Second)
	old.send("GET a", "SET a 2", "SET a 3", "GET a")
	old.expect("$1", "1", refusedAlone, refusedAlone, "$1", "1")
	sentAway(t, old)
	reader.do("GET a", "$1", "1")
	for range 3 {
		fresh.do("SET a 4", refusedAlone)
	}
	fresh.do("GET a", "$1", "1")
	n.RefuseReads(resp.ErrStale) // who reads only is sent away once that is refused
	fresh.do("GET a", mayNotRead)
	fresh.do("PING", "+PONG")
	refused.send("GET a", "PING")
	refused.expect(mayNotRead, "+PONG")
	sentAway(t, refused)
	n.SetUnheard(0) // as it may be for a moment
	reader.do("GET a", masterDown)
	reader.do("PING", "+PONG")
}

const mayNotRead = "-MASTERDOWN too few synchronous followers have been heard for 6s, another member may lead by now"
const masterDown = "-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'."

// startBetween runs a follower whose clients' commands go to a leader, and clients that have been connected for 6 s, as startAlone does.
func startBetween(t *testing.T, park time.Duration) (leader, follower *resptest.Node, old []*wire) {
	var ahead atomic.Int64
	o := forwarding()
	o.CommitTimeout, o.Park = 5*time.Second, park
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
	ahead.Store(int64(6 * time.Second))
	return leader, follower, old
}

// A member in between sends its clients away for a leader that is alone, and tells what that said, also of a transaction.
func TestClientsOfAFollowerOfALeaderThatIsAlone(t *testing.T) {
	leader, follower, old := startBetween(t, 20*time.Second)
	leader.SetUnheard(6 * time.Second)
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

// A member that has heard no leader for long sends clients away, but not for the moments of a failover; and who sends many commands at
// once waits for a leader once.
func TestClientsOfAMemberThatHearsNoLeader(t *testing.T) {
	leader, follower, old := startBetween(t, time.Second)
	follower.Point("")
	follower.SetUnheard(4900 * time.Millisecond)
	const nowhere = "-TRYAGAIN nothing was written, no leader was reached within 1s"
	old[0].do("GET a", nowhere)
	const patient = 400
	old[0].send(slices.Repeat([]string{"SET a 2"}, patient)...)
	time.Sleep(1500 * time.Millisecond) // most likely one is answered by now
	follower.Point(leader.Addr)
	replies := map[string]int{}
	for range patient {
		replies[old[0].line()]++
	}
	if replies["+OK"] == 0 || replies["+OK"]+replies[nowhere] != patient {
		t.Errorf("once a leader is there: %v", replies)
	}
	follower.Point("")
	follower.SetUnheard(5 * time.Second)
	fresh := dial(t, follower.Addr)
	fresh.do("SET a 2", nowhere)
	fresh.do("PING", "+PONG")
	old[1].do("GET a", nowhere)
	sentAway(t, old[1])
	const commands = 1000 // of which each waited
	go func() { _, _ = old[2].nc.Write([]byte(strings.Repeat("SET a 2\r\n", commands))) }()
	began := time.Now()
	for i := range commands {
		if line := old[2].line(); line != nowhere {
			t.Fatalf("reply %d: %q", i, line)
		}
		if took := time.Since(began); took > 25*time.Second {
			t.Fatalf("%d commands waited for %v, and %d may for 1 s together", i+1, took, commands)
		}
	}
	sentAway(t, old[2])
	follower.Point(leader.Addr)
	follower.SetUnheard(0)
	old[0].do("SET a 3", "+OK")
	old[3].do("GET a", "$1", "3")
	old[3].do("PING", "+PONG")
}

// A pipeline longer than any buffer is answered to its end before its client is sent away. (The connection was reset in the middle.)
func TestALongPipelineOfAClientThatIsSentAway(t *testing.T) {
	n, ahead, old := startAlone(t)
	n.Server.LeaveLater(10 * time.Second)
	ahead.Store(int64(6 * time.Second))
	n.SetUnheard(6 * time.Second)
	const commands = 20_000
	go func() { _, _ = old.nc.Write([]byte(strings.Repeat("SET a "+strings.Repeat("x", 50)+"\r\n", commands))) }()
	for i := range commands {
		if line := old.line(); line != refusedAlone {
			t.Fatalf("reply %d: %q", i, line)
		}
	}
	sentAway(t, old)
}

// Who goes on asking is sent away all the same, after a reply, and hears so in an orderly way, whatever is on its way then.
func TestAClientThatGoesOnIsSentAway(t *testing.T) {
	n, ahead, old := startAlone(t)
	ahead.Store(int64(6 * time.Second))
	n.SetUnheard(6 * time.Second)
	for began := time.Now(); time.Since(began) < 10*time.Second; {
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

// However short writes may wait, moments are not enough.
func TestMomentsAloneAreNoReasonToRefuse(t *testing.T) {
	n := resptest.Start(t, resp.Options{CommitTimeout: 2 * time.Second})
	c := dial(t, n.Addr)
	n.SetUnheard(2900 * time.Millisecond)
	c.do("SET a 1", "+OK")
	n.SetUnheard(3 * time.Second)
	c.do("SET a 2", "-NOREPLICAS nothing was written: too few synchronous followers have been heard for 3s; try again once they are back")
}
