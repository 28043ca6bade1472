package sim

import (
	"errors"
	"fmt"
	"maps"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
	"github.com/replicatedstore/replicatedstore/controllers/nodeclient"
	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// Control is a member's control port. Its methods run in a Proc of the member's process. An error that is a
// *replication.Refusal or a *wire.Error says that the member refused; any other one says nothing.
type Control interface {
	Status(p *Proc) (wire.Status, error)
	Fence(p *Proc, r wire.FenceRequest) (wire.FenceReply, error)
	Promote(p *Proc, r wire.PromoteRequest) error
	Follow(p *Proc, r wire.FollowRequest) error
	Configure(p *Proc, r wire.ConfigureRequest) error
	Handover(p *Proc, r wire.HandoverRequest) (wire.HandoverReply, error)
}

// What cmd/operator and controllers go by.
const (
	leaseDuration = 10 * time.Second // of the operators' election
	renewDeadline = 7 * time.Second
	retryPeriod   = 2 * time.Second

	maxSteps        = 16
	maxPass         = 30 * time.Second
	maxReads        = 3
	probeAgainAfter = 2 * time.Second
	againTimeout    = 250 * time.Millisecond
	fenceGrace      = 150 * time.Millisecond
	followWait      = time.Second
	firstBackoff    = 5 * time.Millisecond
	maxBackoff      = time.Second
)

// annotationTemplate on the store stands for the pods' template: another value asks for a restart.
const annotationTemplate = "sim/template"

// Operator is one replica of the operator, on a host of its own. It runs the passes of controllers.Reconciler over
// decide.Decide: the same order of reads, the same concurrency, the same timeouts. What it remembers dies with its process.
type Operator struct {
	// Settings of decide; Timeouts of its questions.
	Settings decide.Settings
	Timeouts nodeclient.Timeouts

	// Passes counts completed passes, Steps the looks in them, over all its lives.
	Passes, Steps int
	// Plan is the newest plan of its present life.
	Plan decide.Plan

	name    string
	loop    *Loop
	net     *Net
	host    *Host
	client  Client
	control func(host string) Control

	// Of the present life.
	process *Process
	cache   *Cache
	leads   bool
	woken   bool
	wakeup  Signal
	streams streams
	memory  *memory
	now     func() time.Time
}

// NewOperator returns an operator that runs from now on. control finds what answers on a host; nil: no process.
func (a *API) NewOperator(name string, control func(host string) Control) *Operator {
	o := &Operator{
		Settings: decide.DefaultSettings(), Timeouts: nodeclient.DefaultTimeouts(),
		name: name, loop: a.loop, net: a.net, host: a.net.Host(name), client: a.Client(name), control: control,
	}
	o.now = o.host.Clock.Mono
	o.start()
	return o
}

// Name is that of its host.
func (o *Operator) Name() string { return o.name }

// Leads reports whether it believes that it is the active one.
func (o *Operator) Leads() bool { return o.leads }

// Cache is what it knows of the API's objects; nil while it has just started.
func (o *Operator) Cache() *Cache { return o.cache }

// Kill ends the process at whatever it waits for; another one, which remembers nothing, starts after a while.
func (o *Operator) Kill() { o.host.Kill() }

// Pause stops the process for so long, in the middle of whatever it does.
func (o *Operator) Pause(d time.Duration) {
	p := o.process
	p.Freeze()
	o.loop.After(d, p.Thaw)
}

func (o *Operator) start() {
	o.process = o.host.Boot(o.name)
	o.cache, o.leads, o.woken, o.wakeup, o.Plan = nil, false, false, Signal{}, decide.Plan{}
	o.memory, o.streams = newMemory(), streams{}
	o.process.OnExit(func() {
		o.leads = false
		if o.cache != nil {
			o.cache.Stop()
		}
		o.loop.Logf("operator %s ends", o.name)
		o.loop.After(o.loop.Between(100*time.Millisecond, 3*time.Second), o.start)
	})
	o.process.Go("operator", func(p *Proc) {
		o.cache = o.client.api.NewCache(p, o.name, o.told)
		o.seeLease(o.cache.Lease)
		o.process.Go("election", o.elect)
		o.process.Go("passes", o.passes)
	})
}

// told is the event handlers of controllers.SetupWithManager: a renewal is noted and wakes nobody, and so does a new status.
func (o *Operator) told(kind int) {
	switch m := o.memory; kind {
	case kindLease:
		was := m.record
		o.seeLease(o.cache.Lease)
		if m.record == was {
			return
		}
	case kindStore:
		s := o.cache.Store
		if s.Generation == m.generation && maps.Equal(s.Annotations, m.annotations) {
			return
		}
		m.generation, m.annotations = s.Generation, s.Annotations
	default:
	}
	o.wake()
}

func (o *Operator) seeLease(l *LeaseObject) {
	o.memory.lease.see(l, o.now())
	o.memory.record = ""
	if l != nil {
		o.memory.record = l.Record
	}
}

func (o *Operator) wake() {
	o.woken = true
	o.wakeup.Fire()
}

// elect is client-go's leader election. Who leads and cannot renew in time ends its process, which is worse than what the product does:
// its operators go on, on standby, and remember.
func (o *Operator) elect(p *Proc) {
	var version int
	var holder string
	since, renewed := o.now(), o.now()
	for {
		expired := o.now().Sub(since) >= leaseDuration
		v, h, err := o.client.elect(p, version, expired)
		switch now := o.now(); {
		case err != nil && o.leads && now.Sub(renewed) >= renewDeadline, err == nil && o.leads && h != o.name:
			o.Kill()
		case err != nil:
		case h == o.name:
			renewed = now
			if !o.leads {
				o.leads = true
				o.loop.Logf("operator %s leads", o.name)
				o.wake()
			}
		}
		if err == nil && (v != version || h != holder) {
			version, holder, since = v, h, o.now()
		}
		p.Sleep(o.host.Clock.True(retryPeriod) + o.loop.Between(0, retryPeriod/5))
	}
}

// passes is the work queue: one pass at a time, when something changed or the last plan asks for it.
func (o *Operator) passes(p *Proc) {
	o.watchStreams()
	backoff := firstBackoff
	for {
		o.woken = false
		plan, err := o.pass(p)
		wait := plan.RequeueAfter
		switch {
		case apierrors.IsConflict(err):
			wait = time.Millisecond
		case err != nil:
			o.loop.Logf("%s: %v", o.name, err)
			wait = backoff
			backoff = min(2*backoff, maxBackoff)
		case plan.Risky():
			wait = time.Millisecond
		}
		if err == nil {
			backoff = firstBackoff
		}
		if wait <= 0 {
			wait = -1
		}
		if !o.woken || err != nil {
			p.Wait(&o.wakeup, wait)
		}
	}
}

// pass is Reconciler.Reconcile.
func (o *Operator) pass(p *Proc) (decide.Plan, error) {
	o.Passes++
	x := &pass{Operator: o, p: p, store: o.cache.Store, began: o.now()}
	plan, err := x.run()
	if perr := x.publish(plan); perr != nil {
		err = errors.Join(err, perr)
	}
	return plan, err
}

// pass is one pass.
type pass struct {
	*Operator
	p       *Proc
	store   *v1alpha1.ReplicatedStore // of the cache, or newer: never changed
	asOf    *v1alpha1.ReplicatedStore // as it was in the API when the newest look began, for the checker
	began   time.Time
	answers decide.Pass
	seen    decide.Observed
	// uncached is what is read from the API server itself for the rest of the pass.
	uncached decide.Reads
}

var errTooLong = errors.New("the pass takes too long")

func (x *pass) run() (decide.Plan, error) {
	var plan decide.Plan
	for range maxSteps {
		if x.now().Sub(x.began) > maxPass {
			return plan, errTooLong
		}
		next, err := x.look()
		if err != nil {
			return plan, err
		}
		plan = next
		x.Plan = plan
		x.memory.hold(plan.Holding, x.now())
		x.memory.stoodIn = plan.StandsIn
		x.announce(plan)
		if err := x.act(plan); err != nil {
			x.memory.stoodIn = 0
			return plan, fmt.Errorf("%v: %w", plan.State, err)
		}
		if !plan.Risky() {
			break
		}
	}
	return plan, nil
}

func (x *pass) announce(plan decide.Plan) {
	if said := &x.memory.said; !plan.Standby && (said.state != plan.State || said.reason != plan.Reason) {
		said.state, said.reason = plan.State, plan.Reason
		x.loop.Logf("%s decides %v (%s): %s", x.name, plan.State, plan.Reason, plan.Message)
	}
}

// memory is what is remembered between passes; see controllers/memory.go.
type memory struct {
	held     map[string]time.Time
	probes   map[string]*probe
	departed decide.Departed
	promoted decide.PromotedAt
	failures decide.HandoverFailures
	failedAt time.Time // the newest of them
	stoodIn  replication.Epoch
	known    known
	decided  decide.Outcome
	lease    leaseWatch
	trialOf  string // whose pod was tried last
	record   string // of the Lease as watched
	// Of the store as watched.
	generation  int64
	annotations map[string]string
	decoded     struct {
		text   string
		record *decide.Record
		err    error
	}
	said struct {
		state  decide.State
		reason string
	}
}

func newMemory() *memory {
	return &memory{held: map[string]time.Time{}, probes: map[string]*probe{}, departed: decide.Departed{}}
}

type probe struct {
	uid      types.UID
	status   *wire.Status
	statusAt time.Time
	failing  time.Time
	answered time.Time
	askedAt  time.Time
	timedOut bool
	refused  bool
}

func (m *memory) hold(facts []string, now time.Time) {
	held := make(map[string]time.Time, len(facts))
	for _, f := range facts {
		held[f] = now
		if since, ok := m.held[f]; ok {
			held[f] = since
		}
	}
	m.held = held
}

func (m *memory) heldFor(now time.Time) map[string]time.Duration {
	out := make(map[string]time.Duration, len(m.held))
	for f, since := range m.held {
		out[f] = now.Sub(since)
	}
	return out
}

// tried and handovers are those of controllers/memory.go.
func (m *memory) tried(e replication.Epoch, err error, now time.Time) {
	if m.failures.Epoch != e || err == nil {
		m.failures = decide.HandoverFailures{Epoch: e}
	}
	if err != nil {
		m.failures.InARow, m.failures.Why, m.failedAt = m.failures.InARow+1, err.Error(), now
	}
}

func (m *memory) handovers(now time.Time) decide.HandoverFailures {
	if m.failures.InARow == 0 {
		return decide.HandoverFailures{}
	}
	f := m.failures
	f.Ago = now.Sub(m.failedAt)
	return f
}

// decode remembers the newest record, which is mostly the one of the step before.
func (m *memory) decode(text string) (*decide.Record, error) {
	if d := &m.decoded; d.text != text {
		d.text = text
		d.record, d.err = decide.DecodeRecord(text)
	}
	return m.decoded.record, m.decoded.err
}

// leaseWatch is that of controllers/memory.go.
type leaseWatch struct {
	renewed uint64
	epoch   uint64
	since   time.Time
}

func (w *leaseWatch) see(l *LeaseObject, now time.Time) {
	var renewed uint64
	if l != nil {
		renewed = l.Renewed
	}
	if w.since.IsZero() || renewed != w.renewed {
		w.renewed, w.since = renewed, now
	}
}

func (w *leaseWatch) led(epoch uint64, now time.Time) time.Duration {
	if epoch != w.epoch {
		w.epoch, w.since = epoch, now
	}
	return now.Sub(w.since)
}
