package decide_test

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
)

// What the loss of one machine can cost is reported before it is lost.
func TestMembersOnOneMachineAreTold(t *testing.T) {
	for name, tc := range map[string]struct {
		k     int32
		nodes string // of the members, in order; "-": unknown
		says  string // "": nothing is wrong
	}{
		"all apart":                {1, "a b c", ""},
		"not scheduled yet":        {1, "a - -", ""},
		"two together":             {1, "a b a", "orders-1, orders-3 are on node a: if that machine were lost with its disks, acknowledged writes could be lost, because each is on only 2 members."},
		"two pairs":                {1, "b a b a", "orders-2, orders-4 are on node a; orders-1, orders-3 are on node b:"},
		"all together":             {1, "a a a", "orders-1, orders-2, orders-3 are on node a:"},
		"two of three, k = 2":      {2, "a a b", ""},
		"all together, k = 2":      {2, "a a a", "because each is on only 3 members"},
		"asynchronous":             {0, "a a b", ""},
		"asynchronous, together":   {0, "a a a", "all data would be lost."},
		"asynchronous, two":        {0, "a b", ""},
		"asynchronous, two on one": {0, "a a", "all data would be lost."},
		"one member":               {0, "a", ""},
	} {
		t.Run(name, func(t *testing.T) {
			nodes := strings.Fields(tc.nodes)
			w := started(t, len(nodes), tc.k)
			op := w.ops[0]
			op.observe()
			for i, node := range nodes {
				op.seen.Members[v1alpha1.MemberName("orders", i+1)].Pod.Node = strings.Trim(node, "-")
			}
			op.decide()
			c := meta.FindStatusCondition(op.plan.Status.Conditions, v1alpha1.ConditionSpread)
			if apart := c.Status == "True"; apart != (tc.says == "") || !strings.Contains(c.Message, tc.says) || apart != (c.Reason == v1alpha1.ReasonMembersApart) {
				t.Errorf("%s, %s: %s", c.Status, c.Reason, c.Message)
			}
		})
	}
}
