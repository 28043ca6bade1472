package sim

import (
	"errors"
	"fmt"
	"maps"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
	"github.com/replicatedstore/replicatedstore/controllers/nodeclient"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// Control is a member's control port. Its methods run in a Proc of the member's process. An error that is a *replication.Refusal
// or a *wire.Error means that the member refused. Any other error tells nothing about the outcome.
type Control interface {
	Status(p *Proc) (wire.Status, error)
	Fence(p *Proc, r wire.FenceRequest) (wire.FenceReply, error)
	Promote(p *Proc, r wire.PromoteRequest) error
	Follow(p *Proc, r wire.FollowRequest) error
	Configure(p *Proc, r wire.ConfigureRequest) error
	Handover(p *Proc, r wire.HandoverRequest) (wire.HandoverReply, error)
}

// Settings of cmd/operator and controllers.
const (
	leaseDuration = 10 * time.Second // of the operators' election
	renewDeadline = 7 * time.Second
	retryPeriod   = 2 * time.Second

	maxSteps      = 16
	maxPass       = 30 * time.Second
	maxReads      = 3
	replacedPause = 100 * time.Millisecond
	routeAgain    = 500 * time.Millisecond
	fenceGrace    = 150 * time.Millisecond
	followWait    = time.Second
	firstBackoff  = 5 * time.Millisecond
	maxBackoff    = time.Second
)

// annotationTemplate is an annotation on the store that stands for the pod template: changing its value requests a restart.
const annotationTemplate = "sim/template"

// Operator is one replica of the operator, on its own host. It runs the passes of controllers.Reconciler over decide.Decide, with
// the same order of reads, the same concurrency and the same timeouts. Its memory dies with its process.
type Operator struct {
	// Settings are the settings of decide; Timeouts are those of the questions to members.
	Settings decide.Settings
	Timeouts nodeclient.Timeouts

	// Passes counts completed passes and Steps the looks in them, over all lives of the operator.
	Passes, Steps int
	// Plan is the newest plan of the current life.
	Plan decide.Plan

	name    string
	loop    *Loop
	net     *Net
	host    *Host
	client  Client
	control func(host string) Control

	// The fields below belong to the current life.
	process *Process
	cache   *Cache
	leads   bool
	woken   bool
	wakeup  Signal
	streams streams
	memory  *memory
	now     func() time.Time
}

// NewOperator returns a running operator. control returns what answers on a host; nil means that no process runs there.
func (a *API) NewOperator(name string, control func(host string) Control) *Operator {
	o := &Operator{
		Settings: decide.DefaultSettings(), Timeouts: nodeclient.DefaultTimeouts(),
		name: name, loop: a.loop, net: a.net, host: a.net.Host(name), client: a.Client(name), control: control,
	}
	o.now = o.host.Clock.Mono
	o.start()
	return o
}

// Name returns the name of the operator's host.
func (o *Operator) Name() string { return o.name }

// Leads reports whether the operator believes that it is the active one.
func (o *Operator) Leads() bool { return o.leads }

// Cache returns the operator's view of the API's objects. It is nil just after a start.
func (o *Operator) Cache() *Cache { return o.cache }

// Kill kills the process, whatever it waits for. After a while a new one starts, which remembers nothing.
func (o *Operator) Kill() { o.host.Kill() }

// Pause stops the process for d, in the middle of whatever it does.
func (o *Operator) Pause(d time.Duration) {
	p := o.process
	p.Freeze()
	o.loop.After(d, p.Thaw)
}

func (o *Operator) start() {
	o.process = o.host.Boot(o.name)
	o.cache, o.leads, o.woken, o.wakeup, o.Plan = nil, false, false, Signal{}, decide.Plan{}
	o.memory, o.streams = &memory{Memory: decide.NewMemory()}, streams{}
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

// told corresponds to the event handlers of controllers.SetupWithManager: a Lease renewal or a new status is noted but starts no
// pass.
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
	o.memory.Lease.See(renewalOf(l), o.now())
	_, o.memory.record = says(l)
}

func (o *Operator) wake() {
	o.woken = true
	o.wakeup.Fire()
}

// elect corresponds to client-go's leader election. An operator that leads and cannot renew in time ends its process. This is
// harsher than the product, whose operators stay up on standby and keep their memory.
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

// passes corresponds to the work queue: it runs one pass at a time, when something changed or when the last plan asks for one.
func (o *Operator) passes(p *Proc) {
	o.watchStreams()
	backoff := firstBackoff
	for {
		o.woken = false
		plan, err := o.pass(p)
		wait := plan.RequeueAfter
		switch {
		case apierrors.IsConflict(err) && o.memory.Outdated.Members:
			wait = replacedPause
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

// pass corresponds to Reconciler.Reconcile.
func (o *Operator) pass(p *Proc) (decide.Plan, error) {
	o.Passes++
	x := &pass{Operator: o, p: p, store: o.cache.Store, began: o.now(), uncached: o.memory.Outdated}
	o.memory.Outdated = decide.Reads{}
	plan, err := x.run()
	if perr := x.publish(plan); perr != nil {
		err = errors.Join(err, perr)
	}
	if x.unrouted {
		plan.RequeueAfter = min(plan.RequeueAfter, routeAgain)
	}
	return plan, err
}

// pass is the state of one pass.
type pass struct {
	*Operator
	p       *Proc
	store   *v1alpha1.ReplicatedStore // from the cache, or newer; never modified
	asOf    *v1alpha1.ReplicatedStore // as it was in the API when the newest look began, for the checker
	began   time.Time
	answers decide.Pass
	seen    decide.Observed
	// uncached says what the rest of the pass reads directly from the API server.
	uncached decide.Reads
	unrouted bool // the -rw Service could not be pointed elsewhere
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
			x.memory.Facts.Unseen(x.now())
			return plan, err
		}
		plan = next
		x.Plan = plan
		x.announce(plan)
		if err := x.tellFirst(plan); err != nil {
			return plan, err
		}
		if err := x.act(plan); err != nil {
			x.memory.ActFailed()
			return plan, fmt.Errorf("%v: %w", plan.State, err)
		}
		if !plan.Risky() {
			break
		}
	}
	return plan, nil
}

func (x *pass) announce(plan decide.Plan) {
	if !plan.Standby && x.memory.said != plan.Outcome() {
		x.memory.said = plan.Outcome()
		x.loop.Logf("%s decides %v (%s): %s", x.name, plan.State, plan.Reason, plan.Message)
	}
}

// memory is what the operator remembers between passes.
type memory struct {
	*decide.Memory
	record string // of the watched Lease
	// Of the watched store.
	generation  int64
	annotations map[string]string
	decoded     struct {
		text   string
		record *decide.Record
		err    error
	}
	said decide.Outcome
}

// decode caches the newest record, which is usually the one of the previous step.
func (m *memory) decode(text string) (*decide.Record, error) {
	if d := &m.decoded; d.text != text {
		d.text = text
		d.record, d.err = decide.DecodeRecord(text)
	}
	return m.decoded.record, m.decoded.err
}
