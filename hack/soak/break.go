package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/replicatedstore/replicatedstore/hack/soak/internal/faults"
	"github.com/replicatedstore/replicatedstore/test/ledger"
)

// injected is a fault that was injected into the cluster, and its effects.
type injected struct {
	faults.Fault
	What   string           `json:"what"`
	Begun  time.Time        `json:"begun"`
	Mended time.Time        `json:"mended"`
	Whole  time.Time        `json:"whole"` // zero: not within the bound
	Stores [stores]suffered `json:"stores"`
}

// suffered is the effect of a fault on the clients of one store.
type suffered struct {
	// Gap is the longest time without an acknowledged write. Again is the time from the fault to the end of that gap, that is, to
	// the first write that was acknowledged again. Both are 0 if writes went on as usual.
	Gap    time.Duration    `json:"gap"`
	Again  time.Duration    `json:"again"`
	Errors map[string]int64 `json:"errors"`
}

// leastGap is the shortest gap that counts; the normal pace of the clients explains shorter ones.
const leastGap = 500 * time.Millisecond

// atMostFailures is how many faults in a row may fail to begin before the cluster counts as unfit for the soak.
const atMostFailures = 3

// breakThings injects faults until the time is over, ctx ends, or the stores do not become whole again.
func (s *soak) breakThings(ctx context.Context) {
	s.begun = time.Now()
	ctx, cancel := context.WithDeadline(ctx, s.begun.Add(time.Duration(s.minutes)*time.Minute))
	defer cancel()
	stop := s.progress(context.WithoutCancel(ctx))
	defer stop()
	schedule := faults.NewSchedule(s.seed, int(stores))
	failures := 0
	for f := schedule.Next(); ; f = schedule.Next() {
		if ledger.Sleep(ctx, f.Pause); ctx.Err() != nil {
			return
		}
		switch ok, err := s.one(ctx, f); {
		case errors.Is(err, errNotBegun):
			s.tell.line("fault %d, %v, could not be begun: %v", f.Number, f, err)
			if failures++; failures >= atMostFailures {
				s.breach("%d faults in a row could not be begun, the last one: %v", failures, err)
				return
			}
		case err != nil:
			s.breach("after fault %d, %v: %v", f.Number, f, err)
			return
		case ok:
			failures = 0
		}
	}
}

var errNotBegun = errors.New("the fault was not begun")

// one injects one fault: begin, hold, mend, wait until everything is whole, and measure. Mending and waiting ignore the end of
// ctx.
func (s *soak) one(ctx context.Context, f faults.Fault) (bool, error) {
	before, _, err := s.feel(time.Now())
	if err != nil {
		return false, err
	}
	always := context.WithoutCancel(ctx)
	x := injected{Fault: f, Begun: time.Now()}
	beginning, cancel := context.WithTimeout(always, faultTimeout)
	defer cancel()
	s.tell.fault(f.String())
	broken, err := s.injector.Break(beginning, f)
	if err != nil {
		s.tell.fault("")
		mending, cancel := context.WithTimeout(always, faultTimeout)
		defer cancel()
		return false, fmt.Errorf("%w: %w", errNotBegun, errors.Join(err, s.injector.MendAll(mending)))
	}
	x.What = broken.What
	s.tell.line("fault %d, %v: %s", f.Number, f, x.What)
	hold := f.Hold
	if !f.Lasts() {
		hold = min(hold, settle)
	}
	ledger.Sleep(ctx, hold)
	mending, cancel := context.WithTimeout(always, faultTimeout)
	defer cancel()
	if err := broken.Mend(mending); err != nil {
		s.tell.line("mending says: %v", err) // a frozen pod may have been replaced; what counts is that everything is whole
	}
	x.Mended = time.Now()
	s.tell.fault("mended: " + string(f.Kind))
	err = s.whole(always, x.Mended)
	if err == nil {
		x.Whole = time.Now()
	}
	after, _, feelErr := s.feel(x.Begun)
	for n := range s.stores {
		x.Stores[n] = suffer(before[n], after[n], x.Begun)
	}
	s.injected = append(s.injected, x)
	s.tell.result(x)
	s.tell.fault("")
	return err == nil, errors.Join(err, feelErr)
}

// settle is how long an instantaneous fault gets to show its effect before the stores are asked whether they are whole.
const settle = 5 * time.Second

func suffer(before, after felt, begun time.Time) suffered {
	x := suffered{Errors: map[string]int64{}}
	if after.gap.Length() >= leastGap {
		x.Gap, x.Again = after.gap.Length(), max(after.gap.To.Sub(begun), 0)
	}
	for kind, n := range after.errors {
		if d := n - before.errors[kind]; d > 0 {
			x.Errors[kind] = d
		}
	}
	return x
}
