package resp_test

import (
	"errors"
	"io"
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
	reader := dial(t, n.Addr)
	reader.do("GET a", "$1", "1")
	ahead.Store(int64(4 * time.Second))
	fresh := dial(t, n.Addr)
	fresh.do("PING", "+PONG")
	ahead.Store(int64(6 * time.Second))
	n.SetUnheard(6 * time.Second)
	old.send("GET a", "SET a 2", "SET a 3", "GET a")
	old.expect("$1", "1", refusedAlone, refusedAlone, "$1", "1")
	if line, err := old.r.ReadString('\n'); !errors.Is(err, io.EOF) {
		t.Errorf("it stays: %q, %v", line, err)
	}
	reader.do("GET a", "$1", "1")
	for range 3 {
		fresh.do("SET a 4", refusedAlone)
	}
	fresh.do("GET a", "$1", "1")
}

// A pipeline longer than any buffer is answered to its end before its client is sent away. (The connection was reset in the middle.)
func TestALongPipelineOfAClientThatIsSentAway(t *testing.T) {
	n, ahead, old := startAlone(t)
	ahead.Store(int64(6 * time.Second))
	n.SetUnheard(6 * time.Second)
	const commands = 20_000
	go func() { _, _ = old.nc.Write([]byte(strings.Repeat("SET a "+strings.Repeat("x", 50)+"\r\n", commands))) }()
	for i := range commands {
		if line := old.line(); line != refusedAlone {
			t.Fatalf("reply %d: %q", i, line)
		}
	}
	if line, err := old.r.ReadString('\n'); !errors.Is(err, io.EOF) {
		t.Errorf("it stays: %q, %v", line, err)
	}
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
	n := resptest.Start(t, resp.Options{CommitTimeout: 100 * time.Millisecond})
	c := dial(t, n.Addr)
	n.SetUnheard(2900 * time.Millisecond)
	c.do("SET a 1", "+OK")
	n.SetUnheard(3 * time.Second)
	c.do("SET a 2", "-NOREPLICAS nothing was written: too few synchronous followers have been heard for 3s; try again once they are back")
}
