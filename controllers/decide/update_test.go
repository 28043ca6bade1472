package decide_test

import (
	"strings"
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
	"github.com/replicatedstore/replicatedstore/controllers/nodeclient/fake"
)

// TestOneMissedAnswerDoesNotRestartAMember: while a new template is rolled out, a running member misses one look. It is
// still restarted in its turn only, because it may be the voter that writes need now.
func TestOneMissedAnswerDoesNotRestartAMember(t *testing.T) {
	w := started(t, 3, 1)
	w.hash = "v2"
	w.cluster.Cut(fake.Operator+"a", "orders-2")
	op := w.ops[0]
	op.observe()
	op.decide()
	if a := restarts(op); a != nil {
		t.Fatalf("%v", a)
	}
}

// restarts returns the action with which op is about to restart a member; nil if there is none.
func restarts(op *operator) decide.Action {
	for _, a := range op.plan.Actions {
		switch a.(type) {
		case decide.TryPod, decide.DeletePod, decide.HandOver:
			return a
		}
	}
	return nil
}

// TestMembersThatTheLeaderHearsAreRestartedInTurn: for a long time only the operator has not reached the followers. They
// run, and must not all be restarted at once for that. A single unreached one is restarted, because its template may be the
// cause.
func TestMembersThatTheLeaderHearsAreRestartedInTurn(t *testing.T) {
	for name, tc := range map[string]struct {
		away            []string
		heard, replaced bool
	}{
		"both, heard by the leader": {[]string{"orders-2", "orders-3"}, true, false},
		"both, heard by nobody":     {[]string{"orders-2", "orders-3"}, false, true},
		"one, heard by the leader":  {[]string{"orders-3"}, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			w := started(t, 3, 1)
			for _, m := range tc.away {
				if w.cluster.Cut(fake.Operator+"a", m); !tc.heard {
					w.cluster.Cut("orders-1", m)
				}
			}
			w.run(20 * time.Second)
			before := w.pods["orders-3"].UID
			w.hash = "v2"
			w.run(time.Second)
			if replaced := w.pods["orders-3"].UID != before; replaced != tc.replaced {
				t.Fatalf("orders-3 is replaced: %t; %v: %s", replaced, w.ops[0].plan.State, w.ops[0].plan.Message)
			}
		})
	}
}

// TestOneAtATime checks that no member is restarted while a restarted one is away or on its way back.
func TestOneAtATime(t *testing.T) {
	for name, away := range map[string]func(*world){
		"its pod is terminating and follows still": func(w *world) { w.pods["orders-3"].Deleting = true },
		"it has no pod": func(w *world) {
			w.cluster.Vanish("orders-3")
			delete(w.pods, "orders-3")
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := started(t, 3, 1)
			w.hash = "v2"
			away(w)
			op := w.ops[0]
			op.observe()
			op.decide()
			if a := restarts(op); a != nil {
				t.Fatalf("%v, while orders-3 is away", a)
			}
			if op.plan.State != decide.Updating {
				t.Fatalf("%v: %s", op.plan.State, op.plan.Message)
			}
		})
	}
}

// TestRestart checks that an annotation restarts every member once, the leader last and after a handover, and that removing
// it restarts nobody.
func TestRestart(t *testing.T) {
	w := started(t, 3, 1)
	uids := map[string]bool{}
	for _, p := range w.pods {
		uids[string(p.UID)] = true
	}
	w.store.Annotations[v1alpha1.AnnotationRestart] = "monday"
	w.until("everybody is new", func() bool {
		for _, p := range w.pods {
			if uids[string(p.UID)] {
				return false
			}
		}
		return len(w.pods) == 3 && w.ops[0].plan.State == decide.Stable
	})
	if r := w.rec(); r.Epoch != 2 || r.Kind != v1alpha1.KindHandover || r.Reason != "Updating" {
		t.Fatalf("%+v", r)
	}
	delete(w.store.Annotations, v1alpha1.AnnotationRestart)
	w.run(5 * time.Second)
	if w.rec().Epoch != 2 || w.ops[0].plan.State != decide.Stable {
		t.Fatalf("%v: %s", w.ops[0].plan.State, w.ops[0].plan.Message)
	}
}

