package controllers

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/go-logr/logr"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	ctrl "sigs.k8s.io/controller-runtime"
	ctrlelection "sigs.k8s.io/controller-runtime/pkg/leaderelection"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
)

// How an elected operator that is blind (decide.Sights) leaves acting to another one.
const (
	lookOutEvery = time.Second
	// restFor is how long it then does not stand for election: the others try every few seconds.
	restFor = 15 * time.Second
	// stepDownAgain is how long an operator that is elected and still blind does not step down again: if every operator is
	// blind, one must act all the same.
	stepDownAgain = 5 * time.Minute
)

var errBlind = errors.New("most leaders are alive but do not answer this operator")

// ElectionOptions say which Lease the operators share, and how they hold it; see leaderelection.LeaderElectionConfig.
type ElectionOptions struct {
	Namespace string // empty: the pod's own
	Name      string

	LeaseDuration, RenewDeadline, RetryPeriod time.Duration
}

// Election elects the one of several operators that acts, by means of a Lease of their own. An operator that loses the
// election stands by, as it did before it won, and stands for election again; decide.Observed.Standby says what it does
// meanwhile.
type Election struct {
	config   leaderelection.LeaderElectionConfig // without callbacks
	lock     *countingLock
	lease    metav1.ObjectMeta
	recorder events.EventRecorder
	log      logr.Logger

	// Set by Reconciler.SetupWithManager. sights counts the leaders that are seen; changed wakes every store.
	sights  func() decide.Sights
	changed func(context.Context)

	mu     sync.Mutex
	acts   bool
	downAt time.Time // when it last stepped down; zero once it has seen leaders since
}

// NewElection returns the election of the operators that use the same Lease.
func NewElection(mgr ctrl.Manager, o ElectionOptions) (*Election, error) {
	lock, err := ctrlelection.NewResourceLock(mgr.GetConfig(), mgr, ctrlelection.Options{
		LeaderElection: true, LeaderElectionID: o.Name, LeaderElectionNamespace: o.Namespace, RenewDeadline: o.RenewDeadline,
	})
	if err != nil {
		return nil, fmt.Errorf("make the operators' election: %w", err)
	}
	e := newElection(lock, o)
	e.recorder, e.log = mgr.GetEventRecorder("replicatedstore-operator"), mgr.GetLogger().WithName("election")
	if l, ok := lock.(*resourcelock.LeaseLock); ok {
		e.lease = l.LeaseMeta
	}
	return e, nil
}

func newElection(lock resourcelock.Interface, o ElectionOptions) *Election {
	counting := &countingLock{Interface: lock, transitions: -1}
	return &Election{
		lock: counting,
		config: leaderelection.LeaderElectionConfig{
			Lock: counting, Name: o.Name, LeaseDuration: o.LeaseDuration, RenewDeadline: o.RenewDeadline, RetryPeriod: o.RetryPeriod,
			ReleaseOnCancel: true,
		},
	}
}

// NeedLeaderElection returns false: this is the election itself (a controller-runtime Runnable).
func (e *Election) NeedLeaderElection() bool { return false }

// Start stands for election, term after term, until ctx ends. It then releases the Lease.
func (e *Election) Start(ctx context.Context) error {
	var why error // why the previous term ended
	for ctx.Err() == nil {
		term, end := context.WithCancelCause(ctx)
		elector, err := e.elector(ctx, end) // also sets the metric that says nobody is elected here
		if err != nil {
			end(nil)
			return fmt.Errorf("operators' election: %w", err)
		}
		if errors.Is(why, errBlind) {
			rest(ctx)
		}
		elector.Run(term)
		end(nil)
		why = context.Cause(term)
	}
	return nil
}

