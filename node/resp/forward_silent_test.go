package resp_test

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/node/resp/resptest"
)

// A write that was sent to a leader that is gone may have taken effect. It is never run twice.
func TestForwardedWriteOfUnknownOutcome(t *testing.T) {
	leader, follower := forwardingPair(t)
	f := dial(t, follower.Addr)
	f.do("SET a 1", "+OK")
	leader.Stall()
	f.send("GET a", "INCR a", "PING", "GET a")
	eventually(t, func() string {
		if !leader.InFlight() {
			return "the write does not arrive"
		}
		return ""
	})
	leader.Depose()
	f.expect("$1", "1", "-OUTCOMEUNKNOWN the outcome of this write is unknown...")
	f.closed()
}

// The leader's machine is gone: it sends nothing, and then a new leader becomes known.
func TestForwardedWriteToASilentLeader(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	received := make(chan string, 10)
	go func() {
		c, err := silent.Accept()
		if err != nil {
			return
		}
		in := bufio.NewReader(c)
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				return
			}
			if strings.HasPrefix(line, "replicatedstore") {
				fmt.Fprint(c, "+OK\r\n")
			}
			received <- strings.TrimSpace(line)
		}
	}()
	leader, follower := forwardingPair(t)
	follower.Point(silent.Addr().String())
	f, r := dial(t, follower.Addr), dial(t, follower.Addr)
	f.send("SET a 1")
	for line := range received {
		if line == "SET" {
			break
		}
	}
	follower.Point(leader.Addr)
	f.expect("-OUTCOMEUNKNOWN the outcome of this write is unknown...")
	f.closed()
	r.do("SET b 1", "+OK")
}

// The leader's machine is lost while a WAIT with a timeout is in progress there, and no other leader becomes known. The follower waits no longer
// than a live leader would take.
func TestForwardedWaitToASilentLeader(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	waits := make(chan struct{}, 10)
	go func() {
		for {
			c, err := silent.Accept()
			if err != nil {
				return
			}
			go func() {
				for in := bufio.NewScanner(c); in.Scan(); {
					switch line := in.Text(); {
					case strings.HasPrefix(line, "replicatedstore"), line == "SET":
						fmt.Fprint(c, "+OK\r\n")
					case line == "WAIT":
						waits <- struct{}{}
					}
				}
			}()
		}
	}()
	leader := resptest.StartWaiting(t, forwarding())
	o := forwarding()
	o.CommitTimeout, o.ReadTimeout = 2*time.Second, 20*time.Millisecond
	follower := leader.Follow(o)
	leader.Lead()
	follower.Point(silent.Addr().String())
	f := dial(t, follower.Addr)
	f.do("SET a 1", "+OK")
	f.send("WAIT 1 20")
	for range 2 { // the WAIT is sent again
		select {
		case <-waits:
		case <-time.After(testTimeout):
			t.Fatal("it is still waited for")
		}
		follower.Server.SetCommitTimeout(time.Minute) // the second time, it is waited for until another leader is known
	}
	follower.Point(leader.Addr)
	f.expect(":1")
}

// The leader's machine is lost while the follower connects to it. The follower gives up as soon as another leader is known.
func TestForwardingDoesNotWaitForADeadLeader(t *testing.T) {
	dead, err := net.Listen("tcp", "127.0.0.1:0") // connects, but never answers
	if err != nil {
		t.Fatal(err)
	}
	defer dead.Close()
	leader, follower := forwardingPair(t)
	follower.Point(dead.Addr().String())
	f := dial(t, follower.Addr)
	f.send("SET a 1")
	c, err := dead.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	follower.Point(leader.Addr)
	f.expect("+OK")
}

// Nobody leads: commands wait for as long as they may, and then answer that nothing was written.
func TestForwardingToNobody(t *testing.T) {
	o := forwarding()
	o.Park = 30 * time.Millisecond
	n := resptest.StartWaiting(t, o)
	w := dial(t, n.Addr)
	w.do("SET a 1", "-TRYAGAIN nothing was written...")
	w.do("GET a", "-TRYAGAIN...")
	w.send("MULTI", "SET a 1", "EXEC")
	w.expect("+OK", "+QUEUED", "-EXECABORT...")
	n.Lead()
	w.do("GET a", "$-1")
	w.do("SET a 1", "+OK")
}

// The leader is lost in the middle of the replies to a transaction, after a HELLO in it has been run. The transaction, which only
// reads, is sent to the next leader, and the replies before the HELLO are as they would have been.
func TestForwardedHelloIsTakenBack(t *testing.T) {
	broken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer broken.Close()
	leader, follower := forwardingPair(t)
	go func() {
		c, err := broken.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		for in := bufio.NewScanner(c); in.Scan(); {
			switch line := in.Text(); {
			case strings.HasPrefix(line, "replicatedstore"), line == "SET", line == "MULTI":
				fmt.Fprint(c, "+OK\r\n")
			case line == "GET":
				fmt.Fprint(c, "+QUEUED\r\n")
			case line == "EXEC":
				follower.Point(leader.Addr)
				fmt.Fprint(c, "*2\r\n$-1\r\n")
				return
			}
		}
	}()
	follower.Point(broken.Addr().String())
	f := dial(t, follower.Addr)
	f.do("SET a 1", "+OK")
	f.send("MULTI", "GET none", "HELLO 3", "GET none", "EXEC")
	f.expect("+OK", "+QUEUED", "+QUEUED", "+QUEUED", "*3", "$-1", "%7")
}
