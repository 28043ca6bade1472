package sim

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/controllers/nodeclient"
)

// pair returns a network of two hosts, each with a process.
func pair(t *testing.T, seed uint64) (*Loop, *Net) {
	t.Helper()
	l := NewLoop(seed)
	t.Cleanup(l.Close)
	n := l.NewNet()
	n.Twice = 0
	n.Host("a").Boot("a")
	n.Host("b").Boot("b")
	return l, n
}

func TestCallsAndTheirErrors(t *testing.T) {
	tests := map[string]struct {
		before func(n *Net)
		want   error
		class  nodeclient.Failure
		runs   int
	}{
		"answered":           {func(*Net) {}, nil, nodeclient.NoFailure, 1},
		"request cut":        {func(n *Net) { n.Cut("a", "b") }, ErrTimeout, nodeclient.TimedOut, 0},
		"answer cut":         {func(n *Net) { n.Cut("b", "a") }, ErrTimeout, nodeclient.TimedOut, 1},
		"no process":         {func(n *Net) { n.Host("b").Kill() }, ErrRefused, nodeclient.Refused, 0},
		"no host":            {func(n *Net) { n.Host("b").SetGone(true) }, ErrTimeout, nodeclient.TimedOut, 0},
		"frozen":             {func(n *Net) { n.Host("b").Process().Freeze() }, ErrTimeout, nodeclient.TimedOut, 0},
		"dies while working": {func(n *Net) { n.loop.After(100*time.Millisecond, n.Host("b").Kill) }, ErrReset, nodeclient.Unclear, 1},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			l, n := pair(t, 1)
			n.Late = 0
			tc.before(n)
			runs := 0
			var err error
			p := n.Host("a").Process().Go("caller", func(p *Proc) {
				_, err = n.Call(p, "a", "b:6381", time.Second, func(p *Proc) (any, error) {
					runs++
					p.Sleep(200 * time.Millisecond)
					return "yes", nil
				})
			})
			l.Run(time.Minute)
			if !p.Ended() || !errors.Is(err, tc.want) || nodeclient.Classify(err) != tc.class || runs != tc.runs {
				t.Fatalf("ended %t with %v, class %v, after %d runs", p.Ended(), err, nodeclient.Classify(err), runs)
			}
		})
	}
}

func TestRequestsArriveLateAndTwice(t *testing.T) {
	l, n := pair(t, 2)
	n.Late, n.Twice = 1, 1
	n.Cut("a", "b")
	var arrived []time.Duration
	var err error
	n.Host("a").Process().Go("caller", func(p *Proc) {
		_, err = n.Call(p, "a", "b", 100*time.Millisecond, func(*Proc) (any, error) {
			arrived = append(arrived, l.Now())
			return nil, nil
		})
	})
	l.After(200*time.Millisecond, n.HealAll)
	l.Run(time.Minute)
	if !errors.Is(err, ErrTimeout) || len(arrived) != 2 || arrived[0] < 200*time.Millisecond {
		t.Fatalf("%v, arrived at %v", err, arrived)
	}
	once := 0
	n.Host("a").Process().Go("caller", func(p *Proc) {
		_, err = n.CallOnce(p, "a", "b", time.Second, func(*Proc) (any, error) { once++; return nil, nil })
	})
	l.Run(2 * time.Minute)
	if err != nil || once != 1 {
		t.Fatalf("%v, arrived %d times", err, once)
	}
}

func TestADeadCallerHearsNothing(t *testing.T) {
	l, n := pair(t, 3)
	n.Begin("a", "b", time.Second, func(*Proc) (any, error) { return nil, nil }, func(any, error) { t.Error("told") })
	n.Host("a").Kill()
	l.Run(time.Minute)
}

// serve echoes whatever arrives at b, and records how its connections end.
func serve(n *Net, ends *[]error) {
	h := n.Host("b")
	h.Listen(func(c *Conn) {
		h.Process().Go("echo", func(p *Proc) {
			defer c.Close()
			for {
				msg, err := c.Recv(p, -1)
				if err != nil {
					*ends = append(*ends, err)
					return
				}
				c.Send(msg)
			}
		})
	})
}

