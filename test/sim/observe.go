package sim

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"time"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
	"github.com/replicatedstore/replicatedstore/controllers/nodeclient"
	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// look observes and decides. It repeats this as long as the decision asks for an uncached read of something that came from the
// cache; see controllers/observe.go.
func (x *pass) look() (decide.Plan, error) {
	for {
		x.asOf = x.client.api.store
		obs, err := x.observe()
		if err != nil {
			return decide.Plan{}, fmt.Errorf("observe: %w", err)
		}
		x.Steps++
		plan := decide.Decide(obs, x.now())
		if plan.Reread.Any() {
			x.uncached = x.uncached.And(plan.Reread)
			continue
		}
		x.seen = obs
		if !obs.Cached.Record {
			x.memory.decided = plan.Outcome()
		}
		return plan, nil
	}
}

// observe gathers the input of a decision.
func (x *pass) observe() (decide.Observed, error) {
	if x.store.Annotations[v1alpha1.AnnotationFailover] != "" {
		x.uncached.Store = true
	}
	if x.uncached.Store {
		s, err := x.client.GetStore(x.p)
		if err != nil {
			return decide.Observed{}, err
		}
		x.store = s
	}
	members, err := x.objects()
	if err != nil {
		return decide.Observed{}, err
	}
	lease, err := x.askAndRead(members)
	if err != nil {
		return decide.Observed{}, err
	}
	for _, name := range lease.Record.Named() {
		if _, ok := members[name]; !ok {
			members[name] = x.bare(name)
		}
	}
	now := x.now()
	return decide.Observed{
		Store: x.store, Settings: x.Settings, Lease: lease, Members: members,
		Held: x.memory.heldFor(now), Pass: x.answers, Promoted: x.memory.promoted,
		Handovers: x.memory.handovers(now),
		Standby:   !x.leads, StoodIn: x.memory.stoodIn, Route: x.client.api.route,
		Trial:  decide.Trial{Asked: x.memory.trialOf != "", Member: x.memory.trialOf}, // it takes every pod
		Cached: decide.Reads{Record: !x.uncached.Record, Members: !x.uncached.Members, Store: !x.uncached.Store}, Before: x.memory.decided,
	}, nil
}

func (x *pass) specHash() string { return x.store.Annotations[annotationTemplate] }

func (x *pass) bare(name string) decide.Member {
	ordinal, _ := v1alpha1.MemberOrdinal(x.store.Name, name)
	return decide.Member{Name: name, Ordinal: ordinal, SpecHash: x.specHash()}
}

// objects takes the members' pods and claims from the cache, unless the pass must read them uncached.
func (x *pass) objects() (map[string]decide.Member, error) {
	pods, claims := x.cache.Pods, x.cache.Claims
	if x.uncached.Members {
		var err error
		if pods, claims, err = x.client.ListMembers(x.p); err != nil {
			return nil, err
		}
	}
	members := make(map[string]decide.Member, len(pods))
	for name, pod := range pods {
		m := x.bare(name)
		m.Pod = &pod
		members[name] = m
	}
	for name, claim := range claims {
		m, ok := members[name]
		if !ok {
			m = x.bare(name)
		}
		m.Claim = &claim
		members[name] = m
	}
	x.memory.departed.Recall(members, x.answersStill, x.now())
	return members, nil
}

