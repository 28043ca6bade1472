package decide_test

import (
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
)

const noImage = "ImagePullBackOff: no such image"

// ailing keeps members whose pod is made from a given template from running, for a reason that Kubernetes reports.
func (w *world) ailing(hash string) func() {
	return func() {
		for name, p := range w.pods {
			switch {
			case p.SpecHash == hash:
				w.cluster.Vanish(name)
				p.Trouble, p.Ready = noImage, false
			case p.Trouble != "":
				p.Trouble = ""
			}
		}
	}
}

// badUpdate rolls out v2, which does not run, and then removes the leader's machine.
func badUpdate(t *testing.T) (*world, func()) {
	w := started(t, 3, 1)
	w.hash = "v2"
	bad := w.ailing("v2")
	w.run(20*time.Second, bad)
	lead := w.rec().Leader.Member
	each := func() {
		bad()
		w.cluster.Vanish(lead)
		if p := w.pods[lead]; p != nil {
			p.Deleting = true
		}
	}
	return w, each
}

// ill holds stores without a leader, because of a template that does not run and has been mended since: how each got there,
// and what keeps it so.
var ill = map[string]func(*testing.T) (w *world, each func()){
	"a new one": func(t *testing.T) (*world, func()) {
		w := newWorld(t, 3, 1)
		w.hash = "v2"
		return w, w.ailing("v2")
	},
	"every member ends as it starts": func(t *testing.T) (*world, func()) {
		w := started(t, 3, 1)
		w.hash = "v2"
		for _, p := range w.pods {
			p.SpecHash = "v2"
		}
		return w, w.ailing("v2")
	},
	"its leader is lost in an update": badUpdate,
	"it was woken": func(t *testing.T) (*world, func()) {
		w := started(t, 3, 1)
		w.store.Spec.Hibernated = true
		w.untilState(decide.Hibernated)
		w.store.Spec.Hibernated, w.hash = false, "v2"
		return w, w.ailing("v2")
	},
}

// TestAMendedTemplateReachesAStoreWithoutALeader checks that members that do not run because of their template are remade
// from the mended one although nobody leads, and that until the API server accepts such a pod they stay as they are and
// status says why.
func TestAMendedTemplateReachesAStoreWithoutALeader(t *testing.T) {
	for name, begin := range ill {
		t.Run(name, func(t *testing.T) {
			w, each := begin(t)
			w.run(150*time.Second, each)
			if c := w.condition(v1alpha1.ConditionAvailable); c.Status != "False" {
				t.Fatalf("Available is %s: %s", c.Status, c.Message)
			}
			before := w.uids()
			w.hash, w.trial = "v3", decide.Trial{Refused: noClass}
			w.run(time.Minute, each)
			if now := w.uids(); !maps.Equal(now, before) {
				t.Fatalf("pods %v, before %v\n%s", now, before, w.tail())
			}
			if c := w.condition(v1alpha1.ConditionDegraded); !strings.Contains(c.Message+w.ops[0].plan.Message, noImage+" (its pod has an outdated template, and the API server rejects a new one: "+noClass) {
				t.Errorf("Degraded is %s %s: %s", c.Status, c.Reason, c.Message)
			}
			w.trial = decide.Trial{}
			w.run(time.Minute, each)
			if c := w.condition(v1alpha1.ConditionAvailable); c.Status != "True" {
				t.Fatalf("Available is %s: %s\n%s", c.Status, c.Message, w.tail())
			}
		})
	}
}

// TestWhoIsMadeAnewWithoutALeader checks that of the members made from another template, only those that do not run are
// remade, and only while nobody waits for the next step.
func TestWhoIsMadeAnewWithoutALeader(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*world)
		cured  bool
	}{
		"they do not run":      {func(*world) {}, true},
		"silence alone":        {func(w *world) { w.eachPod(func(p *decide.Pod) { p.Trouble = "" }) }, false},
		"of the same template": {func(w *world) { w.hash = "v1" }, false},
		"on their way":         {func(w *world) { w.eachPod(func(p *decide.Pod) { p.Deleting = true }) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := started(t, 3, 1)
			bad := w.ailing("v1")
			w.untilState(decide.Blocked, bad)
			w.hash = "v2"
			tc.change(w)
			op := w.ops[0]
			op.observe()
			op.decide()
			tried := restarts(op)
			op.seen.Trial = decide.Trial{Asked: true, Member: "orders-1"}
			op.decide()
			deleted := restarts(op)
			if op.plan.State != decide.Blocked || (tried != nil) != tc.cured || (deleted != nil) != tc.cured {
				t.Errorf("%v: %v, then %v", op.plan.State, tried, deleted)
			}
		})
	}
}

func (w *world) eachPod(f func(*decide.Pod)) {
	for _, p := range w.pods {
		f(p)
	}
}
