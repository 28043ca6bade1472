package resp

import (
	"context"
	"math"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// taker is a goroutine that has a part of a ration, or waits for one.
type taker struct {
	got    chan *part
	cancel context.CancelFunc
}

func (r *ration) taker(n int) taker {
	ctx, cancel := context.WithCancel(context.Background())
	t := taker{make(chan *part, 1), cancel}
	go func() { t.got <- r.take(ctx, n, t.got) }()
	synctest.Wait()
	return t
}

// A holding may be from before its connection gave back what it had. Whoever holds nothing keeps nothing from anybody.
func TestWhoHoldsNothingIsNotCutOff(t *testing.T) {
	now := time.Now()
	s, err := New(nil, Options{Now: func() time.Time { return now }, MaxLarge: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	c := &conn{srv: s}
	c.nc, _ = net.Pipe()
	p := s.ration.try(1000, c)
	was := s.ration.holdingOf(c)
	s.ration.give(p)
	now = now.Add(2 * mostSilence)
	if s.cutOffIfSlow(was); c.killed.Load() {
		t.Error("it holds nothing")
	}
	s.ration.try(1000, c)
	if s.cutOffIfSlow(was); !c.killed.Load() {
		t.Error("it holds 1000 bytes, and is silent")
	}
}

// waits reports whether the taker still waits once all goroutines are blocked.
func (t taker) waits() bool {
	synctest.Wait()
	return len(t.got) == 0
}

func TestRation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &ration{size: 10}
		a := r.taker(6)
		b := r.taker(6)
		c := r.taker(2)
		if a.waits() || !b.waits() || !c.waits() {
			t.Fatal("enough for the first; first come, first served")
		}
		r.give(<-a.got)
		if b.waits() || c.waits() {
			t.Fatal("there is enough for both again")
		}
		d := r.taker(100)
		r.give(<-b.got)
		if !d.waits() {
			t.Fatal("not beside others")
		}
		r.give(<-c.got)
		if d.waits() {
			t.Fatal("alone, more than there is")
		}
		r.give(<-d.got)
		if r.used != 0 || len(r.queue)+len(r.parts) != 0 {
			t.Fatalf("%d used, %d wait, %d parts", r.used, len(r.queue), len(r.parts))
		}
	})
}

// The holder of the oldest part does not wait for more.
func TestRationOfWhoWantsMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &ration{size: 10}
		a, b := r.take(t.Context(), 8, t), r.take(t.Context(), 100, t)
		other := r.taker(1)
		if !other.waits() {
			t.Fatal("there is nothing left")
		}
		r.give(a)
		r.give(b)
		if other.waits() || r.used != 1 {
			t.Fatalf("%d used", r.used)
		}
	})
}

// A slow holder delays the others only once, and not for long.
func TestRationOfTheSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &ration{size: 10, most: 10}
		slow := r.taker(10)
		a := r.taker(5)
		if !a.waits() {
			t.Fatal("patience")
		}
		time.Sleep(rationPatience + rationPatience/2)
		b := r.taker(5)
		if a.waits() || b.waits() {
			t.Fatal("what is slow counts no more")
		}
		r.give(<-slow.got)
		r.give(<-a.got)
		if r.used != 5 {
			t.Fatalf("%d used", r.used)
		}
	})
}

// A slow holder of more than the ration delays only those who want more than the ration as well, and those delay nobody.
func TestRationOfTheSlowAndLarge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &ration{size: 10, most: 10}
		small, large := r.taker(4), r.taker(30)
		if !large.waits() {
			t.Fatal("patience")
		}
		time.Sleep(rationPatience + rationPatience/2)
		next := r.taker(40)
		a := r.taker(5)
		if large.waits() || !a.waits() {
			t.Fatal("it is alone at first")
		}
		time.Sleep(rationPatience)
		b, c := r.taker(5), r.taker(5)
		if a.waits() || b.waits() || !c.waits() || !next.waits() {
			t.Fatal("what is slow counts no more")
		}
		time.Sleep(10 * rationPatience) // the part of 4 is lent, and one of the two of 5
		d := r.taker(1)
		if c.waits() || !d.waits() || !next.waits() || r.used != 10 || r.lent != 9 {
			t.Fatalf("%d used, %d lent", r.used, r.lent)
		}
		r.give(<-large.got)
		if !next.waits() {
			t.Fatal("others have some")
		}
		r.give(<-a.got)
		r.give(<-b.got)
		r.give(<-c.got)
		r.give(<-small.got)
		if next.waits() {
			t.Fatal("nobody else has any")
		}
		r.give(<-next.got)
		r.give(<-d.got)
		if r.used != 0 || r.lent != 0 || r.large != nil || len(r.parts)+len(r.queue) != 0 {
			t.Errorf("%+v", r)
		}
	})
}

func TestRationThatIsWaitedForNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &ration{size: 10}
		r.taker(4)
		large, small := r.taker(9), r.taker(3)
		if !small.waits() {
			t.Fatal("behind another")
		}
		large.cancel()
		if large.waits() || <-large.got != nil {
			t.Fatal("it was given up")
		}
		if small.waits() || <-small.got == nil {
			t.Fatal("nobody is before it any more")
		}
		if r.used != 7 {
			t.Fatalf("%d used", r.used)
		}
	})
}

