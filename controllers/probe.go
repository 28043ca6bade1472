package controllers

import (
	"context"
	"errors"
	"maps"
	"net"
	"strconv"
	"sync"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
	"github.com/replicatedstore/replicatedstore/controllers/nodeclient"
)

// ask asks every member that has an address, all at once, and points the status streams at those addresses.
func (p *pass) ask(ctx context.Context, members map[string]decide.Member) {
	targets := map[string]nodeclient.Target{}
	results := make(map[string]decide.Probe, len(members))
	var mu sync.Mutex // guards results
	result := func(name string, r decide.Probe) {
		mu.Lock()
		defer mu.Unlock()
		results[name] = r
	}
	var wg sync.WaitGroup
	for name, m := range maps.All(members) {
		pr := p.probeOf(name, m.Pod)
		if m.Pod == nil || m.Pod.IP == "" {
			result(name, pr.failed(decide.Unknown, p.Clock.Now(), time.Time{})) // locked: other members are already being asked
			continue
		}
		to := p.target(name, m.Pod.IP)
		targets[name] = to
		wg.Go(func() {
			result(name, p.askOne(ctx, to, pr))
		})
	}
	p.watcher.Set(client.ObjectKeyFromObject(p.store), targets)
	wg.Wait()
	for name, m := range members {
		m.Probe = results[name]
		if to, asked := targets[name]; asked {
			pr := p.probes[name]
			m.Probe.Foreign, m.Probe.Unmet = pr.foreign == to.Address, pr.at != to.Address
		}
		members[name] = m
	}
	p.departed.Dismiss(members)
}

// probeOf returns what is remembered of a member. Its last status outlives its pod, because it says how far the member was
// when last heard. What is known of how the previous pod answered (timeouts, refusals, its address) does not.
func (p *pass) probeOf(name string, pod *decide.Pod) *probe {
	pr := p.probes[name]
	if pr == nil {
		pr = &probe{}
		p.probes[name] = pr
	}
	if pod != nil && pr.uid != pod.UID {
		pr.uid, pr.timedOut, pr.refused, pr.trouble, pr.answered, pr.at, pr.foreign = pod.UID, false, false, "", time.Time{}, "", ""
	}
	return pr
}

// answersStill reports whether a member answered when it was last asked.
func (p *pass) answersStill(member string) bool {
	pr := p.probes[member]
	return pr != nil && pr.status != nil && pr.failing.IsZero()
}

// askOne asks one member. If somebody else answers at its address, that says nothing about the member.
func (p *pass) askOne(ctx context.Context, to nodeclient.Target, pr *probe) decide.Probe {
	if now := p.Clock.Now(); (pr.timedOut || pr.refused) && now.Sub(pr.askedAt) < probeAgainAfter && !pr.askedAt.Before(p.began) {
		reach := decide.TimedOut
		if pr.refused {
			reach = decide.Refused
		}
		return pr.failed(reach, now, p.heard(to.Member))
	}
	impatient := pr.impatient(p.heard(to.Member))
	if pr.askedAt = p.Clock.Now(); impatient {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, againTimeout)
		defer cancel()
	}
	status, err := p.Nodes.Status(ctx, to)
	now := p.Clock.Now()
	pr.timedOut, pr.refused, pr.trouble = false, false, ""
	if errors.Is(err, nodeclient.ErrNotAddressed) || err == nil && (!to.Is(status) || status.Store != p.store.Name) {
		pr.foreign = to.Address
		return pr.failed(decide.Unknown, now, p.heard(to.Member))
	}
	switch nodeclient.Classify(err) {
	case nodeclient.NoFailure:
		if err != nil {
			return pr.failed(decide.Unknown, now, p.heard(to.Member))
		}
		pr.status, pr.statusAt, pr.failing, pr.answered, pr.at, pr.foreign = &status, pr.askedAt, time.Time{}, now, to.Address, ""
		return decide.Probe{Reach: decide.Fresh, Status: &status, Met: true}
	case nodeclient.Refused:
		pr.refused = true
		return pr.failed(decide.Refused, now, p.heard(to.Member))
	case nodeclient.TimedOut:
		if why, said := errors.AsType[*nodeclient.HeldUpError](err); said {
			pr.trouble = why.Why
		}
		pr.timedOut = true
		return pr.failed(decide.TimedOut, now, p.heard(to.Member))
	default:
		return pr.failed(decide.Unknown, now, p.heard(to.Member))
	}
}

// impatient reports whether the member timed out last time and its status stream has been silent since. A member that talks
// but answers slowly gets the full time again: otherwise it would time out forever.
func (pr *probe) impatient(heard time.Time) bool { return pr.timedOut && !heard.After(pr.askedAt) }

// heard returns when a member's status stream last said something.
func (p *pass) heard(member string) time.Time {
	return p.watcher.Heard(client.ObjectKeyFromObject(p.store), member)
}

// failed returns the outcome of a question without an answer, asked at pr.askedAt or not at all. heard is when the member's
// stream last said something.
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
	out := decide.Probe{Reach: r, Trouble: pr.trouble, Status: pr.status, Age: now.Sub(pr.statusAt), For: now.Sub(pr.failing), Met: !pr.answered.IsZero()}
	if out.Silent = out.For; !last.IsZero() {
		out.Silent = max(out.For, now.Sub(last))
	}
	return out
}

// target returns the control port of a member whose pod has the address ip.
func (p *pass) target(member, ip string) nodeclient.Target {
	return nodeclient.Target{
		Address:  net.JoinHostPort(ip, strconv.Itoa(v1alpha1.PortControl)),
		StoreUID: string(p.store.UID), Member: member,
	}
}
