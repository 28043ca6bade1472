package resp_test

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/replicatedstore/replicatedstore/node/resp"
	"github.com/replicatedstore/replicatedstore/node/resp/resptest"
)

// startScripted runs something that is taken for a leader. It answers commands by script, hangs up where that has no answer, and passes on
// what it was asked.
func startScripted(t *testing.T, script map[string]string) (addr string, asked chan string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	asked = make(chan string, 100)
	serve := func(c net.Conn) {
		defer c.Close()
		for in := bufio.NewScanner(c); in.Scan(); {
			var n int
			_, _ = fmt.Sscanf(in.Text(), "*%d", &n)
			words := make([]string, n)
			for i := range words {
				in.Scan()
				in.Scan()
				words[i] = in.Text()
			}
			command := strings.Join(words, " ")
			asked <- command
			reply, ok := script[command]
			if !ok {
				return
			}
			fmt.Fprint(c, reply+"\r\n")
		}
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go serve(c)
		}
	}()
	return l.Addr().String(), asked
}

const lost = "-HISTORYLOST nothing was run: ..."

// The leader is replaced by one without its last writes. A connection that was shown them over another member is not shown an older state
// by the new one, nor told that its followers hold them.
func TestLostHistoryEndsForwardedConnections(t *testing.T) {
	for name, next := range map[string]func(leader, follower *resptest.Node){
		"another member": func(_, follower *resptest.Node) {
			other := resptest.Start(t, forwarding())
			other.Forget()
			follower.Point(other.Addr)
		},
		"the member itself": func(leader, follower *resptest.Node) {
			follower.Forget()
			leader.HandOver(follower)
		},
	} {
		t.Run(name+" leads", func(t *testing.T) {
			leader, follower := forwardingPair(t)
			clients := map[string]*wire{}
			for _, command := range []string{"GET a", "SET a 2", "WAIT 1 1000"} {
				clients[command] = dial(t, follower.Addr)
				clients[command].do("SET a 1", "+OK")
			}
			read := dial(t, follower.Addr)
			read.do("WATCH a", "+OK")
			read.do("GET a", "$1", "1")
			next(leader, follower)
			for command, c := range clients {
				c.do(command, lost)
				c.closed()
			}
			read.do("GET a", lost)
			read.closed()
			fresh := dial(t, follower.Addr)
			fresh.do("SET b 1", "+OK")
			fresh.do("GET b", "$1", "1")
		})
	}
}

// A leader that is gone has answered, and has not told how far its log was: nobody can tell whether the next one holds that much.
func TestLeaderThatIsGoneBeforeItTold(t *testing.T) {
	for epoch, want := range map[int]string{
		7: lost,
		1: "$-1", // the same leadership, so the same log
	} {
		addr, _ := startScripted(t, map[string]string{
			"replicatedstore.forwarded ": "+OK shown", "replicatedstore.shown": fmt.Sprintf("+%d:5", epoch), "SET a 1": "+OK\r\n-NOAUTH",
		})
		_, follower := forwardingPair(t)
		follower.Point(addr)
		c := dial(t, follower.Addr)
		c.do("SET a 1", "+OK")
		follower.Point(resptest.Start(t, forwarding()).Addr)
		c.do("GET a", want)
	}
}

// A leader that hands over tells how far its log was where it says that it runs nothing more, and the next one is asked for that much.
func TestNextLeaderIsAskedForWhatWasShown(t *testing.T) {
	addr, first := startScripted(t, map[string]string{
		"replicatedstore.forwarded ": "+OK shown", "replicatedstore.shown": "+7:5", "SET a 1": "+OK", "SET b 1": "-NOTLEADER 8:9 nothing was run",
	})
	next, asked := startScripted(t, map[string]string{
		"replicatedstore.forwarded ": "+OK shown", "replicatedstore.shown": "+9:3", "replicatedstore.shown 8:9": "+9:3",
		"replicatedstore.shown 9:9": "-HISTORYLOST", "SET b 1": "+OK",
	})
	_, follower := forwardingPair(t)
	follower.Point(addr)
	c := dial(t, follower.Addr)
	c.send("SET a 1", "SET b 1")
	for <-first != "SET b 1" { // then it has been asked for everything
	}
	follower.Point(next)
	c.expect("+OK", "+OK")
	for _, want := range []string{"replicatedstore.forwarded ", "replicatedstore.shown 8:9", "SET b 1", "replicatedstore.shown"} {
		if got := <-asked; got != want {
			t.Errorf("it was asked %q, want %q", got, want)
		}
	}
	follower.Point("127.0.0.1:1")
	follower.Point(next)
	c.do("GET b", lost)
	c.closed()
}

// A leader of an earlier build does not know how to tell what it has shown.
func TestLeaderThatCannotTell(t *testing.T) {
	addr, asked := startScripted(t, map[string]string{"replicatedstore.forwarded ": "+OK", "SET a 1": "+OK"})
	_, follower := forwardingPair(t)
	follower.Point(addr)
	c := dial(t, follower.Addr)
	c.do("SET a 1", "+OK")
	follower.Point(resptest.Start(t, forwarding()).Addr)
	c.do("GET a", "$-1")
	<-asked
	if got := <-asked; got != "SET a 1" || len(asked) > 0 {
		t.Errorf("it was asked %q", got)
	}
}

// TestARefusalShowsNothing moves leadership without a loss after the leader refused a command and closed the connection: there is nothing
// that the next leader could lack.
func TestARefusalShowsNothing(t *testing.T) {
	a := resptest.StartWaiting(t, forwarding())
	b, f := a.Follow(forwarding()), a.Follow(forwarding())
	a.Lead()
	f.Point(a.Addr)
	c := dial(t, f.Addr)
	c.do("SET lock me", "+OK")
	a.RefuseReads(resp.ErrStale)
	c.do("SETNX lock you", "-MASTERDOWN...")
	a.HandOver(b)
	f.Point(b.Addr)
	c.do("GET lock", "$2", "me")
}
