package sim

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestEventsRunInOrderOfTimeAndThenOfQueueing(t *testing.T) {
	l := NewLoop(1)
	var got []string
	say := func(s string) func() { return func() { got = append(got, s) } }
	l.After(2*time.Second, say("d"))
	stopped := l.After(time.Second, say("never"))
	l.After(time.Second, say("b"))
	l.After(time.Second, func() { got = append(got, "c"); l.After(-time.Hour, say("c2")) })
	l.After(0, say("a"))
	if !stopped.Stop() || stopped.Stop() {
		t.Fatal("a timer is stopped once")
	}
	l.Run(1500 * time.Millisecond)
	if l.Now() != 1500*time.Millisecond || !slices.Equal(got, []string{"a", "b", "c", "c2"}) {
		t.Fatalf("at %v: %v", l.Now(), got)
	}
	if !l.RunUntil(func() bool { return len(got) == 5 }, time.Hour) || l.Now() != 2*time.Second {
		t.Fatalf("at %v: %v", l.Now(), got)
	}
	if l.RunUntil(func() bool { return false }, time.Hour) || l.Now() != time.Hour {
		t.Fatalf("an empty loop ends at the limit, not at %v", l.Now())
	}
}

// TestHeapAgainstSorting randomly stops and queues timers, and compares the order with that of a sorted list.
func TestHeapAgainstSorting(t *testing.T) {
	l := NewLoop(2)
	type due struct {
		at time.Duration
		n  int
	}
	var want []due
	var got []int
	timers := map[int]*Timer{}
	for n := range 2000 {
		at := l.Between(0, 100*time.Millisecond)
		timers[n] = l.After(at, func() { got = append(got, n) })
		want = append(want, due{at, n})
		if victim := l.Rand.IntN(n + 1); l.Chance(0.4) && timers[victim].Stop() {
			want = slices.DeleteFunc(want, func(d due) bool { return d.n == victim })
		}
	}
	slices.SortStableFunc(want, func(a, b due) int { return int(a.at - b.at) })
	l.Run(time.Second)
	if len(got) != len(want) {
		t.Fatalf("%d ran, want %d", len(got), len(want))
	}
	for i := range want {
		if got[i] != want[i].n {
			t.Fatalf("event %d is %d, want %d", i, got[i], want[i].n)
		}
	}
}

func TestProcsSleepAndWait(t *testing.T) {
	l := NewLoop(3)
	defer l.Close()
	var s Signal
	var got []string
	say := func(format string, args ...any) {
		got = append(got, fmt.Sprintf("%v ", l.Now())+fmt.Sprintf(format, args...))
	}
	l.Go("a", func(p *Proc) {
		p.Sleep(time.Second)
		s.Fire()
		say("fired")
		p.Sleep(time.Second)
		s.Fire()
	})
	l.Go("b", func(p *Proc) {
		say("b %t", p.Wait(&s, -1))
		say("b %t", p.Wait(&s, 300*time.Millisecond))
		say("b %t", p.Wait(&s, 10*time.Second))
	})
	l.Go("c", func(p *Proc) { say("c %t", p.Wait(&s, 5*time.Second)) })
	l.Run(time.Minute)
	want := "1s fired, 1s b true, 1s c true, 1.3s b false, 2s b true"
	if strings.Join(got, ", ") != want {
		t.Fatalf("got  %s\nwant %s", strings.Join(got, ", "), want)
	}
}

func TestKillUnwinds(t *testing.T) {
	goroutines := runtime.NumGoroutine()
	l := NewLoop(4)
	var s Signal
	var got []string
	sleeper := l.Go("sleeper", func(p *Proc) {
		defer func() { got = append(got, "outer") }()
		defer func() {
			defer func() { got = append(got, "inner") }()
			p.Sleep(time.Second) // while it unwinds: ends immediately
			got = append(got, "never")
		}()
		p.Wait(&s, -1)
		got = append(got, "never")
	})
	waiter := l.Go("waiter", func(p *Proc) {
		p.Wait(&sleeper.Done, -1)
		got = append(got, "told")
	})
	l.Go("killer", func(p *Proc) {
		p.Sleep(time.Second)
		sleeper.Kill()
		sleeper.Kill()
		got = append(got, "killed")
	})
	self := l.Go("self", func(p *Proc) {
		defer func() { got = append(got, "self") }()
		p.Sleep(2 * time.Second)
		p.Kill()
		got = append(got, "never")
	})
	l.Go("unborn", func(*Proc) { got = append(got, "never") }).Kill()
	l.Go("hangs", func(p *Proc) { p.Wait(&s, -1) })
	l.Run(time.Minute)
	if want := []string{"inner", "outer", "killed", "told", "self"}; !slices.Equal(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}
	if !sleeper.Ended() || !waiter.Ended() || !self.Ended() || len(s.waiters) != 1 {
		t.Fatal("not all have ended, or a dead one still waits")
	}
	l.Close()
	if p := l.Go("late", func(*Proc) {}); !p.Ended() {
		t.Error("a closed loop starts a Proc")
	}
	if n := runtime.NumGoroutine(); n > goroutines {
		t.Errorf("%d coroutines are left behind", n-goroutines)
	}
}

