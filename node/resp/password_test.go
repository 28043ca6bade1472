package resp_test

import (
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

// What is sent on to the leader passes there by the member's own password, in either version of the protocol; what tells a leader that a
// member speaks does not pass without. What is answered to clients is compared with Redis in test/conformance.
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
			l.do("replicatedstore.forwarded", "-NOAUTH...")
			l.do("GET k", "-NOAUTH...")
		})
	}
}

// Nothing that another member knows no password for is lost in silence.
func TestForwardingWithAWrongPassword(t *testing.T) {
	o := forwardingWith("a")
	o.Park = 200 * time.Millisecond
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

// While passwords come to a store, or go, a member that asks for none passes on what its client gave.
func TestForwardingWithTheClientsPassword(t *testing.T) {
	leader := resptest.StartWaiting(t, forwardingWith("a"))
	o := forwarding()
	o.Park = 200 * time.Millisecond
	follower := leader.Follow(o)
	leader.Lead()
	follower.Point(leader.Addr)
	f := dial(t, follower.Addr)
	f.do("SET k 1", "-TRYAGAIN...")
	f.do("AUTH default b", "+OK")
	f.do("SET k 1", "-TRYAGAIN...")
	f.do("AUTH default a", "+OK")
	f.do("SET k 1", "+OK")
	f.do("RESET", "+RESET")
	f.do("SET k 2", "+OK") // over the connection that is there
	other := dial(t, follower.Addr)
	other.do("HELLO 3 AUTH default a", "%7")
	for other.line() != "*0" {
	}
	other.do("SET k 3", "+OK")
}

// A connection that is let in keeps that while passwords are replaced; the password itself is shown to nobody.
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