// However many holders are slow, the bound on lent parts holds.
func TestRationOfManyThatAreSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &ration{size: 10, most: 12}
		var slow []taker
		for range 5 {
			slow = append(slow, r.taker(6))
		}
		time.Sleep(10 * rationPatience)
		for i, s := range slow {
			if s.waits() != (i > 2) {
				t.Errorf("%d: two of them may count no more, and one has what there is", i)
			}
		}
		if r.try(1, t) != nil {
			t.Error("others wait")
		}
		r.give(<-slow[0].got)
		time.Sleep(rationPatience)
		if slow[3].waits() || !slow[4].waits() {
			t.Error("what one gave back is another's")
		}
		if r.used+r.lent > 10+12 {
			t.Errorf("%d and %d", r.used, r.lent)
		}
		slow[4].cancel()
	})
}

// Several holders that want more wait for each other only for a short time, however much is lent already.
func TestRationOfSeveralWhoWantMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &ration{size: 10, most: 10}
		done := make(chan int)
		for i := range 7 {
			go func() {
				a := r.take(t.Context(), 5, i)
				time.Sleep(time.Second)
				b := r.take(t.Context(), 5, i)
				r.give(a)
				r.give(b)
				done <- i
			}()
		}
		for range 7 {
			<-done
		}
		if r.used != 0 || r.lent != 0 || len(r.parts)+len(r.queue) != 0 {
			t.Errorf("%+v", r)
		}
	})
}

// The parts of a request that is being executed count as long as that takes. Those of a client that is merely slow do not.
func TestRationOfWhatIsExecuted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &ration{size: 10, most: math.MaxInt}
		a := r.take(t.Context(), 8, "a")
		r.hold([]*part{a}, true)
		b := r.taker(8)
		time.Sleep(3 * rationPatience)
		if !b.waits() {
			t.Fatal("what is executed was lent")
		}
		r.hold([]*part{a}, false)
		time.Sleep(rationPatience)
		if b.waits() {
			t.Fatal("who is slow holds up others")
		}
		r.hold([]*part{a}, true)
		c := r.taker(1)
		time.Sleep(3 * rationPatience) // b's part is lent in the meantime
		if c.waits() {
			t.Fatal("8 of 10 are used, and 1 is asked for")
		}
		r.give(a)
		r.give(<-b.got)
		if c.waits() || r.used != 1 || r.lent != 0 {
			t.Fatalf("%d used, %d lent", r.used, r.lent)
		}
	})
}

// Short parts wait neither behind longer ones nor for those whose holders are slow, as long as there is room aside. A holder's further parts
// do not go aside.
func TestRationOfTheShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &ration{size: 10, most: 10, mostAside: 4}
		var slow []taker
		for range 6 {
			slow = append(slow, r.taker(5))
		}
		time.Sleep(3 * rationPatience)
		if slow[3].waits() || !slow[4].waits() || !slow[5].waits() {
			t.Fatal("two are lent, two are used, two wait")
		}
		a, b, c, long := r.taker(2), r.taker(2), r.taker(2), r.taker(3)
		if a.waits() || b.waits() || !c.waits() || !long.waits() {
			t.Fatal("there is room aside for two of the short ones")
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if r.take(ctx, 1, a.got) != nil {
			t.Fatal("who has some gets more aside")
		}
		time.Sleep(3 * rationPatience)
		r.give(<-a.got)
		if c.waits() || !slow[4].waits() {
			t.Fatal("what one gave back is another short one's")
		}
		for _, s := range append(slow, b, c, long) {
			r.give(<-s.got)
			synctest.Wait()
		}
		if r.used != 0 || r.lent != 0 || r.aside != 0 || len(r.parts)+len(r.queue) != 0 {
			t.Errorf("%+v", r)
		}
	})
}

// Holders are looked at only while others wait, and not while their requests are executed.
func TestRationOfTheTooSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &ration{size: 10, most: 3}
		slow, executed := r.take(t.Context(), 4, "slow"), r.take(t.Context(), 6, "executed")
		r.hold([]*part{executed}, true)
		r.tooSlow = func(h holding) {
			if h.who != "slow" {
				t.Errorf("%v is not slow", h.who)
			} else if time.Since(h.since) > 2*rationPatience {
				r.give(slow)
			}
		}
		time.Sleep(10 * rationPatience)
		if len(r.parts) != 2 {
			t.Fatal("nobody waits")
		}
		if r.take(t.Context(), 4, "other") == nil || len(r.parts) != 2 {
			t.Errorf("%d parts", len(r.parts))
		}
	})
}

// A holder is judged by all its parts, from the oldest on, and not for the time in which it waited itself.
func TestRationJudgesHolders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &ration{size: 10, most: 1}
		var seen holding
		r.tooSlow = func(h holding) {
			if h.who == "many" {
				seen = h
			}
		}
		began := time.Now()
		r.take(t.Context(), 2, "many")
		time.Sleep(time.Second)
		r.take(t.Context(), 3, "many")
		r.excuse("many", time.Hour)
		r.excuse("other", time.Hour)
		other := r.taker(10)
		defer other.cancel()
		if !other.waits() {
			t.Fatal("there are 5 left")
		}
		time.Sleep(rationPatience)
		synctest.Wait()
		if want := (holding{"many", 5, began.Add(time.Second)}); seen != want {
			t.Errorf("%+v, want %+v", seen, want)
		}
		r.excuse("many", time.Second)
		time.Sleep(rationPatience)
		synctest.Wait()
		if want := (holding{"many", 5, began.Add(2 * time.Second)}); seen != want {
			t.Errorf("%+v after a second of waiting, want %+v", seen, want)
		}
	})
}
