package fake

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/replicatedstore/replicatedstore/controllers/nodeclient"
	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// Client is the operator's view of the members, without HTTP. From names the operator's host, for Cut.
type Client struct {
	*Cluster
	From string
}

// reach finds the member at addr. c.mu is held.
func (c Client) reach(addr string) (*member, error) {
	m := c.members[hostOf(addr)]
	switch {
	case m == nil || m.gone || !c.connected(c.From, m.host):
		return nil, fmt.Errorf("dial %s: %w", addr, context.DeadlineExceeded)
	case m.rep == nil:
		return nil, fmt.Errorf("dial %s: %w", addr, syscall.ECONNREFUSED)
	default:
		return m, nil
	}
}

// answer converts what the Replica returned into what the control port answers.
func (c Client) answer(m *member, err error) error {
	var r *replication.Refusal
	switch {
	case errors.As(err, &r):
		s := c.status(m)
		return &wire.Error{Reason: r.Reason, Message: r.Message, Status: &s}
	case err != nil:
		panic(fmt.Sprintf("fake: %s: %v", m.name, err))
	default:
		return nil
	}
}

// Status answers as the control port does.
func (c Client) Status(_ context.Context, to nodeclient.Target) (wire.Status, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m, err := c.reach(to.Address)
	if err != nil {
		return wire.Status{}, err
	}
	return c.status(m), nil
}

// Fence answers as the control port does.
func (c Client) Fence(_ context.Context, to nodeclient.Target, r wire.FenceRequest) (wire.FenceReply, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m, err := c.reach(to.Address)
	if err != nil {
		return wire.FenceReply{}, err
	}
	if c.hung(m) {
		return wire.FenceReply{}, fmt.Errorf("fence %s: %w", m.name, context.DeadlineExceeded)
	}
	a, err := m.rep.Fence(r.Epoch, c.now)
	if err != nil {
		return wire.FenceReply{}, c.answer(m, err)
	}
	c.unlink(m)
	return wire.FenceReply{
		Member: m.name, Incarnation: m.self.Incarnation, Promised: a.Promised, Last: a.Last, Commit: a.Commit,
		Told: m.rep.Told(), ToldMillis: m.rep.ToldMillis(c.now), Empty: m.rep.Empty(), Seeding: m.rep.Promises().NeedSeed, GrantMillis: a.GrantLeft.Milliseconds(),
	}, nil
}

// Promote answers as the control port does.
func (c Client) Promote(_ context.Context, to nodeclient.Target, r wire.PromoteRequest) (wire.Status, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m, err := c.reach(to.Address)
	if err != nil {
		return wire.Status{}, err
	}
	err = m.rep.Promote(replication.Promotion{
		Epoch: r.Epoch, Version: r.ConfigVersion, Rules: r.Rules, Start: r.Start,
		GrantWait: time.Duration(r.GrantWaitMillis) * time.Millisecond,
	}, c.now.UnixMilli(), c.now)
	if err := c.answer(m, err); err != nil {
		return wire.Status{}, err
	}
	m.config, m.heldUntil = r, time.Time{}
	m.leaseFor = time.Duration(r.LeaseDurationMillis) * time.Millisecond * 2 / 3
	m.leaseUntil, m.open = time.Time{}, false
	c.note(m)
	return c.status(m), nil
}

// Follow answers as the control port does.
func (c Client) Follow(_ context.Context, to nodeclient.Target, r wire.FollowRequest) (wire.Status, error) {
	return c.order(to, func(m *member) error { return m.rep.Follow(r.Epoch, r.Leader, r.Address) })
}

// Configure answers as the control port does.
func (c Client) Configure(_ context.Context, to nodeclient.Target, r wire.ConfigureRequest) (wire.Status, error) {
	return c.order(to, func(m *member) error { return m.rep.Configure(r.Epoch, r.Version, r.Rules, c.now) })
}

