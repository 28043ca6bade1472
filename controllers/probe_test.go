package controllers

import (
	"context"
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
	"github.com/replicatedstore/replicatedstore/controllers/nodeclient"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// ready are nodes that answer at once.
type ready struct{ nodeclient.Client }

func (ready) Status(_ context.Context, to nodeclient.Target) (wire.Status, error) {
	return wire.Status{Store: "orders", StoreUID: to.StoreUID, Member: to.Member}, nil
}

// Some members answer while others turn out to have no address: a map that both wrote to crashed the operator. (Found by the
// API-server suite.)
func TestMembersAreAskedWhileOthersHaveNoAddress(t *testing.T) {
	nodes := ready{}
	p := &pass{
		Reconciler: &Reconciler{Nodes: nodes, Clock: clock.RealClock{}, watcher: nodeclient.NewWatcher(nodes, 0, func(types.NamespacedName) {})},
		memory:     newMemory(),
		store:      &v1alpha1.ReplicatedStore{ObjectMeta: metav1.ObjectMeta{Name: "orders", UID: "1"}},
	}
	for range 20 {
		members := map[string]decide.Member{}
		for n := range 40 {
			name := fmt.Sprintf("orders-%d", n+1)
			members[name] = decide.Member{Name: name, Pod: &decide.Pod{}}
			if n%2 == 0 {
				members[name].Pod.IP = "192.0.2.1"
			}
		}
		p.ask(t.Context(), members)
		for name, m := range members {
			if fresh := m.Probe.Reach == decide.Fresh; fresh != (m.Pod.IP != "") {
				t.Fatalf("%s with address %q: %v", name, m.Pod.IP, m.Probe.Reach)
			}
		}
	}
}

// moved are nodes at addresses that others had before.
type moved struct {
	nodeclient.Client
	at map[string]string // who answers, by address
}

func (n *moved) Status(_ context.Context, to nodeclient.Target) (wire.Status, error) {
	if n.at[to.Address] != to.Member {
		return wire.Status{}, nodeclient.ErrNotAddressed
	}
	return wire.Status{Store: "orders", StoreUID: to.StoreUID, Member: to.Member}, nil
}

// Whether a member has answered is remembered for one address of one pod, until another member answers at this address.
func TestWhereAMemberHasAnswered(t *testing.T) {
	nodes := &moved{at: map[string]string{"192.0.2.1:6381": "orders-1"}}
	p := &pass{
		Reconciler: &Reconciler{Nodes: nodes, Clock: clock.RealClock{}, watcher: nodeclient.NewWatcher(nodes, 0, func(types.NamespacedName) {})},
		memory:     newMemory(),
		store:      &v1alpha1.ReplicatedStore{ObjectMeta: metav1.ObjectMeta{Name: "orders", UID: "1"}},
	}
	ask := func(what string, pod decide.Pod, unmet, foreign bool) {
		t.Helper()
		members := map[string]decide.Member{"orders-1": {Name: "orders-1", Pod: &pod}}
		p.ask(t.Context(), members)
		if got := members["orders-1"].Probe; got.Unmet != unmet || got.Foreign != foreign {
			t.Errorf("%s: unmet %v, foreign %v", what, got.Unmet, got.Foreign)
		}
	}
	ask("it answers", decide.Pod{UID: "u", IP: "192.0.2.1"}, false, false)
	ask("it has moved, as the cache knows", decide.Pod{UID: "u", IP: "192.0.2.2"}, true, true)
	nodes.at["192.0.2.2:6381"] = "orders-1"
	ask("it answers there", decide.Pod{UID: "u", IP: "192.0.2.2"}, false, false)
	nodes.at["192.0.2.2:6381"] = "others-1"
	ask("it has moved, and the cache is late", decide.Pod{UID: "u", IP: "192.0.2.2"}, false, true)
	nodes.at["192.0.2.2:6381"] = "orders-1"
	ask("it is back", decide.Pod{UID: "u", IP: "192.0.2.2"}, false, false)
}

// late are nodes that do not answer, except with the reason if there is one.
type late struct {
	nodeclient.Client
	why string
}

func (n *late) Status(context.Context, nodeclient.Target) (wire.Status, error) {
	if n.why != "" {
		return wire.Status{}, fmt.Errorf("call: %w", &nodeclient.HeldUpError{Why: n.why})
	}
	return wire.Status{}, context.DeadlineExceeded
}

// A member that says why it does not answer counts as one that does not answer, and its reason is reported for as long as it
// gives it.
func TestWhyAMemberDoesNotAnswer(t *testing.T) {
	nodes := &late{why: "the disk hangs"}
	now := clocktesting.NewFakePassiveClock(time.Unix(1000, 0))
	p := &pass{
		Reconciler: &Reconciler{Nodes: nodes, Clock: now, watcher: nodeclient.NewWatcher(nodes, 0, func(types.NamespacedName) {})},
		memory:     newMemory(),
		store:      &v1alpha1.ReplicatedStore{ObjectMeta: metav1.ObjectMeta{Name: "orders", UID: "1"}},
	}
	ask := func(when string, pod types.UID, want string) {
		t.Helper()
		p.began = now.Now()
		members := map[string]decide.Member{"orders-1": {Name: "orders-1", Pod: &decide.Pod{UID: pod, IP: "192.0.2.1"}}}
		for _, again := range []string{"", ", and again in the same pass"} {
			p.ask(t.Context(), members)
			if got := members["orders-1"].Probe; got.Trouble != want || got.Reach != decide.TimedOut {
				t.Errorf("%s%s: %v, %q", when, again, got.Reach, got.Trouble)
			}
		}
		now.SetTime(now.Now().Add(time.Minute))
	}
	ask("it says why", "u", "the disk hangs")
	nodes.why = ""
	ask("it does not any more", "u", "")
	nodes.why = "the disk hangs"
	ask("it says why anew", "u", "the disk hangs")
	nodes.why = ""
	ask("it is another one", "v", "")
}
