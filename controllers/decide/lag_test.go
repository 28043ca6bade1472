package decide_test

import (
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
	"github.com/replicatedstore/replicatedstore/controllers/nodeclient/fake"
)

// A busy disk makes a follower fall behind for moments, which is not worth reporting; a follower that stays behind is.
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

// TestAMissedLookIsNotSaid: a follower that the leader hears, but that does not answer the operator for a moment, is not
// reported, and what it reported about itself stays. A follower that stays away, or that nobody hears, is reported.
func TestAMissedLookIsNotSaid(t *testing.T) {
	for name, tc := range map[string]struct {
		replicas int
		problem  string // as it reported in the previous look
		heard    bool
		away     time.Duration
		degraded string // the reason; "" for none
	}{
		"heard by the leader":             {3, "", true, 0, ""},
		"the only follower":               {2, "", true, 0, ""},
		"it has a problem":                {3, "something is wrong", true, 0, v1alpha1.ReasonMemberProblem},
		"heard by nobody":                 {3, "", false, 3 * time.Second, v1alpha1.ReasonMemberMissing},
		"heard by the leader, for longer": {3, "", true, 3 * time.Second, v1alpha1.ReasonMemberMissing},
	} {
		t.Run(name, func(t *testing.T) {
			w := started(t, tc.replicas, 1)
			w.ops[0].seen.Members["orders-2"].Probe.Status.Problem = tc.problem
			before := w.condition(v1alpha1.ConditionReady).Status
			if w.cluster.Cut(fake.Operator+"a", "orders-2"); !tc.heard {
				w.cluster.Cut("orders-1", "orders-2")
			}
			w.ops[0].reconcile()
			w.run(tc.away)
			if tc.away > 0 {
				before = "False"
			}
			ready, degraded := w.condition(v1alpha1.ConditionReady), w.condition(v1alpha1.ConditionDegraded)
			if ready.Status != before || (degraded.Status == "True") != (tc.degraded != "") || tc.degraded != "" && degraded.Reason != tc.degraded {
				t.Errorf("Ready is %s %s, before %s; Degraded is %s %s: %s", ready.Status, ready.Reason, before, degraded.Status, degraded.Reason, degraded.Message)
			}
			if p := w.ops[0].plan; (p.Reason == v1alpha1.ReasonMemberMissing) != (tc.away > 0) {
				t.Errorf("%v %s: %s", p.State, p.Reason, p.Message)
			}
		})
	}
}
