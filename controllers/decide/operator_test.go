package decide_test

import (
	"context"
	"errors"
	"maps"
	"net"
	"strconv"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
	"github.com/replicatedstore/replicatedstore/controllers/nodeclient"
	"github.com/replicatedstore/replicatedstore/controllers/nodeclient/fake"
	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// operator is one process of the operator: everything it remembers is lost when it dies.
type operator struct {
	w    *world
	name string
	node nodeclient.Client

	standby bool
	stoodIn replication.Epoch
	acted   []string // what it did while on standby

	held     map[string]time.Time
	failing  map[string]time.Time
	last     map[string]*wire.Status
	lastAt   map[string]time.Time
	lastOf   map[string]types.UID // the pod that reported it
	leaseKey string
	leaseAt  time.Time
	touched  int
	failures decide.HandoverFailures
	failedAt time.Time
	hands    int    // handovers tried
	refuse   bool   // handovers fail
	mute     string // the member that answers no fence
	deaf     string // the member that no order to lead reaches
	trial    decide.Trial
	triedAt  time.Time
	triedOf  string // for which template
	tries    int
	unmade   map[string]string

	seen decide.Observed // what the next act is based on: as stale as the test makes it
	pass decide.Pass
	plan decide.Plan
}

func newOperator(w *world, name string) *operator {
	return &operator{
		w: w, name: name, node: fake.Client{Cluster: w.cluster, From: fake.Operator + name},
		unmade: map[string]string{}, held: map[string]time.Time{}, failing: map[string]time.Time{}, last: map[string]*wire.Status{}, lastAt: map[string]time.Time{},
		lastOf: map[string]types.UID{},
	}
}

func addr(host string) nodeclient.Target {
	return nodeclient.Target{Address: net.JoinHostPort(host, strconv.Itoa(v1alpha1.PortControl))}
}

// observe reads everything, the Lease last.
func (o *operator) observe() {
	now := o.w.cluster.Now()
	obs := decide.Observed{
		Store: o.w.store.DeepCopy(), Settings: decide.DefaultSettings(), Members: map[string]decide.Member{},
		Held: map[string]time.Duration{}, Pass: o.pass, Handovers: o.failures, Standby: o.standby, StoodIn: o.stoodIn, Route: o.w.route,
		Unmade: maps.Clone(o.unmade),
	}
	if o.triedOf == o.template() {
		obs.Trial = o.trial
		obs.Trial.Ago = now.Sub(o.triedAt)
	}
	if o.failures.InARow > 0 {
		obs.Handovers.Ago = now.Sub(o.failedAt)
	}
	names := map[string]bool{}
	for n := range o.w.pods {
		names[n] = true
	}
	for n := range o.w.claims {
		names[n] = true
	}
	var rec *decide.Record
	if o.w.record != "" {
		rec, _ = decide.DecodeRecord(o.w.record)
	}
	for _, n := range rec.Named() {
		names[n] = true
	}
	for n := range names {
		obs.Members[n] = o.member(n, now)
	}
	obs.Lease = decide.Lease{Exists: o.w.version > 0, ResourceVersion: strconv.Itoa(o.w.version), Record: rec, Holder: o.w.holder}
	if o.w.version == 0 {
		obs.Lease.ResourceVersion = ""
	}
	key := strconv.Itoa(o.w.renewed) + "/" + strconv.Itoa(o.touched)
	if rec != nil {
		key += "/" + strconv.FormatUint(uint64(rec.LedEpoch()), 10)
	}
	if key != o.leaseKey {
		o.leaseKey, o.leaseAt = key, now
	}
	obs.Lease.UnchangedFor = now.Sub(o.leaseAt)
	for f, since := range o.held {
		obs.Held[f] = now.Sub(since)
	}
	o.seen = obs
}

func (o *operator) member(n string, now time.Time) decide.Member {
	ord, _ := v1alpha1.MemberOrdinal(o.w.store.Name, n)
	m := decide.Member{Name: n, Ordinal: ord, SpecHash: o.w.hash}
	if p := o.w.pods[n]; p != nil {
		m.Pod = new(*p)
		s, err := o.node.Status(context.Background(), addr(p.IP))
		switch nodeclient.Classify(err) {
		case nodeclient.NoFailure:
			m.Probe.Reach = decide.Fresh
			o.last[n], o.lastAt[n], o.lastOf[n] = &s, now, p.UID
			delete(o.failing, n)
		case nodeclient.Refused:
			m.Probe.Reach = decide.Refused
		default:
			m.Probe.Reach = decide.TimedOut
		}
		m.Probe.Met = o.lastOf[n] == p.UID
	}
	if m.Probe.Reach != decide.Fresh {
		if _, ok := o.failing[n]; !ok {
			o.failing[n] = now
		}
		m.Probe.For = now.Sub(o.failing[n])
		m.Probe.Silent = m.Probe.For // there are no streams here
	}
	m.Probe.Status, m.Probe.Age = o.last[n], now.Sub(o.lastAt[n])
	if c := o.w.claims[n]; c != nil {
		m.Claim = new(*c)
	}
	return m
}

// template is the template of a pod that is created now.
func (o *operator) template() string {
	return o.w.hash + " " + o.w.store.Annotations[v1alpha1.AnnotationRestart]
}

// decide makes a plan from what was seen.
func (o *operator) decide() {
	o.plan = decide.Decide(o.seen, o.w.cluster.Now())
	now := o.w.cluster.Now()
	held := map[string]time.Time{}
	for _, f := range o.plan.Holding {
		held[f] = now
		if since, ok := o.held[f]; ok {
			held[f] = since
		}
	}
	o.held, o.stoodIn = held, o.plan.StandsIn
}

var errDied = errors.New("the operator died")

// act carries out the plan's actions, and dies before the one with the number die (-1: never).
func (o *operator) act(die int) error {
	for i, a := range o.plan.Actions {
		if i == die {
			return errDied
		}
		if o.standby {
			o.acted = append(o.acted, a.String())
		}
		if err := o.do(a); err != nil {
			o.stoodIn = 0
			o.w.logf("%s: %v: %v", o.name, a, err)
			return err
		}
		o.w.logf("%s: %v: %v", o.name, o.plan.State, a)
	}
	return nil
}

func (o *operator) publish() {
	if o.plan.Standby {
		return
	}
	if o.seen.Store.Annotations[v1alpha1.AnnotationFailover] != "" {
		o.plan.Status.FailoverRequest = o.w.store.Status.FailoverRequest
	}
	o.w.store.Status = o.plan.Status
}

// reconcile makes a whole pass.
func (o *operator) reconcile() {
	o.pass = decide.Pass{}
	for range 12 {
		o.observe()
		o.decide()
		if o.act(-1) != nil || !o.plan.Risky() {
			break
		}
	}
	o.publish()
}

func (o *operator) at(member string) nodeclient.Target {
	if m := o.seen.Members[member]; m.Pod != nil {
		return addr(m.Pod.IP)
	}
	return addr("nowhere")
}

func (o *operator) do(a decide.Action) error {
	ctx, w := context.Background(), o.w
	var err error
	switch a := a.(type) {
	case decide.WriteRecord:
		return o.swap(a)
	case decide.FenceMembers:
		o.fence(a)
	case decide.PromoteMember:
		if a.Member == o.deaf {
			return nil
		}
		_, err = o.node.Promote(ctx, o.at(a.Member), a.Request)
		var refusal *wire.Error
		if errors.As(err, &refusal) {
			o.pass.PromoteEpoch, o.pass.PromoteRefusal, err = a.Request.Epoch, refusal, nil
		} else {
			o.touched++
		}
	case decide.FollowLeader:
		_, err = o.node.Follow(ctx, o.at(a.Member), a.Request)
	case decide.ConfigureLeader:
		_, err = o.node.Configure(ctx, o.at(a.Member), a.Request)
	case decide.HandOver:
		reply, err := o.node.Handover(ctx, o.at(a.Member), a.Request)
		if o.hands++; o.refuse {
			err = errors.New("NotInTime: it did not reach the end")
		}
		if o.failures.Epoch != a.Request.Epoch || err == nil {
			o.failures = decide.HandoverFailures{Epoch: a.Request.Epoch}
		}
		if err != nil {
			o.failures.InARow, o.failures.Why, o.failedAt = o.failures.InARow+1, err.Error(), w.cluster.Now()
			o.pass.HandoverError = err.Error()
			return nil
		}
		o.pass.Handover = &decide.HandoverHeld{Epoch: a.Request.Epoch, To: a.Request.To, End: reply.End}
	case decide.CreateMember:
		if delete(o.unmade, a.Member); w.refuses != "" {
			o.unmade[a.Member] = w.refuses
			return nil
		}
		w.create(a.Member)
	case decide.TryPod:
		o.tries++
		o.trial, o.triedAt, o.triedOf = w.trial, w.cluster.Now(), o.template()
		o.trial.Asked, o.trial.Member = true, a.Member
	case decide.DeletePod:
		w.remove(a.Name, a.UID)
	case decide.DeleteClaim:
		w.deleteClaim(a.Name, a.UID)
	case decide.RouteClients:
		w.route = &decide.Route{}
		if p := w.pods[a.Member]; p != nil {
			w.route = &decide.Route{UID: p.UID, IP: p.IP}
		}
	case decide.LabelPod:
		if p := w.pods[a.Name]; p != nil {
			p.Role = a.Role
		}
	case decide.UnannotatePod:
		if p := w.pods[a.Name]; p != nil {
			p.Reseed = false
		}
	case decide.FinishRequest:
		w.store.Status.FailoverRequest = &a.Outcome
		delete(w.store.Annotations, v1alpha1.AnnotationFailover)
	}
	return err
}

func (o *operator) swap(a decide.WriteRecord) error {
	have := strconv.Itoa(o.w.version)
	if o.w.version == 0 {
		have = ""
	}
	if a.ResourceVersion != have {
		return errors.New("conflict")
	}
	if a.NewLeader {
		o.w.holder = ""
	}
	o.w.version++
	o.w.record = a.Record.Encode()
	return nil
}

func (o *operator) fence(a decide.FenceMembers) {
	if o.pass.FencedEpoch != a.Epoch {
		o.pass.FencedEpoch, o.pass.Fences = a.Epoch, map[string]wire.FenceReply{}
	}
	for _, n := range a.Members {
		if n == o.mute {
			continue
		}
		if f, err := o.node.Fence(context.Background(), o.at(n), wire.FenceRequest{Epoch: a.Epoch}); err == nil {
			o.pass.Fences[n] = f
		}
	}
}

// die makes the operator forget everything.
func (o *operator) die() { *o = *newOperator(o.w, o.name) }
