package sim

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

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
		now := x.now()
		plan := decide.Decide(obs, now)
		if plan.Reread.Any() {
			x.uncached = x.uncached.And(plan.Reread)
			continue
		}
		x.seen = obs
		x.memory.Planned(obs, plan, now)
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
	obs := decide.Observed{
		Store: x.store, Settings: x.Settings, Lease: lease, Members: members, Pass: x.answers, Standby: !x.leads, Route: x.client.api.route,
		Trial: x.memory.Tried.Now(x.specHash(), now), Unmade: x.memory.Attempts.Unmade(error.Error),
		Cached: decide.Reads{Record: !x.uncached.Record, Members: !x.uncached.Members, Store: !x.uncached.Store},
	}
	x.memory.Remind(&obs, now)
	return obs, nil
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
	x.memory.Departed.Recall(members, x.memory.Contacts.Answers, x.now())
	return members, nil
}

// ask asks every member that has an address, all in parallel.
func (x *pass) ask(members map[string]decide.Member) {
	results := make(map[string]decide.Probe, len(members))
	addrs := make(map[string]string, len(members))
	var g group
	for _, name := range slices.Sorted(maps.Keys(members)) {
		c, host := x.memory.Contacts.Of(name, members[name].Pod), ""
		if pod := members[name].Pod; pod != nil && pod.IP != "" {
			host = pod.IP
			addrs[name] = host
		}
		now, heard := x.now(), x.streams.heardAt(host)
		if spared, ok := c.Spare(x.began, now, heard); ok {
			results[name] = spared
			continue
		}
		timeout := x.Timeouts.Status
		if c.Ask(now, heard) {
			timeout = min(timeout, decide.ImpatientTimeout)
		}
		g.begin()
		x.question(host, timeout, func(c Control, p *Proc) (any, error) { return c.Status(p) }, func(reply any, err error) {
			results[name] = x.judge(name, host, c, reply, err)
			g.end()
		})
	}
	x.streams.set(addrs)
	g.wait(x.p)
	for name, m := range members {
		m.Probe = results[name]
		members[name] = m
	}
	x.memory.Departed.Dismiss(members)
}

// judge corresponds to the second half of the observer's askOne.
func (x *pass) judge(name, host string, c *decide.Contact, reply any, err error) decide.Probe {
	now, heard := x.now(), x.streams.heardAt(host)
	reach := decide.Unknown
	switch nodeclient.Classify(err) {
	case nodeclient.NoFailure:
		if err != nil {
			break
		}
		status := reply.(wire.Status)
		if status.Member != name || status.Store != x.store.Name {
			return c.Misdirected(now, heard)
		}
		return c.Answered(status, now)
	case nodeclient.Refused:
		reach = decide.Refused
	case nodeclient.TimedOut:
		reach = decide.TimedOut
	case nodeclient.Unclear:
	}
	return c.Failed(reach, "", now, heard)
}

// errRestored ends the operator, as it ends the real one.
var errRestored = errors.New("the Lease was restored from an older copy")

// askAndRead asks the members first and then reads the record, from the cache if that suffices; see controllers/record.go.
func (x *pass) askAndRead(members map[string]decide.Member) (decide.Lease, error) {
	m := x.memory
	if !x.uncached.Record {
		if lease := x.cache.Lease; m.Known.Shows(says(lease)) {
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
		m.Lease.See(renewalOf(lease), x.now())
		out, was := x.seenLease(lease), m.Known
		uid, text := says(lease)
		now := decide.KnownOf(uid, text, out.Record)
		if was.After(now) {
			x.Kill()
			return decide.Lease{}, errRestored
		}
		if m.Known = now; n == maxReads || !was.Moved(now) {
			return out, nil
		}
	}
}

// says returns a Lease's UID and the text of its record; "" if there is none.
func says(l *LeaseObject) (types.UID, string) {
	if l == nil {
		return "", ""
	}
	return l.UID, l.Record
}

// renewalOf tells the renewals of a Lease (nil: there is none) apart.
func renewalOf(l *LeaseObject) int64 {
	if l == nil {
		return 0
	}
	return int64(l.Renewed)
}

// seenLease returns what a decision needs of the Lease.
func (x *pass) seenLease(l *LeaseObject) decide.Lease {
	now, clock := x.now(), &x.memory.Lease
	if l == nil {
		return decide.Lease{UnchangedFor: clock.Led(nil, now)}
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
	out.UnchangedFor = clock.Led(out.Record, now)
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
