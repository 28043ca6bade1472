package controllers

import (
	"context"
	"slices"
	"sync"
	"syscall"
	"testing"

	"github.com/replicatedstore/replicatedstore/controllers/decide"
	"github.com/replicatedstore/replicatedstore/controllers/nodeclient"
	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// starting holds members of which orders-2 does not listen yet when it is first asked, but does a moment later.
type starting struct {
	members
	mu       *sync.Mutex
	asked    *int
	promoted *[]string
}

func (m starting) Status(ctx context.Context, to nodeclient.Target) (wire.Status, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if to.Member == "orders-2" {
		if *m.asked++; *m.asked == 1 {
			return wire.Status{}, syscall.ECONNREFUSED
		}
	}
	return m.members.Status(ctx, to)
}

// Fence stores with the promise whose order it was, as META does.
func (m starting) Fence(_ context.Context, to nodeclient.Target, r wire.FenceRequest) (wire.FenceReply, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.is[to.Member]
	s.Promised, s.Epoch, s.Role, s.DataUID = r.Epoch, 0, wire.RoleFenced, to.StoreUID
	m.is[to.Member] = s
	return wire.FenceReply{Member: to.Member, Incarnation: s.Incarnation, Promised: r.Epoch, Last: s.Durable}, nil
}

func (m starting) Promote(_ context.Context, to nodeclient.Target, _ wire.PromoteRequest) (wire.Status, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	*m.promoted = append(*m.promoted, to.Member)
	return m.is[to.Member], nil
}

func (m starting) Follow(_ context.Context, to nodeclient.Target, _ wire.FollowRequest) (wire.Status, error) {
	return m.is[to.Member], nil
}

// The volume of orders-2 belongs to another store, and its log is longer. It used to be fenced before it was asked which
// store it belongs to, and that made it part of this one.
func TestForeignVolumeOfAMemberThatStarts(t *testing.T) {
	s := newScene(t)
	c := s.whole()
	var promoted []string
	pc := &recording{cluster: c}
	s.Client, s.Reader, s.Reconciler.Nodes = pc, pc, starting{s.members, &sync.Mutex{}, new(int), &promoted}
	for n, st := range s.members.is {
		st.Role, st.Epoch, st.Leader, st.Writable, st.Promised, st.Rules, st.Followers = wire.RoleWaiting, 0, "", false, 1, nil, nil
		if st.DataUID = string(s.store.UID); n == "orders-2" {
			st.DataUID, st.Incarnation = "another", "another-data"
			st.Durable = replication.Mark{Epoch: 1, Position: 1_000_000}
			st.Last = st.Durable
		}
		s.members.is[n] = st
	}
	was := led(1, decide.PhaseStable, "orders-1")
	rec := decide.Record{Epoch: 2, Phase: decide.PhaseFencing, ConfigVersion: 1, Binding: was.Leaderships(), Stores: was.Stores, Change: was.Change}
	s.record(rec, s.cache, s.server)
	for range 3 {
		_, _ = s.pass(t)
	}
	if len(promoted) == 0 || slices.Contains(promoted, "orders-2") || s.members.is["orders-2"].DataUID != "another" {
		t.Fatalf("told to lead: %v; the volume is %s's now", promoted, s.members.is["orders-2"].DataUID)
	}
}