// ask asks every member that has an address, all in parallel.
func (x *pass) ask(members map[string]decide.Member) {
	results := make(map[string]decide.Probe, len(members))
	addrs := make(map[string]string, len(members))
	var g group
	for _, name := range slices.Sorted(maps.Keys(members)) {
		pod := members[name].Pod
		pr := x.probeOf(name, pod)
		now := x.now()
		switch {
		case pod == nil || pod.IP == "":
			results[name] = pr.failed(decide.Unknown, now, time.Time{})
			continue
		case (pr.timedOut || pr.refused) && now.Sub(pr.askedAt) < probeAgainAfter && !pr.askedAt.Before(x.began):
			reach := decide.TimedOut
			if pr.refused {
				reach = decide.Refused
			}
			results[name] = pr.failed(reach, now, x.streams.heardAt(pod.IP))
		default:
			timeout := x.Timeouts.Status
			if pr.askedAt = now; pr.timedOut {
				timeout = min(timeout, againTimeout)
			}
			g.begin()
			x.question(pod.IP, timeout, func(c Control, p *Proc) (any, error) { return c.Status(p) }, func(reply any, err error) {
				results[name] = x.judge(name, pod.IP, pr, reply, err)
				g.end()
			})
		}
		addrs[name] = pod.IP
	}
	x.streams.set(addrs)
	g.wait(x.p)
	for name, m := range members {
		m.Probe = results[name]
		members[name] = m
	}
	x.memory.departed.Dismiss(members)
}

func (x *pass) answersStill(member string) bool {
	pr := x.memory.probes[member]
	return pr != nil && pr.status != nil && pr.failing.IsZero()
}

func (x *pass) probeOf(name string, pod *decide.Pod) *probe {
	pr := x.memory.probes[name]
	if pr == nil {
		pr = &probe{}
		x.memory.probes[name] = pr
	}
	if pod != nil && pr.uid != pod.UID {
		pr.uid, pr.timedOut, pr.refused, pr.answered = pod.UID, false, false, time.Time{}
	}
	return pr
}

// judge corresponds to the second half of the observer's askOne.
func (x *pass) judge(name, host string, pr *probe, reply any, err error) decide.Probe {
	now, heard := x.now(), x.streams.heardAt(host)
	pr.timedOut, pr.refused = false, false
	switch nodeclient.Classify(err) {
	case nodeclient.NoFailure:
		if err != nil {
			return pr.failed(decide.Unknown, now, heard)
		}
		status := reply.(wire.Status)
		if status.Member != name || status.Store != x.store.Name {
			return pr.failed(decide.Unknown, now, heard)
		}
		pr.status, pr.statusAt, pr.failing, pr.answered = &status, pr.askedAt, time.Time{}, now
		return decide.Probe{Reach: decide.Fresh, Status: &status, Met: true}
	case nodeclient.Refused:
		pr.refused = true
		return pr.failed(decide.Refused, now, heard)
	case nodeclient.TimedOut:
		pr.timedOut = true
		return pr.failed(decide.TimedOut, now, heard)
	default:
		return pr.failed(decide.Unknown, now, heard)
	}
}

func (pr *probe) failed(r decide.Reach, now, heard time.Time) decide.Probe {
	if pr.failing.IsZero() {
		pr.failing = now
		if r == decide.TimedOut {
			pr.failing = pr.askedAt
		}
	}
	last := pr.answered
	if heard.After(last) {
		last = heard
	}
	out := decide.Probe{Reach: r, Status: pr.status, Age: now.Sub(pr.statusAt), For: now.Sub(pr.failing), Met: !pr.answered.IsZero()}
	if out.Silent = out.For; !last.IsZero() {
		out.Silent = max(out.For, now.Sub(last))
	}
	return out
}

// askAndRead asks the members first and then reads the record, from the cache if that suffices; see controllers/record.go.
func (x *pass) askAndRead(members map[string]decide.Member) (decide.Lease, error) {
	m := x.memory
	if !x.uncached.Record {
		if lease := x.cache.Lease; m.known.shows(lease) {
			x.ask(members)
			return x.seenLease(lease), nil
		}
		x.uncached.Record = true
	}
	for n := 1; ; n++ {
		x.ask(members)
		lease, err := x.client.GetLease(x.p)
		if err != nil {
			return decide.Lease{}, fmt.Errorf("get Lease: %w", err)
		}
		m.lease.see(lease, x.now())
		out, was := x.seenLease(lease), m.known
		if m.known = knownOf(lease, out.Record); n == maxReads || !was.moved(m.known) {
			return out, nil
		}
	}
}