func (c Client) order(to nodeclient.Target, do func(*member) error) (wire.Status, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m, err := c.reach(to.Address)
	if err != nil {
		return wire.Status{}, err
	}
	if err := c.answer(m, do(m)); err != nil {
		return wire.Status{}, err
	}
	c.note(m)
	return c.status(m), nil
}

// Handover answers as the control port does. The target catches up within the call, or the handover is refused.
func (c Client) Handover(_ context.Context, to nodeclient.Target, r wire.HandoverRequest) (wire.HandoverReply, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m, err := c.reach(to.Address)
	if err != nil {
		return wire.HandoverReply{}, err
	}
	if m.rep.Role() != wire.RoleLeader || m.rep.Promises().Epoch != r.Epoch || !m.rep.Writable() {
		return wire.HandoverReply{}, c.answer(m, &replication.Refusal{Reason: "NotLeader", Message: "not the writable leader of the epoch"})
	}
	c.sync(m)
	for _, name := range append([]string{r.To}, r.Also...) {
		heir := c.find(name)
		for range 16 {
			if heir != nil && heir.rep != nil {
				c.ship(heir)
			}
		}
		if heir == nil || heir.rep == nil || heir.link != m || heir.log.Durable() != m.log.Durable() {
			return wire.HandoverReply{}, c.answer(m, &replication.Refusal{Reason: "NotCaughtUp", Message: name + " did not reach the end in time"})
		}
	}
	m.heldUntil = c.now.Add(time.Duration(r.HoldMillis) * time.Millisecond)
	return wire.HandoverReply{End: m.log.Durable()}, nil
}

// Watch polls, about as often as the control port would send.
func (c Client) Watch(ctx context.Context, to nodeclient.Target, each func(*wire.Status)) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		s, err := c.Status(ctx, to)
		if err != nil {
			return err
		}
		each(&s)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// status returns a snapshot of the member's status. c.mu is held.
func (c *Cluster) status(m *member) wire.Status {
	p := m.rep.Promises()
	s := wire.Status{
		Store: c.store, Member: m.name, Incarnation: m.self.Incarnation, Version: "fake", Role: m.rep.Role(), Promised: p.Promised,
		Writable: m.rep.Writable() && m.mayAcknowledge(c.now), CommitCovered: m.rep.CommitCovered(), Last: m.log.Last(), Durable: m.log.Durable(),
		Commit: m.rep.Commit(), Applied: m.applied, Told: m.rep.Told(), ToldMillis: m.rep.ToldMillis(c.now), Empty: m.rep.Empty(), Quarantined: m.quarantine,
	}
	s.Rules, s.ConfigVersion = m.rep.Rules()
	if c.Hung[m.name] != "" {
		s.Problem, s.ProblemReason = "an fsync does not return", c.Hung[m.name]
	}
	if p.NeedSeed {
		s.NeedSeed, s.Seeding = true, &wire.Seeding{From: p.Leader}
	}
	switch m.rep.Role() {
	case wire.RoleLeader:
		s.Epoch, s.Leader = p.Epoch, m.name
		s.Followers = map[string]wire.FollowerView{}
		for name, f := range m.rep.Followers(c.now) {
			s.Followers[name] = wire.FollowerView{
				Incarnation: f.Voter.Incarnation, Durable: f.Durable, Applied: f.Applied, CaughtUp: f.CaughtUp,
				SilentMillis: f.Silent.Milliseconds(), Live: f.Live, Seeding: f.Seeding,
			}
		}
	case wire.RoleFollower:
		s.Epoch, s.Leader = p.Epoch, p.Leader
		silent := c.now.Sub(m.heard)
		s.Contact = &wire.Contact{Connected: m.link != nil && silent < silence, SilentMillis: silent.Milliseconds(), Refused: m.refused}
		if m.heard.IsZero() {
			s.Contact.SilentMillis = -1
		}
	case wire.RoleWaiting, wire.RoleFenced:
	}
	return s
}