func TestConnectionsKeepOrderAndEnd(t *testing.T) {
	l, n := pair(t, 4)
	n.Profile = Rough()
	var ends []error
	serve(n, &ends)
	got := 0
	n.Host("a").Process().Go("client", func(p *Proc) {
		c, err := n.Dial(p, "a", "b:6380", 30*time.Second)
		if err != nil {
			t.Error(err)
			return
		}
		for i := range 500 {
			c.Send(i)
		}
		for ; got < 500; got++ {
			if msg, err := c.Recv(p, time.Minute); err != nil || msg != got {
				t.Errorf("message %d is %v, %v", got, msg, err)
				return
			}
		}
		if _, err := c.Recv(p, time.Second); !errors.Is(err, ErrTimeout) {
			t.Errorf("silence is %v", err)
		}
		c.Close()
		c.Close()
		if c.Send(1) == nil {
			t.Error("a closed connection sends")
		}
	})
	l.Run(10 * time.Minute)
	if got != 500 || len(ends) != 1 || !errors.Is(ends[0], io.EOF) {
		t.Fatalf("%d came back, the server's end: %v", got, ends)
	}
}

func TestDialing(t *testing.T) {
	tests := map[string]struct {
		before func(n *Net)
		want   error
	}{
		"nobody listens":  {func(n *Net) { n.Host("b").Listen(nil) }, ErrRefused},
		"no process":      {func(n *Net) { n.Host("b").Kill() }, ErrRefused},
		"no host":         {func(n *Net) { n.Host("b").SetGone(true) }, ErrTimeout},
		"no way back":     {func(n *Net) { n.Cut("b", "a") }, ErrTimeout},
		"tried again":     {func(n *Net) { n.Cut("b", "a"); n.loop.After(1500*time.Millisecond, n.HealAll) }, nil},
		"a frozen server": {func(n *Net) { n.Host("b").Process().Freeze() }, nil},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			l, n := pair(t, 5)
			n.Late = 0
			var ends []error
			serve(n, &ends)
			tc.before(n)
			var err error
			p := n.Host("a").Process().Go("client", func(p *Proc) { _, err = n.Dial(p, "a", "b", 5*time.Second) })
			l.Run(time.Minute)
			if !p.Ended() || !errors.Is(err, tc.want) || (err == nil) != (tc.want == nil) {
				t.Fatalf("ended %t: %v", p.Ended(), err)
			}
		})
	}
}

func TestASlowDirection(t *testing.T) {
	l, n := pair(t, 6)
	var ends []error
	serve(n, &ends)
	var took []time.Duration
	n.Host("a").Process().Go("client", func(p *Proc) {
		c, _ := n.Dial(p, "a", "b", time.Second)
		for _, slow := range []time.Duration{0, 300 * time.Millisecond, 0} {
			n.Slow("a", "b", slow)
			sent := l.Now()
			c.Send("")
			if _, err := c.Recv(p, 5*time.Second); err != nil {
				t.Error(err)
			}
			took = append(took, l.Now()-sent)
		}
	})
	l.Run(time.Minute)
	if way := n.Profile.Max; len(took) != 3 || took[0] > 2*way || took[1] < 300*time.Millisecond || took[1] > 300*time.Millisecond+2*way || took[2] > 2*way {
		t.Fatalf("took %v", took)
	}
}

