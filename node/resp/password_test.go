package resp_test

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/node/resp"
	"github.com/replicatedstore/replicatedstore/node/resp/resptest"
)

func forwardingWith(passwords ...string) resp.Options {
	o := forwarding()
	o.Passwords = resp.NewPasswords(passwords...)
	return o
}

// Forwarded commands are accepted by the leader because the member gives its own password, in either version of the protocol. The command that
// announces a member is not enough without it. Replies to clients are compared with Redis in test/conformance.
func TestForwardingWithPasswords(t *testing.T) {
	for name, words := range map[string][2][]string{
		"the same":                 {{"a"}, {"a"}},
		"the leader knows more":    {{"a", "b"}, {"a"}},
		"the follower knows more":  {{"a"}, {"b", "a"}},
		"the follower knows fewer": {{"c", "a", "b"}, {"b"}},
	} {
		t.Run(name, func(t *testing.T) {
			leader := resptest.StartWaiting(t, forwardingWith(words[0]...))
			follower := leader.Follow(forwardingWith(words[1]...))
			leader.Lead()
			follower.Point(leader.Addr)
			f := dial(t, follower.Addr)
			f.send("SET k 1", "AUTH "+words[1][0], "SET k 2", "GET k", "RESET", "GET k", "AUTH "+words[1][0])
			f.expect("-NOAUTH Authentication required.", "+OK", "+OK", "$1", "2", "+RESET", "-NOAUTH...", "+OK")
			f.do("HELLO 3", "%7")
			for f.line() != "*0" {
			}
			f.do("SET k 3", "+OK")
			f.do("GET missing", "_")
			l := dial(t, leader.Addr)
			l.do("GET k", "-NOAUTH...")
			l.do("replicatedstore.forwarded", "+OK") // announcing a member works without a password, but data commands do not
			l.send("GET k", "SET k 4", "AUTH "+words[0][0], "GET k")
			l.expect("-NOAUTH...", "-NOAUTH...", "+OK", "$1", "3")
		})
	}
}

// A write that cannot be forwarded because the member has no valid password is answered with an error.
func TestForwardingWithAWrongPassword(t *testing.T) {
	o := forwardingWith("a")
	o.Park = 2 * time.Second
	leader := resptest.StartWaiting(t, forwardingWith("b"))
	follower := leader.Follow(o)
	leader.Lead()
	follower.Point(leader.Addr)
	f := dial(t, follower.Addr)
	f.do("AUTH a", "+OK")
	f.send("SET k 1")
	if got := f.line(); !strings.HasPrefix(got, "-TRYAGAIN nothing was written") || !strings.Contains(got, "WRONGPASS") {
		t.Errorf("%q", got)
	}
}

// While passwords are introduced or removed, a member that requires none passes on the password that its client gave.
func TestForwardingWithTheClientsPassword(t *testing.T) {
	leader := resptest.StartWaiting(t, forwardingWith("a"))
	o := forwarding()
	o.Park = 2 * time.Second
	follower := leader.Follow(o)
	leader.Lead()
	follower.Point(leader.Addr)
	f := dial(t, follower.Addr)
	f.do("SET k 1", "-NOAUTH...") // the leader's reply
	f.send("MULTI", "SET k 1", "EXEC")
	f.expect("+OK", "+QUEUED", "-EXECABORT...")
	f.do("AUTH default b", "+OK")
	f.do("SET k 1", "-TRYAGAIN...")
	f.do("AUTH default a", "+OK")
	f.do("SET k 1", "+OK")
	f.do("RESET", "+RESET")
	f.do("SET k 2", "-NOAUTH...")
	f.do("AUTH default wrong", "+OK")
	f.do("SET k 2", "-TRYAGAIN...")
	other := dial(t, follower.Addr)
	other.do("HELLO 3 AUTH default a", "%7")
	for other.line() != "*0" {
	}
	other.do("SET k 3", "+OK")
}

// A connection stays authenticated while passwords are replaced. The password itself is never shown.
func TestPasswordsAreReplaced(t *testing.T) {
	p := resp.NewPasswords("old")
	n := resptest.Start(t, resp.Options{Passwords: p})
	in, out := dial(t, n.Addr), dial(t, n.Addr)
	in.do("AUTH old", "+OK")
	p.Set([]string{"new"})
	in.do("SET k 1", "+OK")
	in.do("CONFIG GET requirepass", "*2", "$11", "requirepass", "$8", "(secret)")
	in.do("CONFIG SET requirepass x", "-ERR...")
	out.do("AUTH old", "-WRONGPASS...")
	out.do("AUTH new", "+OK")
	in.do("RESET", "+RESET")
	in.do("AUTH old", "-WRONGPASS...")
}

// A connection that has not given a password yet takes only a small buffer, and none of the memory for long requests.
func TestALockedConnectionHoldsLittle(t *testing.T) {
	n := resptest.Start(t, resp.Options{Passwords: resp.NewPasswords("a"), MaxLarge: 1 << 20})
	word := "$16000\r\n" + strings.Repeat("x", 16000) + "\r\n"
	w := dial(t, n.Addr)
	w.send("*3\r\n$4\r\nAUTH\r\n" + word + word[:10000])
	w.closed()
	w = dial(t, n.Addr)
	w.send("*2\r\n$4\r\nAUTH\r\n"+word[:len(word)-2], "AUTH a", "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n"+word[:len(word)-2], "STRLEN k")
	w.expect("-WRONGPASS...", "+OK", "+OK", ":16000")
}

// A member of another store that now has the address of a former leader does not learn the password.
func TestAnotherStoreLearnsOfNoPassword(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	heard := make(chan string, 100)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				close(heard)
				return
			}
			b := make([]byte, 1000)
			n, _ := c.Read(b)
			_, _ = c.Write([]byte("-ERR this is a member of the store \"other\"\r\n"))
			more, _ := c.Read(b[n:])
			select {
			case heard <- string(b[:n+more]):
			default:
			}
			_ = c.Close()
		}
	}()
	o := forwardingWith("secret")
	o.Park = 200 * time.Millisecond
	follower := resptest.StartWaiting(t, o)
	follower.Point(l.Addr().String())
	f := dial(t, follower.Addr)
	f.do("AUTH secret", "+OK")
	f.do("SET k 1", "-TRYAGAIN...")
	_ = l.Close()
	for text := range heard {
		if strings.Contains(text, "secret") {
			t.Errorf("it heard %q", text)
		}
	}
}

// A password that is given inside a forwarded transaction is used for the next connection to the leader. The transaction still runs over the
// current one.
func TestPasswordInATransactionThatIsForwarded(t *testing.T) {
	leader, follower := forwardingPair(t)
	w := dial(t, leader.Addr)
	w.do("SETRANGE long 299999 x", ":300000")
	for _, auth := range []string{"AUTH default x", "HELLO 2 AUTH default y"} {
		w.do("SET n 0", "+OK")
		c := dial(t, follower.Addr)
		c.send("MULTI", "INCR n", auth, "GET long", "EXEC")
		c.expect("+OK", "+QUEUED", "+QUEUED", "+QUEUED", "*3", ":1")
		if auth[0] == 'A' {
			c.expect("+OK")
		} else {
			for line := ""; line != "*0"; line = c.line() { // the reply to HELLO ends with an empty list of modules
			}
		}
		c.discard(1, 300_000)
		c.do("INCR n", ":2")
	}
}
