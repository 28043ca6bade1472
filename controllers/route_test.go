package controllers

import (
	"context"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
)

// applying is a cluster in which everything can be applied.
type applying struct {
	client.Client
	n int
}

func (c *applying) Apply(context.Context, runtime.ApplyConfiguration, ...client.ApplyOption) error {
	c.n++
	return nil
}

// TestClientsAreLedToWhereTheMemberAnswered: a node that restarts gives out its pods' addresses anew, and the cache may not know yet
// that what was the member's is another store's now.
func TestClientsAreLedToWhereTheMemberAnswered(t *testing.T) {
	c := &applying{}
	p := &pass{
		Reconciler: &Reconciler{Client: c}, memory: newMemory(),
		store: &v1alpha1.ReplicatedStore{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "orders"}},
	}
	lead := func(ip string, want int, what string) {
		t.Helper()
		p.seen.Members = map[string]decide.Member{"orders-1": {Name: "orders-1", Pod: &decide.Pod{UID: "u", IP: ip, Port: 7}}}
		if err := p.route(t.Context(), decide.RouteClients{Member: "orders-1"}); err != nil {
			t.Fatal(err)
		}
		if c.n != want {
			t.Fatalf("%s: led %d times, want %d", what, c.n, want)
		}
	}
	lead("10.0.0.1", 0, "it was never heard")
	p.probeOf("orders-1", &decide.Pod{UID: "u"}).at = p.target("orders-1", "10.0.0.1").Address
	lead("10.0.0.1", 1, "it has answered there")
	lead("10.0.0.2", 1, "it has answered elsewhere")
	p.probeOf("orders-1", &decide.Pod{UID: "v"})
	lead("10.0.0.1", 1, "another pod has answered there")
	if err := p.route(t.Context(), decide.RouteClients{}); err != nil || c.n != 2 {
		t.Fatalf("to nobody: %v, %d", err, c.n)
	}
}
