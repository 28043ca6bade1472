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
		c := p.Contacts.Of(name, m.Pod)
		var to nodeclient.Target
		if m.Pod != nil && m.Pod.IP != "" {
			to = p.target(name, m.Pod.IP)
			targets[name] = to
		}
		if r, spared := c.Spare(p.began, p.Clock.Now(), p.heard(name)); spared {
			result(name, r) // locked: other members are already being asked
			continue
		}
		wg.Go(func() {
			result(name, p.askOne(ctx, to, c))
		})
	}
	p.watcher.Set(client.ObjectKeyFromObject(p.store), targets)
	wg.Wait()
	for name, m := range members {
		m.Probe = results[name]
		members[name] = m
	}
	p.Departed.Dismiss(members)
}

// askOne asks one member.
func (p *pass) askOne(ctx context.Context, to nodeclient.Target, c *decide.Contact) decide.Probe {
	if c.Ask(p.Clock.Now(), p.heard(to.Member)) {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, decide.ImpatientTimeout)
		defer cancel()
	}
	status, err := p.Nodes.Status(ctx, to)
	now, heard := p.Clock.Now(), p.heard(to.Member)
	if errors.Is(err, nodeclient.ErrNotAddressed) || err == nil && (!to.Is(status) || status.Store != p.store.Name) {
		return c.Misdirected(now, heard)
	}
	reach, trouble := decide.Unknown, ""
	switch nodeclient.Classify(err) {
	case nodeclient.NoFailure:
		if err == nil {
			return c.Answered(status, now)
		}
	case nodeclient.Refused:
		reach = decide.Refused
	case nodeclient.TimedOut:
		reach = decide.TimedOut
		if why, said := errors.AsType[*nodeclient.HeldUpError](err); said {
			trouble = why.Why
		}
	case nodeclient.Unclear:
	}
	return c.Failed(reach, trouble, now, heard)
}

// heard returns when a member's status stream last said something.
func (p *pass) heard(member string) time.Time {
	return p.watcher.Heard(client.ObjectKeyFromObject(p.store), member)
}

// target returns the control port of a member whose pod has the address ip.
func (p *pass) target(member, ip string) nodeclient.Target {
	return nodeclient.Target{
		Address:  net.JoinHostPort(ip, strconv.Itoa(v1alpha1.PortControl)),
		StoreUID: string(p.store.UID), Member: member,
	}
}
