package replication_test

import (
	"slices"
	"testing"
	"time"

	. "github.com/replicatedstore/replicatedstore/replication"
)

// promptTest is a leader with followers a, b and c; c is not a voter.
type promptTest struct {
	t     *testing.T
	r     *Replica
	now   time.Time
	acked map[string]Position
}

func newPromptTest(t *testing.T, k int) *promptTest {
	t.Helper()
	x := &promptTest{t: t, now: time.Unix(100, 0), acked: map[string]Position{}}
	var err error
	x.r, err = NewReplica(ReplicaOptions{Store: "s", Self: voter("l")}, newLog(t), &memStable{}, Promises{}, 0, x.now)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := x.r.Fence(1, x.now); err != nil {
		t.Fatal(err)
	}
	rule := Rule{Voters: []Voter{voter("a"), voter("b")}, K: k}
	if err := x.r.Promote(Promotion{Epoch: 1, Version: 1, Rules: []Rule{rule}}, 1, x.now); err != nil {
		t.Fatal(err)
	}
	x.durable()
	return x
}

func voter(name string) Voter { return Voter{Member: name, Incarnation: "i"} }

func (x *promptTest) durable() {
	x.t.Helper()
	if _, err := x.r.Log().Sync(); err != nil {
		x.t.Fatal(err)
	}
	x.r.OnDurable(x.now)
}

// write appends the next position and makes it durable at the leader.
func (x *promptTest) write() Position {
	x.t.Helper()
	p := x.r.Log().Last().Position + 1
	if err := x.r.Extend(p, 1, []byte{1, 'x'}, 1); err != nil {
		x.t.Fatal(err)
	}
	x.durable()
	return p
}

func (x *promptTest) hello(names ...string) {
	x.t.Helper()
	for _, n := range names {
		last, _ := x.r.Log().MarkAt(x.acked[n])
		if reply := x.r.OnHello(Hello{Store: "s", Member: n, Incarnation: "i", Epoch: 1, Last: last}, x.now); reply.Verdict != VerdictStream {
			x.t.Fatalf("verdict %s for %s", reply.Verdict, n)
		}
	}
}

func (x *promptTest) ack(name string, p Position) {
	x.acked[name] = p
	x.r.OnAck(voter(name), Ack{Epoch: 1, Durable: p}, x.now, x.now)
}

func (x *promptTest) want(names ...string) {
	x.t.Helper()
	var got []string
	for _, n := range []string{"a", "b", "c"} {
		if x.r.Prompt(voter(n)) {
			got = append(got, n)
		}
	}
	if !slices.Equal(got, names) {
		x.t.Fatalf("prompt are %v, want %v", got, names)
	}
}

func TestPrompt(t *testing.T) {
	t.Run("one of two", func(t *testing.T) {
		x := newPromptTest(t, 1)
		x.want()
		x.hello("c", "b")
		x.want("b")
		x.hello("a")
		x.want("b") // a prompt follower stays prompt
		p := x.write()
		x.ack("b", p)
		x.ack("a", p)
		x.want("b") // b had it first
		p = x.write()
		x.ack("a", p)
		x.want("a") // the commit did not wait for b
		x.ack("b", p)
		x.want("a")
	})
	t.Run("who hangs is replaced, and stays so until it is first again", func(t *testing.T) {
		x := newPromptTest(t, 1)
		x.hello("a", "b")
		x.want("a")
		for range 3 {
			x.ack("b", x.write())
			x.want("b")
		}
		x.ack("a", x.r.Log().Last().Position)
		x.want("b")
	})
	t.Run("who is gone is replaced at once", func(t *testing.T) {
		x := newPromptTest(t, 1)
		x.hello("a", "b")
		p := x.write()
		x.ack("a", p)
		x.ack("b", p)
		x.want("a")
		x.r.OnStreamEnd(voter("a"))
		x.want("b")
		x.hello("a")
		x.want("b") // it starts over
		x.r.OnStreamEnd(voter("a"))
		x.r.OnStreamEnd(voter("b"))
		x.want()
	})
	t.Run("all that there are", func(t *testing.T) {
		x := newPromptTest(t, 2)
		x.hello("a", "b", "c")
		x.want("a", "b")
	})
	t.Run("everybody while nobody is waited for", func(t *testing.T) {
		x := newPromptTest(t, 0)
		x.hello("a", "b", "c")
		x.want("a", "b", "c")
	})
	t.Run("everybody while two rules hold, then the new one's", func(t *testing.T) {
		x := newPromptTest(t, 1)
		x.hello("a", "b", "c")
		x.want("a")
		older := Rule{Voters: []Voter{voter("a"), voter("b")}, K: 1}
		newer := Rule{Voters: []Voter{voter("b"), voter("c")}, K: 1}
		if err := x.r.Configure(1, 2, []Rule{older, newer}, x.now); err != nil {
			t.Fatal(err)
		}
		x.want("a", "b", "c")
		if err := x.r.Configure(1, 3, []Rule{newer}, x.now); err != nil {
			t.Fatal(err)
		}
		x.want("b")
	})
}
