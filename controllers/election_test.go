package controllers

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/replicatedstore/replicatedstore/controllers/decide"
)

// shelf is the API server's copy of the operators' Lease.
type shelf struct {
	mu      sync.Mutex
	record  *resourcelock.LeaderElectionRecord // nil: there is none
	version int
}

func (s *shelf) holder() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.record.HolderIdentity
}

// shelfLock is one operator's client of a shelf.
type shelfLock struct {
	*shelf
	id   string
	read int // the version last read
	down atomic.Bool
}

var errDown = errors.New("no API server")

func (l *shelfLock) Get(context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.down.Load():
		return nil, nil, errDown
	case l.record == nil:
		return nil, nil, apierrors.NewNotFound(coordinationv1.Resource("leases"), "operators")
	}
	l.read = l.version
	r := *l.record
	raw, err := json.Marshal(r)
	return &r, raw, err
}

func (l *shelfLock) Create(_ context.Context, r resourcelock.LeaderElectionRecord) error {
	return l.write(r, l.record == nil)
}

func (l *shelfLock) Update(_ context.Context, r resourcelock.LeaderElectionRecord) error {
	return l.write(r, l.record != nil && l.read == l.version)
}

func (l *shelfLock) write(r resourcelock.LeaderElectionRecord, current bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.down.Load():
		return errDown
	case !current:
		return apierrors.NewConflict(coordinationv1.Resource("leases"), "operators", errors.New("somebody else wrote"))
	}
	l.version++
	l.record, l.read = &r, l.version
	return nil
}

func (l *shelfLock) RecordEvent(string) {}
func (l *shelfLock) Identity() string   { return l.id }
func (l *shelfLock) Describe() string   { return "operators" }

// candidate is an operator that stands for election.
type candidate struct {
	*Election
	api    *shelfLock
	said   chan string // events
	woken  atomic.Int32
	blind  atomic.Bool
	ended  atomic.Bool
	cancel context.CancelFunc
}

func (s *shelf) candidate(t *testing.T, id string) *candidate {
	c := &candidate{api: &shelfLock{shelf: s, id: id}}
	c.Election = newElection(c.api, ElectionOptions{Name: "operators-of-" + t.Name(), LeaseDuration: 10 * time.Second, RenewDeadline: 7 * time.Second, RetryPeriod: 2 * time.Second})
	recorder := events.NewFakeRecorder(10)
	c.recorder, c.said = recorder, recorder.Events
	c.changed = func(context.Context) { c.woken.Add(1) }
	c.sights = func() decide.Sights {
		if c.blind.Load() {
			return decide.Sights{Clear: 1, Blind: 2}
		}
		return decide.Sights{Clear: 2, Blind: 1}
	}
	ctx, cancel := context.WithCancel(t.Context())
	c.cancel = cancel
	go func() {
		if err := c.Start(ctx); err != nil {
			t.Error(err)
		}
		c.ended.Store(true)
	}()
	after(time.Second) // the first to arrive is elected
	return c
}

func after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// retried is longer than a candidate takes to try again.
const retried = 5 * time.Second

// acts checks that who acts and the other candidates do not, and that all of them are running; if who is nil, that nobody
// acts.
func acts(t *testing.T, who *candidate, all ...*candidate) {
	t.Helper()
	for _, c := range all {
		if got := c.acting(); got != (c == who) || c.ended.Load() {
			t.Errorf("%s acts: %v; ended: %v", c.api.id, got, c.ended.Load())
		}
	}
}

