package decide_test

import (
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
)

// A busy disk makes a follower fall behind for moments. That is nothing to tell anybody; a follower that stays behind is.
func TestAMomentsLagIsNotSaid(t *testing.T) {
	w := started(t, 3, 1)
	op := w.ops[0]
	look := func() decide.Plan {
		t.Helper()
		leader := w.cluster.Writable()
		op.pass = decide.Pass{}
		op.observe()
		f := op.seen.Members[leader].Probe.Status.Followers["orders-3"]
		f.CaughtUp = false
		op.seen.Members[leader].Probe.Status.Followers["orders-3"] = f
		op.decide()
		return op.plan
	}
	for range 4 {
		p := look()
		if c := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionReady); p.State != decide.Stable || c.Status != "True" || p.Status.Phase != v1alpha1.PhaseReady {
			t.Fatalf("%v (%s): %s; phase %s, Ready is %s: %s", p.State, p.Reason, p.Message, p.Status.Phase, c.Status, c.Message)
		}
		w.cluster.Advance(time.Second)
		w.cluster.Settle()
		w.renew()
	}
	for range 4 {
		w.cluster.Advance(time.Second)
		w.cluster.Settle()
		w.renew()
		look()
	}
	p := look()
	if c := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionReady); p.State != decide.Settling || p.Reason != v1alpha1.ReasonMemberLagging || c.Status != "False" {
		t.Fatalf("a follower stays behind: %v (%s): %s; Ready is %s", p.State, p.Reason, p.Message, c.Status)
	}
}