// known corresponds to the type in controllers/record.go.
type known struct {
	exists bool
	record string
	epoch  replication.Epoch
	phase  decide.Phase
}

func knownOf(l *LeaseObject, rec *decide.Record) known {
	k := known{exists: l != nil}
	if l != nil {
		k.record = l.Record
	}
	if rec != nil {
		k.epoch, k.phase = rec.Epoch, rec.Phase
	}
	return k
}

func (k known) shows(l *LeaseObject) bool {
	return k.exists == (l != nil) && (l == nil || l.Record == k.record)
}

func (k known) moved(to known) bool { return k.epoch != to.epoch || k.phase != to.phase }

// seenLease returns what a decision needs of the Lease.
func (x *pass) seenLease(l *LeaseObject) decide.Lease {
	now, watch := x.now(), &x.memory.lease
	if l == nil {
		return decide.Lease{UnchangedFor: watch.led(0, now)}
	}
	out := decide.Lease{Exists: true, ResourceVersion: l.ResourceVersion(), Duration: time.Duration(l.Seconds) * time.Second}
	if l.Renewed != 0 {
		out.Holder = l.Holder
	}
	if l.Record != "" {
		var err error
		if out.Record, err = x.memory.decode(l.Record); err != nil {
			out.RecordError = err.Error()
		}
	}
	var led replication.Epoch
	if out.Record != nil {
		led = out.Record.LedEpoch()
	}
	out.UnchangedFor = watch.led(uint64(led), now)
	return out
}

// call sends one order to whatever answers on a host. It calls done with the answer, in the operator's process.
func (o *Operator) call(host string, timeout time.Duration, order func(Control, *Proc) (any, error), done func(any, error)) {
	if host == "" {
		o.process.After(0, func() { done(nil, ErrRefused) })
		return
	}
	o.net.Begin(o.name, host, o.host.Clock.True(timeout), func(p *Proc) (any, error) {
		c := o.control(host)
		if c == nil || o.net.Host(host).shut {
			return nil, ErrRefused
		}
		reply, err := order(c, p)
		return reply, answered(err)
	}, done)
}

// command is call for an order that is not a question: a deaf member never receives it.
func (o *Operator) command(host string, timeout time.Duration, order func(Control, *Proc) (any, error), done func(any, error)) {
	o.call(host, timeout, o.unless(host, 1, order), done)
}

// question is call for a question, which goes over another connection: even a deaf member usually receives it.
func (o *Operator) question(host string, timeout time.Duration, ask func(Control, *Proc) (any, error), done func(any, error)) {
	o.call(host, timeout, o.unless(host, 0.15, ask), done)
}

// unless makes the given share of what is sent to a deaf member vanish.
func (o *Operator) unless(host string, share float64, do func(Control, *Proc) (any, error)) func(Control, *Proc) (any, error) {
	return func(c Control, p *Proc) (any, error) {
		if o.net.Host(host).deaf && o.loop.Chance(share) {
			p.Wait(new(Signal), -1)
		}
		return do(c, p)
	}
}

// answered converts a member's error into the answer of its control port: a refusal is answered as such, and nothing else is.
func answered(err error) error {
	var refusal *replication.Refusal
	var already *wire.Error
	switch {
	case err == nil || errors.As(err, &already) || errors.Is(err, net.ErrClosed):
		return err
	case errors.As(err, &refusal):
		return &wire.Error{Reason: refusal.Reason, Message: err.Error()}
	default:
		return errors.New("status 500: " + err.Error())
	}
}

// group waits for several answers.
type group struct {
	open   int
	nobody Signal
}

func (g *group) begin() { g.open++ }

func (g *group) end() {
	if g.open--; g.open == 0 {
		g.nobody.Fire()
	}
}

func (g *group) wait(p *Proc) {
	for g.open > 0 {
		p.Wait(&g.nobody, -1)
	}
}
