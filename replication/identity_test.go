package replication_test

import (
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/replication"
)

// TestHelloOfAnotherStore: two stores of the same name in two namespaces may meet at an address that the other one had
// before.
func TestHelloOfAnotherStore(t *testing.T) {
	for name, tc := range map[string]struct {
		mine, theirs string
		refused      bool
	}{
		"the same store":                {"u-1", "u-1", false},
		"another one of the name":       {"u-1", "u-2", true},
		"a follower that was told none": {"u-1", "", false},
		"a leader that was told none":   {"", "u-2", false},
	} {
		t.Run(name, func(t *testing.T) {
			now := time.Unix(0, 0)
			r, err := replication.NewReplica(replication.ReplicaOptions{Store: "orders", StoreUID: tc.mine, Self: replication.Voter{Member: "orders-1", Incarnation: "a"}}, newLog(t), &memStable{}, replication.Promises{}, 0, now)
			if err != nil {
				t.Fatal(err)
			}
			f, err := r.Fence(1, now)
			if err != nil {
				t.Fatal(err)
			}
			if err := r.Promote(replication.Promotion{Epoch: 1, Version: 1, Rules: []replication.Rule{{K: 0}}, Start: f.Last}, 0, now); err != nil {
				t.Fatal(err)
			}
			reply := r.OnHello(replication.Hello{Store: "orders", StoreUID: tc.theirs, Member: "orders-2", Incarnation: "b", Epoch: 1}, now)
			if refused := reply.Verdict == replication.VerdictRefuse; refused != tc.refused {
				t.Fatalf("%+v", reply)
			}
		})
	}
}
