package decide_test

import (
	"strings"
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
)

// TestPodsThatFailAtOnceAreMadeWithPauses: a kubelet that refuses a member's pod refuses each of its successors within
// milliseconds.
func TestPodsThatFailAtOnceAreMadeWithPauses(t *testing.T) {
	const why = "TopologyAffinityError: Resources cannot be allocated with Topology locality"
	w := started(t, 3, 1)
	made, last, rejects := 0, w.pods["orders-3"].UID, true
	reject := func() {
		if p := w.pods["orders-3"]; rejects && p != nil && !p.Failed {
			w.cluster.Crash("orders-3")
			p.Failed, p.Ready, p.IP, p.Trouble = true, false, "", why
		}
		if p := w.pods["orders-3"]; p != nil && p.UID != last {
			made, last = made+1, p.UID
		}
	}
	w.run(10*time.Second, reject)
	if made < 2 || made > 10 {
		t.Fatalf("%d pods were made in 10 s", made)
	}
	made = 0
	w.run(10*time.Minute, reject)
	if made < 9 || made > 16 {
		t.Fatalf("%d pods were made in 10 min", made)
	}
	if c := w.condition(v1alpha1.ConditionDegraded); c.Reason != v1alpha1.ReasonMemberMissing || !strings.Contains(c.Message, "orders-3 is not running: "+why) {
		t.Errorf("Degraded is %s: %s", c.Reason, c.Message)
	}
	w.hash, made = "v2", 0
	w.run(2*time.Second, reject)
	if made == 0 {
		t.Error("a new template waits for a pause of the old one")
	}
	rejects = false
	w.run(maxRest)
	w.untilState(decide.Stable)
	w.cluster.Crash("orders-3")
	w.pods["orders-3"].Failed, w.pods["orders-3"].Ready = true, false
	uid := w.pods["orders-3"].UID
	w.run(time.Second)
	if p := w.pods["orders-3"]; p == nil || p.UID == uid {
		t.Error("the first failure of a member that ran waits")
	}
}

// maxRest is longer than a failed pod is ever left alone.
const maxRest = 61 * time.Second
