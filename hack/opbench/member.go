package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/replicatedstore/replicatedstore/controllers/nodeclient"
	"github.com/replicatedstore/replicatedstore/controllers/nodeclient/fake"
	"github.com/replicatedstore/replicatedstore/node/lease"
	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/wire"
	"github.com/replicatedstore/replicatedstore/test/apiserver/kubelet"
)

// member is one member's process. It implements admin.Node, which the control port needs, over a member of a fake.Cluster.
type member struct {
	store  *store
	pod    kubelet.Pod
	client fake.Client
	to     nodeclient.Target
	ctx    context.Context // of the process
	stop   context.CancelFunc
	served chan struct{}
	holder *lease.Holder

	mu      sync.Mutex
	told    essence
	changed chan struct{} // closed at the next change
	thawed  chan struct{} // not closed while the process is frozen
	release context.CancelFunc
	lost    time.Time // when it was killed or frozen
}

// essence is the part of the status whose changes a node reports immediately.
type essence struct {
	role               wire.Role
	promised, epoch    replication.Epoch
	config             uint64
	leader             string
	writable, covered  bool
	connected, refused bool
	live, caughtUp     int
}

func essenceOf(s wire.Status) essence {
	e := essence{
		role: s.Role, promised: s.Promised, epoch: s.Epoch, config: s.ConfigVersion, leader: s.Leader, writable: s.Writable, covered: s.CommitCovered,
		connected: s.Contact != nil && s.Contact.Connected, refused: s.Contact != nil && s.Contact.Refused,
	}
	for _, f := range s.Followers {
		if f.Live {
			e.live++
		}
		if f.CaughtUp {
			e.caughtUp++
		}
	}
	return e
}

// tell wakes the status streams after a change.
func (m *member) tell() {
	s, err := m.client.Status(m.ctx, m.to)
	if err != nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := essenceOf(s); e != m.told {
		m.told = e
		close(m.changed)
		m.changed = make(chan struct{})
	}
}

// awake waits while the process is frozen.
func (m *member) awake(ctx context.Context) error {
	m.mu.Lock()
	thawed := m.thawed
	m.mu.Unlock()
	select {
	case <-thawed:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-m.ctx.Done():
		return context.Cause(m.ctx)
	}
}

// freeze stops the process where it is: connections stay open, but nobody answers.
func (m *member) freeze() {
	m.mu.Lock()
	m.thawed, m.lost = make(chan struct{}), time.Now()
	m.mu.Unlock()
	m.hold(0, 0)
	m.store.cluster.Vanish(m.pod.Member)
}

// Stop kills the process.
func (m *member) Stop() error {
	m.mu.Lock()
	m.lost = time.Now()
	m.mu.Unlock()
	m.store.mu.Lock()
	delete(m.store.members, m.pod.Member)
	m.store.mu.Unlock()
	m.store.cluster.Crash(m.pod.Member)
	m.stop()
	<-m.served
	return nil
}

// hold makes the member renew the Lease for an epoch until further notice; 0 ends that.
func (m *member) hold(epoch replication.Epoch, duration time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.release != nil {
		m.release()
		m.release = nil
	}
	if epoch == 0 {
		return
	}
	ctx, cancel := context.WithCancel(m.ctx)
	m.release = cancel
	go func() { _ = m.holder.Hold(ctx, epoch, duration, lease.Callbacks{}) }() // ends when deposed or told to
}

func (m *member) Status(ctx context.Context) (wire.Status, error) {
	if err := m.awake(ctx); err != nil {
		return wire.Status{}, err
	}
	s, err := m.client.Status(ctx, m.to)
	s.StoreUID, s.DataUID = m.pod.StoreUID, m.pod.StoreUID
	return s, err
}

func (m *member) Changed() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.changed
}

// ordered converts an order's outcome as a node does.
func ordered(err error) error {
	var refused *wire.Error
	if errors.As(err, &refused) {
		return &replication.Refusal{Reason: refused.Reason, Message: refused.Message}
	}
	return err
}

func (m *member) Fence(ctx context.Context, r wire.FenceRequest) (wire.FenceReply, error) {
	if err := m.awake(ctx); err != nil {
		return wire.FenceReply{}, err
	}
	reply, err := m.client.Fence(ctx, m.to, r)
	if err == nil {
		m.hold(0, 0)
	}
	return reply, ordered(err)
}

func (m *member) Promote(ctx context.Context, r wire.PromoteRequest) error {
	if err := m.awake(ctx); err != nil {
		return err
	}
	_, err := m.client.Promote(ctx, m.to, r)
	if err == nil {
		m.hold(r.Epoch, time.Duration(r.LeaseDurationMillis)*time.Millisecond)
	}
	return ordered(err)
}

func (m *member) Follow(ctx context.Context, r wire.FollowRequest) error {
	if err := m.awake(ctx); err != nil {
		return err
	}
	_, err := m.client.Follow(ctx, m.to, r)
	return ordered(err)
}

func (m *member) Configure(ctx context.Context, r wire.ConfigureRequest) error {
	if err := m.awake(ctx); err != nil {
		return err
	}
	_, err := m.client.Configure(ctx, m.to, r)
	return ordered(err)
}

func (m *member) Handover(ctx context.Context, r wire.HandoverRequest) (wire.HandoverReply, error) {
	if err := m.awake(ctx); err != nil {
		return wire.HandoverReply{}, err
	}
	reply, err := m.client.Handover(ctx, m.to, r)
	return reply, ordered(err)
}

func (m *member) HeldUp() error { return nil }

func (m *member) Live() error { return nil }

// Ready never reports a frozen process: kubelet takes longer to notice that than a failover takes.
func (m *member) Ready() error { return nil }
