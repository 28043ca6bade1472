package main

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/nodeclient"
	"github.com/replicatedstore/replicatedstore/controllers/nodeclient/fake"
	"github.com/replicatedstore/replicatedstore/node/admin"
	"github.com/replicatedstore/replicatedstore/node/lease"
	"github.com/replicatedstore/replicatedstore/test/apiserver/kubelet"
)

// Periods of the simulated members.
const (
	heartbeat = 100 * time.Millisecond // as often as leaders send them
	hurry     = 10 * time.Millisecond  // in a store that fails over, records move on immediately
)

// fleet is the set of members of all stores.
type fleet struct {
	leases lease.Client
	cancel context.CancelFunc
	done   chan struct{}

	mu     sync.Mutex
	stores map[string]*store
}

// store is the set of members of one store.
type store struct {
	name    string
	cluster *fake.Cluster
	busy    atomic.Bool // moves on in a hurry

	mu      sync.Mutex
	at      time.Time          // the cluster's clock
	members map[string]*member // running members
}

func newFleet(leases lease.Client) *fleet {
	ctx, cancel := context.WithCancel(context.Background())
	f := &fleet{leases: leases, cancel: cancel, done: make(chan struct{}), stores: map[string]*store{}}
	go f.drive(ctx)
	return f
}

func (f *fleet) stop() {
	f.cancel()
	<-f.done
}

func (f *fleet) all() []*store {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Collect(maps.Values(f.stores))
}

func (f *fleet) store(name string) *store {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.stores[name]
	if s == nil {
		s = &store{name: name, cluster: fake.NewCluster(name), at: time.Now(), members: map[string]*member{}}
		f.stores[name] = s
	}
	return s
}

// drive advances all stores, each once per heartbeat.
func (f *fleet) drive(ctx context.Context) {
	defer close(f.done)
	tick := time.NewTicker(hurry)
	defer tick.Stop()
	for round := 0; ; round++ {
		for i, s := range f.inOrder() {
			if s.busy.Load() || (round+i)%int(heartbeat/hurry) == 0 {
				s.step(time.Now())
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// inOrder returns every store. The order stays the same as long as no store is added.
func (f *fleet) inOrder() []*store {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := make([]*store, 0, len(f.stores))
	for _, name := range slices.Sorted(maps.Keys(f.stores)) {
		out = append(out, f.stores[name])
	}
	return out
}

// step advances time, and every stream by one step.
func (s *store) step(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cluster.Advance(now.Sub(s.at))
	s.at = now
	for name := range s.members {
		s.cluster.Sync(name)
		s.cluster.Ship(name)
	}
	for _, m := range s.members {
		m.tell()
	}
}

// start runs the member of a pod, with the data of its earlier run if there was one.
func (f *fleet) start(p kubelet.Pod) (kubelet.Process, error) {
	l, err := net.Listen("tcp", net.JoinHostPort(p.IP, strconv.Itoa(v1alpha1.PortControl)))
	if err != nil {
		return nil, fmt.Errorf("open the control port of %s: %w", p.Member, err)
	}
	s := f.store(p.Store)
	s.cluster.Start(p.Member, p.IP)
	ctx, cancel := context.WithCancel(context.Background())
	m := &member{
		store: s, pod: p, client: fake.Client{Cluster: s.cluster, From: fake.Operator},
		to:   nodeclient.Target{Address: l.Addr().String(), StoreUID: p.StoreUID, Member: p.Member},
		stop: cancel, served: make(chan struct{}), changed: make(chan struct{}), thawed: make(chan struct{}), ctx: ctx,
		holder: lease.New(lease.Options{
			Client: f.leases, Name: p.Store, Self: p.Member, Probe: func(context.Context) error { return nil }, Log: logr.Discard(),
		}),
	}
	close(m.thawed)
	s.mu.Lock()
	s.members[p.Member] = m
	s.mu.Unlock()
	go func() {
		defer close(m.served)
		_ = admin.New(m, admin.Options{StoreUID: p.StoreUID, Member: p.Member, Log: logr.Discard()}).Serve(ctx, l) // ends with ctx
	}()
	return m, nil
}
