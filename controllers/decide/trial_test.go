package decide_test

import (
	"maps"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
)

func (w *world) uids() map[string]types.UID {
	out := map[string]types.UID{}
	for name, p := range w.pods {
		out[name] = p.UID
	}
	return out
}

const noClass = `pods "orders-3" is forbidden: no PriorityClass with name nowhere was found`

// TestNobodyIsRestartedForATemplateThatIsRefused: members keep their pods, and the leader its leadership, while the API
// server accepts no pod of the new template or cannot say whether it does. Status says why, and the update goes on once a
// pod is accepted.
func TestNobodyIsRestartedForATemplateThatIsRefused(t *testing.T) {
	template := func(w *world) { w.hash = "v2" }
	for name, tc := range map[string]struct {
		replicas int
		change   func(*world)
		trial    decide.Trial
		says     string
		tries    int // at most, within a minute and a half
	}{
		"refused":             {3, template, decide.Trial{Refused: noClass}, "3 members are to be restarted, but the API server rejects the new pods: " + noClass + ". No member is restarted.", 3},
		"refused, one member": {1, template, decide.Trial{Refused: noClass}, "1 member is to be restarted, but the API server rejects the new pods: " + noClass, 3},
		"a restart":           {3, func(w *world) { w.store.Annotations[v1alpha1.AnnotationRestart] = "monday" }, decide.Trial{Refused: noClass}, "rejects the new pods: " + noClass, 3},
		"the leader alone is left": {3, func(w *world) {
			w.hash = "v2"
			w.pods["orders-2"].SpecHash, w.pods["orders-3"].SpecHash = "v2", "v2"
		}, decide.Trial{Refused: noClass}, "1 member is to be restarted, but the API server rejects", 3},
		"a member that does not run": {3, func(w *world) {
			w.hash = "v2"
			w.cluster.Vanish("orders-3")
			w.pods["orders-3"].Trouble = "ImagePullBackOff: no such image"
		}, decide.Trial{Refused: noClass}, "but the API server rejects the new pods: " + noClass, 3},
		"unclear": {3, template, decide.Trial{Refused: "failed calling webhook", Unclear: true},
			"3 members are to be restarted, but the API server cannot say whether it accepts the new pods: failed calling webhook. No member is restarted until it can.", 18},
	} {
		t.Run(name, func(t *testing.T) {
			w := started(t, tc.replicas, int32(min(1, tc.replicas-1)))
			tc.change(w)
			w.trial = tc.trial
			before, op := w.uids(), w.ops[0]
			w.run(89 * time.Second)
			if now := w.uids(); !maps.Equal(now, before) || w.rec().Epoch != 1 {
				t.Fatalf("pods %v, before %v; epoch %d\n%s", now, before, w.rec().Epoch, w.tail())
			}
			if op.tries == 0 || op.tries > tc.tries {
				t.Errorf("the API server was asked %d times", op.tries)
			}
			if c := w.condition(v1alpha1.ConditionProgressing); c.Status != "True" || c.Reason != v1alpha1.ReasonApplyFailed || !strings.Contains(c.Message, tc.says) {
				t.Errorf("Progressing is %s %s: %s", c.Status, c.Reason, c.Message)
			}
			if c := w.condition(v1alpha1.ConditionReady); c.Status != "False" || c.Reason != v1alpha1.ReasonApplyFailed || !strings.Contains(c.Message, tc.says) {
				t.Errorf("Ready is %s %s: %s", c.Status, c.Reason, c.Message)
			}
			if op.plan.State != decide.Updating || op.plan.RequeueAfter > 30*time.Second {
				t.Errorf("%v, again after %v", op.plan.State, op.plan.RequeueAfter)
			}
			w.trial = decide.Trial{}
			w.until("everybody is restarted", func() bool {
				for _, p := range w.pods {
					if p.SpecHash != w.hash || p.Restarted != w.store.Annotations[v1alpha1.AnnotationRestart] {
						return false
					}
				}
				return len(w.pods) == tc.replicas && op.plan.State == decide.Stable
			})
		})
	}
}

// TestATemplateThatWasMendedIsTriedAtOnce: the answer to another template does not count.
func TestATemplateThatWasMendedIsTriedAtOnce(t *testing.T) {
	w := started(t, 3, 1)
	w.hash, w.trial = "v2", decide.Trial{Refused: noClass}
	w.run(2 * time.Second)
	before := w.uids()
	w.hash, w.trial = "v3", decide.Trial{}
	w.run(time.Second)
	if now := w.uids(); maps.Equal(now, before) {
		t.Fatalf("%v: %s", w.ops[0].plan.State, w.ops[0].plan.Message)
	}
}

// TestWhatTheAPIServerSaidHoldsForAWhile checks what happens to the first member to be restarted, depending on what is
// known.
func TestWhatTheAPIServerSaidHoldsForAWhile(t *testing.T) {
	for name, tc := range map[string]struct {
		trial decide.Trial
		does  string
		again time.Duration // 0: not asked about
	}{
		"nothing is known": {decide.Trial{}, "dry-run a new pod for orders-3", 0},
		"taken":            {decide.Trial{Asked: true, Member: "orders-3"}, "delete pod orders-3: its template changed", 0},
		"taken, another's": {decide.Trial{Asked: true, Member: "orders-2"}, "dry-run a new pod for orders-3", 0},
		"taken still":      {decide.Trial{Asked: true, Member: "orders-3", Ago: 29 * time.Second}, "delete pod orders-3: its template changed", 0},
		"taken long ago":   {decide.Trial{Asked: true, Member: "orders-3", Ago: 30 * time.Second}, "dry-run a new pod for orders-3", 0},
		"refused":          {decide.Trial{Asked: true, Refused: "no", Ago: 10 * time.Second}, "", 20 * time.Second},
		"refused long ago": {decide.Trial{Asked: true, Refused: "no", Ago: time.Minute}, "dry-run a new pod for orders-3", 0},
		"unclear":          {decide.Trial{Asked: true, Refused: "no", Unclear: true, Ago: time.Second}, "", 4 * time.Second},
		"unclear before":   {decide.Trial{Asked: true, Refused: "no", Unclear: true, Ago: 5 * time.Second}, "dry-run a new pod for orders-3", 0},
	} {
		t.Run(name, func(t *testing.T) {
			w := started(t, 3, 1)
			w.hash = "v2"
			op := w.ops[0]
			op.observe()
			op.seen.Trial = tc.trial
			op.decide()
			does := ""
			if a := restarts(op); a != nil {
				does = a.String()
			}
			if does != tc.does || tc.again > 0 && op.plan.RequeueAfter > tc.again {
				t.Errorf("%q, again after %v", does, op.plan.RequeueAfter)
			}
		})
	}
}

// TestAHandoverThatHoldsIsNotKeptWaiting: while the leader holds its writes for the next leader, the API server is not asked
// again.
func TestAHandoverThatHoldsIsNotKeptWaiting(t *testing.T) {
	w := started(t, 3, 1)
	w.hash = "v2"
	w.pods["orders-2"].SpecHash, w.pods["orders-3"].SpecHash = "v2", "v2"
	op := w.ops[0]
	op.observe()
	op.seen.Trial = decide.Trial{Asked: true, Ago: time.Hour}
	op.seen.Pass.Handover = &decide.HandoverHeld{Epoch: 1, To: "orders-2"}
	op.decide()
	if a := op.plan.Actions[0]; !strings.HasPrefix(a.String(), "write record Fencing") {
		t.Fatalf("%v", a)
	}
}