// elector returns the elector of one term, which end ends.
func (e *Election) elector(ctx context.Context, end context.CancelCauseFunc) (*leaderelection.LeaderElector, error) {
	c := e.config
	c.Callbacks.OnStartedLeading = func(term context.Context) {
		if !e.won(term) {
			return
		}
		e.changed(ctx)
		if e.lookOut(term) {
			e.lost(ctx)
			end(errBlind)
		}
	}
	c.Callbacks.OnStoppedLeading = func() { e.lost(ctx) }
	return leaderelection.NewLeaderElector(c)
}

// rest gives others the time to be elected.
func rest(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(restFor):
	}
}

// won begins a term; false if the term is over already.
func (e *Election) won(term context.Context) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if term.Err() != nil { // whoever ended it calls lost afterwards
		return false
	}
	e.acts = true
	e.log.Info("Elected: this operator now acts")
	return true
}

// lost ends the term, if there is one.
func (e *Election) lost(ctx context.Context) {
	e.mu.Lock()
	was := e.acts
	e.acts = false
	e.mu.Unlock()
	if was && ctx.Err() == nil {
		e.log.Info("No longer elected: this operator stands by")
		e.changed(ctx)
	}
}

// lookOut waits until the term ends, or, returning true, until another operator is likely to see more than this one.
func (e *Election) lookOut(term context.Context) bool {
	tick := time.NewTicker(lookOutEvery)
	defer tick.Stop()
	for {
		select {
		case <-term.Done():
			return false
		case now := <-tick.C:
			if e.stepsDown(e.sights(), now) {
				return true
			}
		}
	}
}

// stepsDown reports whether a blind operator steps down, and announces it. It returns false if the operator did so recently
// and that has not helped.
func (e *Election) stepsDown(s decide.Sights, now time.Time) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if s.Seeing() {
		e.downAt = time.Time{}
	}
	if !s.Blinded() || !e.downAt.IsZero() && now.Sub(e.downAt) < stepDownAgain {
		return false
	}
	e.downAt = now
	steppedDown.Inc()
	message := fmt.Sprintf("%d of %d leaders renew their Leases but do not answer %s, which lets another operator act for %s: check the network of its machine.",
		s.Blind, s.Blind+s.Clear, e.lock.Identity(), restFor)
	e.log.Info("Stepping down: this operator reaches too few leaders", keyReason, v1alpha1.ReasonOperatorBlind, keyMessage, message)
	e.recorder.Eventf(&coordinationv1.Lease{ObjectMeta: e.lease}, nil, corev1.EventTypeWarning, v1alpha1.ReasonOperatorBlind, "StepDown", "%s", message)
	return true
}

// acting reports whether this operator is the elected one. With a nil Election there are no others.
func (e *Election) acting() bool {
	if e == nil {
		return true
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.acts
}

// undisturbed identifies a period in which no other operator acted: the number changes once another one has.
func (e *Election) undisturbed() int {
	if e == nil {
		return 0
	}
	return e.lock.undisturbed()
}

// countingLock detects whether others have held the Lease since this operator last wrote itself as its holder. Every new
// holder increments the Lease's transitions by one, so two writes of ours that differ by at most one had nobody else's
// between them.
type countingLock struct {
	resourcelock.Interface

	mu          sync.Mutex
	transitions int // as this operator last wrote them; -1: never
	disturbed   int
}

// Create creates the Lease; nobody can tell any more who held it before.
func (l *countingLock) Create(ctx context.Context, r resourcelock.LeaderElectionRecord) error {
	return l.wrote(r, true, l.Interface.Create(ctx, r))
}

// Update writes the Lease if it is still as it was last read.
func (l *countingLock) Update(ctx context.Context, r resourcelock.LeaderElectionRecord) error {
	return l.wrote(r, false, l.Interface.Update(ctx, r))
}

func (l *countingLock) wrote(r resourcelock.LeaderElectionRecord, created bool, err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil && r.HolderIdentity == l.Identity() {
		if step := r.LeaderTransitions - l.transitions; created || step < 0 || step > 1 {
			l.disturbed++
		}
		l.transitions = r.LeaderTransitions
	}
	return err
}

func (l *countingLock) undisturbed() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.disturbed
}
