package decide_test

import (
	"context"
	"errors"
	"net"
	"strconv"
	"time"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
	"github.com/replicatedstore/replicatedstore/controllers/nodeclient"
	"github.com/replicatedstore/replicatedstore/controllers/nodeclient/fake"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// operator is one process of the operator: everything it remembers is lost when it dies.
type operator struct {
	w    *world
	name string
	node nodeclient.Client

	standby bool
	acted   []string // what it did while on standby

	memory *decide.Memory
	hands  int    // handovers tried
	refuse bool   // handovers fail
	mute   string // the member that answers no fence
	deaf   string // the member that no order to lead reaches
	tries  int    // trials of pods

	seen decide.Observed // what the next act is based on: as stale as the test makes it
	pass decide.Pass
	plan decide.Plan
}

func newOperator(w *world, name string) *operator {
	return &operator{w: w, name: name, node: fake.Client{Cluster: w.cluster, From: fake.Operator + name}, memory: decide.NewMemory()}
}

func addr(host string) nodeclient.Target {
	return nodeclient.Target{Address: net.JoinHostPort(host, strconv.Itoa(v1alpha1.PortControl))}
}

// observe reads everything, the Lease last.
func (o *operator) observe() {
	now := o.w.cluster.Now()
	obs := decide.Observed{
		Store: o.w.store.DeepCopy(), Settings: decide.DefaultSettings(), Members: map[string]decide.Member{},
		Pass: o.pass, Standby: o.standby, Route: o.w.route, Trial: o.memory.Tried.Now(o.template(), now), Unmade: o.memory.Attempts.Unmade(error.Error),
	}
	o.memory.Remind(&obs, now)
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
	o.memory.Lease.See(int64(o.w.renewed), now)
	obs.Lease.UnchangedFor = o.memory.Lease.Led(rec, now)
	o.seen = obs
}

func (o *operator) member(n string, now time.Time) decide.Member {
	ord, _ := v1alpha1.MemberOrdinal(o.w.store.Name, n)
	m := decide.Member{Name: n, Ordinal: ord, SpecHash: o.w.hash}
	if p := o.w.pods[n]; p != nil {
		m.Pod = new(*p)
	}
	m.Probe = o.ask(n, m.Pod, now)
	if c := o.w.claims[n]; c != nil {
		m.Claim = new(*c)
	}
	return m
}

// ask asks a member, unless it did not answer at this very moment. There are no streams here.
func (o *operator) ask(n string, pod *decide.Pod, now time.Time) decide.Probe {
	var never time.Time
	c := o.memory.Contacts.Of(n, pod)
	if p, spared := c.Spare(now, now, never); spared {
		return p
	}
	c.Ask(now, never)
	s, err := o.node.Status(context.Background(), addr(pod.IP))
	switch nodeclient.Classify(err) {
	case nodeclient.NoFailure:
		return c.Answered(s, now)
	case nodeclient.Refused:
		return c.Failed(decide.Refused, "", now, never)
	default:
		return c.Failed(decide.TimedOut, "", now, never)
	}
}

// template is the template of a pod that is created now.
func (o *operator) template() string {
	return o.w.hash + " " + o.w.store.Annotations[v1alpha1.AnnotationRestart]
}

// decide makes a plan from what was seen.
func (o *operator) decide() {
	o.plan = decide.Decide(o.seen, o.w.cluster.Now())
	if !o.plan.Reread.Any() {
		o.memory.Planned(o.seen, o.plan, o.w.cluster.Now())
	}
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
			o.memory.ActFailed()
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
func (o *operator) reconcile() { o.reconcileWith(func() {}) }

// reconcileWith makes a whole pass, and calls f after each risky step of it.
func (o *operator) reconcileWith(f func()) {
	o.pass = decide.Pass{}
	for range 12 {
		o.observe()
		o.decide()
		if o.act(-1) != nil || !o.plan.Risky() {
			break
		}
		f()
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
		settle := o.memory.Promoting(&o.pass, a.Request, w.cluster.Now())
		_, err = o.node.Promote(ctx, o.at(a.Member), a.Request)
		err = settle(err, w.cluster.Now())
	case decide.FollowLeader:
		_, err = o.node.Follow(ctx, o.at(a.Member), a.Request)
	case decide.ConfigureLeader:
		_, err = o.node.Configure(ctx, o.at(a.Member), a.Request)
	case decide.HandOver:
		reply, err := o.node.Handover(ctx, o.at(a.Member), a.Request)
		if o.hands++; o.refuse {
			err = errors.New("NotInTime: it did not reach the end")
		}
		o.memory.HandedOver(&o.pass, a.Request, reply.End, err, w.cluster.Now())
	case decide.CreateMember:
		if w.refuses != "" {
			o.memory.Attempts.Ended(a.Member, w.hash, errors.New(w.refuses), w.cluster.Now())
			return nil
		}
		w.create(a.Member)
		o.memory.Attempts.Ended(a.Member, w.hash, nil, w.cluster.Now())
	case decide.TryPod:
		o.tries++
		o.memory.Tried = decide.TriedAt(w.cluster.Now(), a.Member, o.template(), w.trial.Refused, w.trial.Unclear)
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
