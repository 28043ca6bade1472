package decide_test

import (
	"testing"

	"github.com/replicatedstore/replicatedstore/controllers/decide"
	"github.com/replicatedstore/replicatedstore/controllers/nodeclient/fake"
)

// TestOneMissedAnswerDoesNotRestartAMember: while a new template is rolled out, a running member misses one look. It is
// still restarted in its turn, for it may be the voter that writes need now.
func TestOneMissedAnswerDoesNotRestartAMember(t *testing.T) {
	w := started(t, 3, 1)
	w.hash = "v2"
	w.cluster.Cut(fake.Operator+"a", "orders-2")
	op := w.ops[0]
	op.observe()
	op.decide()
	for _, a := range op.plan.Actions {
		if d, ok := a.(decide.DeletePod); ok {
			t.Fatalf("%v", d)
		}
	}
}