func TestAPanicNamesItsProc(t *testing.T) {
	l := NewLoop(5)
	defer l.Close()
	l.Go("culprit", func(p *Proc) {
		p.Sleep(time.Second)
		panic("invariant")
	})
	defer func() {
		if r := fmt.Sprint(recover()); !strings.Contains(r, "culprit at 1s: invariant") {
			t.Fatalf("recovered %s", r)
		}
	}()
	l.Run(time.Minute)
	t.Fatal("the panic is gone")
}

func TestProcessesFreezeAndDie(t *testing.T) {
	l := NewLoop(6)
	defer l.Close()
	o := l.NewProcess("member")
	var s Signal
	var got []string
	say := func(s string) { got = append(got, fmt.Sprintf("%v %s", l.Now(), s)) }
	o.Go("ticks", func(p *Proc) {
		for range 3 {
			p.Sleep(time.Second)
			say("tick")
		}
		o.Kill()
		say("never")
	})
	o.Go("waits", func(p *Proc) {
		defer say("ends")
		p.Wait(&s, -1)
		say("woken")
		p.Wait(&s, -1)
	})
	timer := o.After(2500*time.Millisecond, func() { say("never") })
	o.After(2600*time.Millisecond, func() { say("timer") })
	o.After(time.Hour, func() { say("never") })
	o.OnExit(func() { say("exit") })
	l.After(1500*time.Millisecond, o.Freeze)
	l.After(1600*time.Millisecond, s.Fire)
	l.After(5*time.Second, func() { timer.Stop(); o.Thaw() })
	l.Run(2 * time.Hour)
	want := "1s tick, 5s woken, 5s tick, 5s timer, 6s tick, 6s ends, 6s exit"
	if strings.Join(got, ", ") != want || !o.Dead() {
		t.Fatalf("got  %s\nwant %s", strings.Join(got, ", "), want)
	}
}

func TestOneSeedIsOneCourse(t *testing.T) {
	run := func(seed uint64) (uint64, string) {
		l := NewLoop(seed)
		defer l.Close()
		for n := range 20 {
			l.Go("walker", func(p *Proc) {
				for range 50 {
					p.Sleep(l.Between(0, time.Second))
					l.Logf("%d walks", n)
				}
			})
		}
		l.Run(time.Hour)
		return l.Hash(), l.Tail()
	}
	a, tail := run(1)
	if b, again := run(1); a != b || tail != again {
		t.Error("the same seed takes another course")
	}
	if c, _ := run(2); a == c {
		t.Error("another seed takes the same course")
	}
	if n := strings.Count(tail, "\n"); n != maxLines {
		t.Errorf("%d lines are kept", n)
	}
}

func TestClocksDriftWithinBounds(t *testing.T) {
	l := NewLoop(7)
	fast, slow := false, false
	for range 100 {
		c := l.NewClock()
		from := l.Now()
		was, wall := c.Mono(), c.Wall()
		l.Run(from + 100*time.Second)
		d := c.Mono().Sub(was) - 100*time.Second
		if d.Abs() > 2*time.Second {
			t.Fatalf("it drifts by %v in 100 s", d)
		}
		fast, slow = fast || d > time.Second, slow || d < -time.Second
		if off := c.MonoAt(from+c.True(time.Minute)).Sub(was) - time.Minute; off.Abs() > time.Microsecond {
			t.Fatalf("a timer of a minute is off by %v", off)
		}
		c.Jump(-time.Hour)
		if got := c.Wall().Sub(wall); got != 100*time.Second-time.Hour {
			t.Fatalf("the calendar moved by %v", got)
		}
	}
	if !fast || !slow {
		t.Error("clocks are all alike")
	}
}

func BenchmarkEvents(b *testing.B) {
	l := NewLoop(1)
	var again func()
	again = func() { l.After(l.Between(0, time.Second), again) }
	for range 200 {
		again()
	}
	for b.Loop() {
		l.Step()
	}
}

func BenchmarkSleeps(b *testing.B) {
	l := NewLoop(1)
	defer l.Close()
	for range 50 {
		l.Go("sleeper", func(p *Proc) {
			for {
				p.Sleep(l.Between(0, time.Second))
			}
		})
	}
	for b.Loop() {
		l.Step()
	}
}

func BenchmarkCalls(b *testing.B) {
	l := NewLoop(1)
	defer l.Close()
	n := l.NewNet()
	n.Host("server").Boot("server")
	calls := 0
	n.Host("client").Boot("client").Go("client", func(p *Proc) {
		for {
			_, _ = n.Call(p, "client", "server", time.Second, func(*Proc) (any, error) { return nil, nil })
			calls++
		}
	})
	for b.Loop() {
		was := calls
		l.RunUntil(func() bool { return calls > was }, l.Now()+time.Hour)
	}
}