// An operator that cannot reach the API server loses its election, and stands by once it reaches the API server again. Both
// are announced.
func TestALostElectionEndsNoOperator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{}
		a, b := s.candidate(t, "a"), s.candidate(t, "b")
		acts(t, a, a, b)
		before := a.undisturbed()
		a.api.down.Store(true)
		after(20 * time.Second)
		acts(t, b, a, b)
		a.api.down.Store(false)
		after(time.Minute)
		acts(t, b, a, b)
		if a.woken.Load() != 2 || b.woken.Load() != 1 {
			t.Errorf("woken %d and %d times", a.woken.Load(), b.woken.Load())
		}
		b.cancel()
		after(retried)
		acts(t, a, a)
		if a.undisturbed() == before {
			t.Error("it does not know that the other one acted meanwhile")
		}
		a.cancel()
		after(time.Second)
		if holder := s.holder(); holder != "" || !a.ended.Load() {
			t.Errorf("ended: %v; the Lease is held by %q", a.ended.Load(), holder)
		}
	})
}

// What an operator remembers stays valid while nobody else was elected.
func TestNobodyActedWhileNobodyWasElected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := (&shelf{}).candidate(t, "a")
		before := a.undisturbed()
		a.api.down.Store(true)
		after(20 * time.Second)
		acts(t, nil, a)
		a.api.down.Store(false)
		after(retried)
		acts(t, a, a)
		a.blind.Store(true) // and gives it back, which is another way of losing it
		after(2 * time.Second)
		acts(t, nil, a)
		after(restFor + retried)
		acts(t, a, a)
		if a.undisturbed() != before {
			t.Error("it takes another operator for granted")
		}
		a.cancel()
	})
}

// An operator that cannot see most of the leaders, although they are alive, leaves acting to one that may, and reports it.
func TestABlindOperatorStepsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{}
		a, b := s.candidate(t, "a"), s.candidate(t, "b")
		acts(t, a, a, b)
		a.blind.Store(true)
		after(lookOutEvery + retried)
		acts(t, b, a, b)
		select {
		case said := <-a.said:
			if !strings.Contains(said, "Warning OperatorBlind 2 of 3 leaders renew their Leases but do not answer a") {
				t.Error(said)
			}
		default:
			t.Error("no event")
		}
		b.cancel()
		after(5 * time.Second)
		acts(t, nil, a) // it rests
		after(restFor)
		acts(t, a, a) // nobody else is there
		after(stepDownAgain - 30*time.Second)
		acts(t, a, a) // although it is blind
		after(10 * time.Second)
		acts(t, nil, a) // it tries stepping down once more
		a.cancel()
	})
}

// An operator that has seen leaders since it stepped down does so again as soon as necessary.
func TestAnOperatorStepsDownAtEveryFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{}
		a, b := s.candidate(t, "a"), s.candidate(t, "b")
		for range 3 {
			a.blind.Store(true)
			after(restFor + retried)
			acts(t, b, a, b)
			a.blind.Store(false)
			b.blind.Store(true)
			after(restFor + retried)
			acts(t, a, a, b)
			b.blind.Store(false)
		}
		a.cancel()
		b.cancel()
	})
}

// Two blind operators leave acting to each other once; then one of them acts.
func TestTwoBlindOperatorsDoNotTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{}
		a, b := s.candidate(t, "a"), s.candidate(t, "b")
		a.blind.Store(true)
		b.blind.Store(true)
		after(2 * restFor)
		acts(t, a, a, b)
		after(stepDownAgain - time.Minute)
		acts(t, a, a, b)
		if len(a.said) != 1 || len(b.said) != 1 {
			t.Errorf("%d and %d events", len(a.said), len(b.said))
		}
		a.cancel()
		b.cancel()
	})
}

// The metric by which dashboards know every controller's election covers this one too.
func TestElectionIsSeenInMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		master := func() float64 {
			families, err := metrics.Registry.Gather()
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range families {
				for _, m := range f.GetMetric() {
					if f.GetName() == "leader_election_master_status" && m.GetLabel()[0].GetValue() == "operators-of-"+t.Name() {
						return m.GetGauge().GetValue()
					}
				}
			}
			return -1
		}
		a := (&shelf{}).candidate(t, "a")
		if got := master(); got != 1 {
			t.Errorf("%v while it acts", got)
		}
		a.blind.Store(true)
		after(2 * time.Second)
		if got := master(); got != 0 {
			t.Errorf("%v while it rests", got)
		}
		a.cancel()
	})
}