// TestAnUpdateWaitsForReadiness: a restarted follower serves nobody before its kubelet calls it ready, and until then no
// other member is taken away. Something that keeps the pod unready for long, such as a sidecar, holds up nothing.
func TestAnUpdateWaitsForReadiness(t *testing.T) {
	for name, tc := range map[string]struct {
		change   func(*decide.Pod)
		goesOn   bool
		eventual bool
	}{
		"it is ready":        {func(p *decide.Pod) { p.Ready = true }, true, true},
		"it becomes ready":   {func(*decide.Pod) {}, false, true},
		"it never does":      {func(*decide.Pod) {}, false, false},
		"it never was ready": {func(p *decide.Pod) { p.SpecHash = "v1" }, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := started(t, 3, 1)
			w.hash = "v2"
			p := w.pods["orders-3"]
			p.SpecHash, p.Ready = "v2", false
			tc.change(p)
			before := w.pods["orders-2"].UID
			w.run(10 * time.Second)
			if goesOn := w.pods["orders-2"].UID != before; goesOn != tc.goesOn {
				t.Fatalf("orders-2 is restarted: %t; %v: %s", goesOn, w.ops[0].plan.State, w.ops[0].plan.Message)
			}
			if c := w.condition(v1alpha1.ConditionProgressing); !tc.goesOn && !strings.Contains(c.Message, "orders-3 is not ready yet") {
				t.Errorf("Progressing %s: %s", c.Reason, c.Message)
			}
			w.pods["orders-3"].Ready = tc.eventual
			if w.run(time.Second); tc.eventual && w.pods["orders-2"].UID == before {
				t.Fatalf("orders-2 is not restarted; %v: %s", w.ops[0].plan.State, w.ops[0].plan.Message)
			}
			w.until("everybody is new", func() bool {
				for _, p := range w.pods {
					if p.SpecHash != "v2" {
						return false
					}
				}
				return w.ops[0].plan.State == decide.Stable
			})
		})
	}
}

// TestAHandoverGoesToWhoHasApplied: the new leader applies its log before it serves, so a member that has done so is
// preferred, even to one in a better zone. If nobody has, that makes no difference.
func TestAHandoverGoesToWhoHasApplied(t *testing.T) {
	for name, tc := range map[string]struct {
		behind []string
		want   string
	}{
		"nobody is behind": {nil, "orders-2"},
		"one is":           {[]string{"orders-2"}, "orders-3"},
		"both are":         {[]string{"orders-2", "orders-3"}, "orders-2"},
	} {
		t.Run(name, func(t *testing.T) {
			w := started(t, 3, 1, func(s *v1alpha1.ReplicatedStoreSpec) { s.Failover.PreferredZones = []string{"a"} })
			w.pods["orders-2"].Zone = "a"
			w.pods["orders-1"].Cordoned = true
			op := w.ops[0]
			op.observe()
			for _, m := range []string{"orders-1", "orders-2", "orders-3"} {
				s := op.seen.Members[m].Probe.Status
				s.Durable.Position += 1_000_000
				s.Last.Position, s.Applied = s.Durable.Position, s.Durable.Position
			}
			for _, m := range tc.behind {
				op.seen.Members[m].Probe.Status.Applied -= 500_000
			}
			op.decide()
			to := ""
			for _, a := range op.plan.Actions {
				if h, ok := a.(decide.HandOver); ok {
					to = h.Request.To
				}
			}
			if to != tc.want {
				t.Errorf("handed over to %q, want %q; %v: %s", to, tc.want, op.plan.State, op.plan.Message)
			}
		})
	}
}

// TestReadyMeansThatTheUpdateIsDone: whoever waits for Ready after a change of the spec waits for the last member, whatever
// else the store does meanwhile. A paused store is as ready as it was.
func TestReadyMeansThatTheUpdateIsDone(t *testing.T) {
	w := started(t, 3, 1)
	w.hash = "v2"
	told := map[v1alpha1.Phase]bool{}
	w.until("everybody has the new template", func() bool { return w.ops[0].plan.State == decide.Stable && w.pods["orders-1"].SpecHash == "v2" }, func() {
		old := 0
		for name := range w.pods {
			if m := w.ops[0].seen.Members[name]; m.Pod != nil && w.ops[0].seen.Outdated(m) {
				old++
			}
		}
		if c := w.condition(v1alpha1.ConditionReady); c.Status == "True" && old > 0 {
			t.Fatalf("Ready, and %d members are to be restarted: %s", old, c.Message)
		}
		if old > 0 {
			told[w.store.Status.Phase] = true
		}
	})
	if c := w.condition(v1alpha1.ConditionReady); c.Status != "True" || !told[v1alpha1.PhaseUpdating] || told[v1alpha1.PhaseDegraded] {
		t.Errorf("Ready is %s %s: %s; phases %v", c.Status, c.Reason, c.Message, told)
	}
	w.hash = "v3"
	w.store.Annotations[v1alpha1.AnnotationReconcile] = v1alpha1.ReconcileDisabled
	w.run(5 * time.Second)
	if c := w.condition(v1alpha1.ConditionReady); c.Status != "True" {
		t.Errorf("paused: Ready is %s %s: %s", c.Status, c.Reason, c.Message)
	}
}