// TestACutConnectionWaitsOrBreaks examines many connections: after the cut some continue where they were, without a loss, and some
// break, and one end may notice later than the other.
func TestACutConnectionWaitsOrBreaks(t *testing.T) {
	kept, broken, oneSided := 0, 0, 0
	for seed := range uint64(200) {
		l, n := pair(t, seed)
		var ends []error
		serve(n, &ends)
		var got []int
		var end error
		n.Host("a").Process().Go("client", func(p *Proc) {
			c, _ := n.Dial(p, "a", "b", time.Second)
			n.Cut("b", "a")
			for i := range 3 {
				c.Send(i)
			}
			for end == nil && len(got) < 3 {
				var msg any
				if msg, end = c.Recv(p, 5*time.Second); end == nil {
					got = append(got, msg.(int))
				}
				if errors.Is(end, ErrTimeout) {
					if l.Now() < 4*time.Second {
						t.Error("a message passed or the silence ended")
					}
					end = nil
				}
			}
		})
		l.After(6*time.Second, func() {
			if (end == nil) != (len(ends) == 0) {
				oneSided++
			}
			if len(got) > 0 {
				t.Error("a message passed the cut")
			}
			n.HealAll()
		})
		l.Run(time.Minute)
		switch {
		case end == nil && slices.Equal(got, []int{0, 1, 2}):
			kept++
		case errors.Is(end, ErrReset):
			broken++
		default:
			t.Fatalf("seed %d: got %v, then %v", seed, got, end)
		}
	}
	if kept < 20 || broken < 20 || oneSided < 20 {
		t.Errorf("%d went on, %d broke, %d of them on one side first", kept, broken, oneSided)
	}
}

func TestAProcessThatDiesResetsItsConnections(t *testing.T) {
	l, n := pair(t, 6)
	var ends []error
	serve(n, &ends)
	var err error
	n.Host("a").Process().Go("client", func(p *Proc) {
		c, _ := n.Dial(p, "a", "b", time.Second)
		_, err = c.Recv(p, -1)
		if c.Send(1) == nil {
			t.Error("a connection that ended sends")
		}
	})
	l.After(time.Second, n.Host("b").Kill)
	l.Run(time.Minute)
	if !errors.Is(err, ErrReset) && !errors.Is(err, io.EOF) || len(n.Host("a").conns)+len(n.Host("b").conns) > 1 {
		t.Fatalf("the client's end: %v", err)
	}
}

func TestStreamsCarryBytesAtABoundedRate(t *testing.T) {
	l, n := pair(t, 7)
	n.StreamRate = 100 << 10
	sent := strings.Repeat("0123456789", 20_000)
	var got []byte
	var took time.Duration
	b := n.Host("b")
	b.Listen(func(c *Conn) {
		b.Process().Go("reader", func(p *Proc) {
			got, _ = io.ReadAll(c.Stream(p))
			took = l.Now()
		})
	})
	n.Host("a").Process().Go("writer", func(p *Proc) {
		c, _ := n.Dial(p, "a", "b", time.Second)
		if _, err := io.WriteString(c.Stream(p), sent); err != nil {
			t.Error(err)
		}
		c.Close()
	})
	l.Run(time.Minute)
	if string(got) != sent || took < 1900*time.Millisecond || took > 2500*time.Millisecond {
		t.Fatalf("%d bytes in %v", len(got), took)
	}
}

// TestTheNetworkRepeats exercises much of the network, twice, and compares the runs.
func TestTheNetworkRepeats(t *testing.T) {
	run := func(seed uint64) string {
		l, n := pair(t, seed)
		n.Profile, n.Twice = Rough(), 0.2
		var ends []error
		serve(n, &ends)
		for i := range 5 {
			n.Host("a").Process().Go("client", func(p *Proc) {
				for {
					if c, err := n.Dial(p, "a", "b", time.Second); err == nil {
						c.Send(i)
						_, _ = c.Recv(p, time.Second)
						_ = c.Close()
					}
					_, err := n.Call(p, "a", "b", time.Second, func(p *Proc) (any, error) { p.Sleep(l.Between(0, time.Second)); return nil, nil })
					l.Logf("%d: %v", i, err)
				}
			})
		}
		for range 20 {
			l.After(l.Between(0, time.Minute), func() { n.CutBoth("a", "b") })
			l.After(l.Between(0, time.Minute), n.HealAll)
		}
		l.Run(time.Minute)
		return fmt.Sprint(l.Hash(), l.Events(), ends, l.Tail())
	}
	for seed := range uint64(5) {
		if a, b := run(seed), run(seed); a != b {
			t.Fatalf("seed %d takes two courses:\n%s\n\n%s", seed, a, b)
		}
	}
}
