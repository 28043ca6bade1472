package decide_test

import (
	"strings"
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
	"github.com/replicatedstore/replicatedstore/controllers/nodeclient/fake"
)

func TestHandover(t *testing.T) {
	for name, tc := range map[string]struct {
		target string
		fault  func(*world)
		result v1alpha1.FailoverResult
		leader string
	}{
		"to a member":         {"orders-3", func(*world) {}, v1alpha1.ResultSucceeded, "orders-3"},
		"to any":              {"any", func(*world) {}, v1alpha1.ResultSucceeded, "orders-2"},
		"to the leader":       {"orders-1", func(*world) {}, v1alpha1.ResultSucceeded, "orders-1"},
		"to nobody":           {"orders-7", func(*world) {}, v1alpha1.ResultRefused, "orders-1"},
		"to one that is down": {"orders-2", func(w *world) { w.cluster.Crash("orders-2") }, v1alpha1.ResultRefused, "orders-1"},
		"to a fenced pod":     {"orders-2", func(w *world) { w.pods["orders-2"].Fenced = true }, v1alpha1.ResultRefused, "orders-1"},
		"to any but a fenced pod": {"any", func(w *world) { w.pods["orders-2"].Fenced = true },
			v1alpha1.ResultSucceeded, "orders-3"},
	} {
		t.Run(name, func(t *testing.T) {
			w := started(t, 3, 1)
			tc.fault(w)
			w.store.Annotations[v1alpha1.AnnotationFailover] = tc.target
			w.until("an answer", func() bool { return w.store.Status.FailoverRequest != nil })
			o := w.store.Status.FailoverRequest
			if o.Result != tc.result || o.Target != tc.target || o.Message == "" {
				t.Fatalf("%+v", o)
			}
			w.run(time.Second)
			r := w.rec()
			if r.Leader.Member != tc.leader || w.store.Annotations[v1alpha1.AnnotationFailover] != "" {
				t.Fatalf("record %+v, annotations %v", r, w.store.Annotations)
			}
			if r.Epoch > 1 && (r.Kind != v1alpha1.KindHandover || r.WritesLost != v1alpha1.LostNone) {
				t.Fatalf("record %+v", r)
			}
		})
	}
}

// TestEvacuation checks that a leader whose pod is being deleted, or that must not lead, hands over without being asked.
func TestEvacuation(t *testing.T) {
	for name, mark := range map[string]func(*decide.Pod){
		"its pod is being deleted": func(p *decide.Pod) { p.Deleting = true },
		"its pod is fenced":        func(p *decide.Pod) { p.Fenced = true },
	} {
		t.Run(name, func(t *testing.T) {
			w := started(t, 3, 1)
			mark(w.pods["orders-1"])
			w.until("another leader", func() bool { return w.rec().Leader.Member == "orders-2" && w.rec().Phase == decide.PhaseStable })
			if w.rec().Kind != v1alpha1.KindHandover {
				t.Fatalf("%+v", w.rec())
			}
		})
	}
}

// TestVoters checks who leaves the voters and who joins them, and what happens to k.
func TestVoters(t *testing.T) {
	t.Run("a member gone for long leaves, so that the next failure can be survived", func(t *testing.T) {
		w := started(t, 3, 1)
		w.cluster.Vanish("orders-3")
		w.run(5 * time.Second)
		if n := len(w.rec().Rules[0].Voters); n != 2 {
			t.Fatalf("it left after 5 s: %d voters", n)
		}
		w.until("one voter", func() bool { return len(w.rec().Rules) == 1 && len(w.rec().Rules[0].Voters) == 1 })
		w.cluster.Vanish("orders-1")
		w.until("orders-2 leads", func() bool { return w.rec().Leader.Member == "orders-2" })
	})
	t.Run("never below what keeps k possible", func(t *testing.T) {
		w := started(t, 3, 2)
		w.cluster.Vanish("orders-3")
		w.run(40 * time.Second)
		if r := w.rec().Rules[0]; len(r.Voters) != 2 || r.K != 2 {
			t.Fatalf("%+v", r)
		}
		if got := w.condition(v1alpha1.ConditionAvailable); got.Reason != v1alpha1.ReasonVotersMissing {
			t.Fatalf("%+v", got)
		}
	})
	t.Run("another disk is another voter", func(t *testing.T) {
		w := started(t, 2, 1)
		w.cluster.Crash("orders-2")
		w.cluster.Wipe("orders-2")
		w.kubelet()
		w.until("the new incarnation votes alone", func() bool {
			r := w.rec()
			return len(r.Rules) == 1 && len(r.Rules[0].Voters) == 1 && r.Rules[0].Voters[0].Incarnation == "orders-2-data-2"
		})
		w.write()
	})
	t.Run("Preferred lowers k by the record first, and raises it again", func(t *testing.T) {
		w := started(t, 3, 2, preferred)
		w.cluster.Vanish("orders-3")
		w.until("k is lowered", func() bool { return w.rec().Rules[0].K == 1 && len(w.rec().Rules) == 1 })
		if got := w.condition(v1alpha1.ConditionDegraded); got.Reason != v1alpha1.ReasonDurabilityLowered {
			t.Fatalf("%+v", got)
		}
		w.write()
		w.cluster.Start("orders-3", "orders-3")
		w.until("k is raised", func() bool { r := w.rec().Rules; return len(r) == 1 && r[0].K == 2 && len(r[0].Voters) == 2 })
	})
	t.Run("k is raised when as many voters are live", func(t *testing.T) {
		w := started(t, 2, 1)
		w.store.Spec.Replicas, w.store.Spec.Replication.Synchronous.Number = new(int32(3)), new(int32(2))
		w.until("both", func() bool { r := w.rec().Rules; return len(r) == 1 && r[0].K == 2 && len(r[0].Voters) == 2 })
		w.write()
	})
}

func TestScale(t *testing.T) {
	t.Run("down spares the leader, and keeps the claim", func(t *testing.T) {
		w := started(t, 3, 1)
		w.store.Annotations[v1alpha1.AnnotationFailover] = "orders-3"
		w.until("orders-3 leads", func() bool { return w.rec().Leader.Member == "orders-3" && w.rec().Phase == decide.PhaseStable })
		w.store.Spec.Replicas = new(int32(2))
		w.until("two pods", func() bool { return len(w.pods) == 2 })
		if w.podNames() != "orders-1 orders-3" || w.claims["orders-2"] == nil {
			t.Fatalf("%s", w.podNames())
		}
		w.untilState(decide.Stable) // a retained claim is nothing to wait for
		w.store.Spec.Replicas = new(int32(3))
		w.until("three again", func() bool {
			return w.podNames() == "orders-1 orders-2 orders-3" && w.ops[0].plan.State == decide.Stable
		})
	})
	t.Run("down deletes the claim where the policy says so", func(t *testing.T) {
		w := started(t, 3, 1, func(s *v1alpha1.ReplicatedStoreSpec) { s.Storage.RetentionPolicy.WhenScaled = v1alpha1.DeleteClaim })
		w.store.Spec.Replicas = new(int32(2))
		w.until("two of each", func() bool { return len(w.pods) == 2 && len(w.claims) == 2 })
	})
	t.Run("a missing pod is made again, with its claim", func(t *testing.T) {
		w := started(t, 3, 1)
		uid := w.claims["orders-2"].UID
		w.remove("orders-2", "")
		w.until("three pods", func() bool { return len(w.pods) == 3 && w.ops[0].plan.State == decide.Stable })
		if w.claims["orders-2"].UID != uid {
			t.Fatal("another claim")
		}
	})
	t.Run("a failed pod is replaced", func(t *testing.T) {
		w := started(t, 3, 1)
		w.cluster.Crash("orders-2")
		w.pods["orders-2"].Failed = true
		w.run(time.Second)
		w.until("a new pod", func() bool {
			p := w.pods["orders-2"]
			return p != nil && !p.Failed && w.ops[0].plan.State == decide.Stable
		})
	})
}

func TestReseed(t *testing.T) {
	t.Run("a follower comes back empty and is filled", func(t *testing.T) {
		w := started(t, 3, 1)
		uid := w.claims["orders-2"].UID
		w.pods["orders-2"].Reseed = true
		w.until("another claim", func() bool { c := w.claims["orders-2"]; return c != nil && c.UID != uid })
		w.untilState(decide.Stable)
		if missing := w.cluster.Missing("orders-2"); len(missing) > 0 {
			t.Fatalf("missing %v", missing)
		}
	})
	t.Run("never the leader", func(t *testing.T) {
		w := started(t, 3, 1)
		uid := w.claims["orders-1"].UID
		w.pods["orders-1"].Reseed = true
		w.until("refused", func() bool { return !w.pods["orders-1"].Reseed })
		if w.claims["orders-1"].UID != uid {
			t.Fatal("the leader's claim is gone")
		}
	})
	t.Run("never a voter that writes cannot do without", func(t *testing.T) {
		w := started(t, 2, 1)
		uid := w.claims["orders-2"].UID
		w.pods["orders-2"].Reseed = true
		w.until("refused", func() bool { return !w.pods["orders-2"].Reseed })
		if w.claims["orders-2"].UID != uid {
			t.Fatal("its claim is gone")
		}
	})
}

// TestUpdate checks that members are updated one at a time, the leader last and by handover.
func TestUpdate(t *testing.T) {
	w := started(t, 3, 1)
	w.hash = "v2"
	w.until("everybody is new", func() bool {
		old := 0
		for _, p := range w.pods {
			if p.SpecHash != "v2" {
				old++
			}
		}
		return old == 0 && w.ops[0].plan.State == decide.Stable
	}, func() {
		if len(w.pods) < 2 {
			t.Fatalf("only %s left", w.podNames())
		}
	})
	if r := w.rec(); r.Epoch != 2 || r.Kind != v1alpha1.KindHandover {
		t.Fatalf("%+v", r)
	}
}

// TestHeld checks that a fenced store takes no writes until it is released.
func TestHeld(t *testing.T) {
	w := started(t, 3, 1)
	w.store.Annotations[v1alpha1.AnnotationFenced] = v1alpha1.FencedTrue
	w.untilState(decide.Held)
	w.run(5 * time.Second)
	if w.cluster.Writable() != "" {
		t.Fatal("somebody takes writes")
	}
	if got := w.condition(v1alpha1.ConditionAvailable); got.Reason != v1alpha1.ReasonFenced {
		t.Fatalf("%+v", got)
	}
	w.store.Annotations[v1alpha1.AnnotationFailover] = "orders-2"
	w.until("the request is answered", func() bool { return w.store.Annotations[v1alpha1.AnnotationFailover] == "" })
	if r := w.store.Status.FailoverRequest; r == nil || r.Result != v1alpha1.ResultRefused || !strings.Contains(r.Message, "fenced") {
		t.Fatalf("the request: %+v", r)
	}
	delete(w.store.Annotations, v1alpha1.AnnotationFenced)
	w.untilState(decide.Stable)
	w.write()
}

// TestHeldIsNotSaidBeforeItIsShown: a leader that the operator cannot reach may go on with its voters. Once they have
// promised, or once its Lease has expired if it has no voters, it cannot.
func TestHeldIsNotSaidBeforeItIsShown(t *testing.T) {
	for name, c := range map[string]struct {
		k     int32
		alone []string // members that the operator cannot reach
		until string
	}{
		"with voters":          {1, []string{"orders-1", "orders-2"}, ""},
		"its voters answer":    {1, []string{"orders-1"}, "keeps every member"},
		"without voters":       {0, []string{"orders-1", "orders-2", "orders-3"}, "keeps every member"},
		"everybody is reached": {1, nil, "keeps every member"},
	} {
		t.Run(name, func(t *testing.T) {
			w := started(t, 3, c.k)
			for _, m := range c.alone {
				w.cluster.Cut(fake.Operator+w.ops[0].name, m)
			}
			w.store.Annotations[v1alpha1.AnnotationFenced] = v1alpha1.FencedTrue
			said := func() string { return w.condition(v1alpha1.ConditionAvailable).Message }
			if len(c.alone) > 1 {
				w.until("it says who may go on", func() bool { return strings.Contains(said(), "orders-1 is not fenced") })
			}
			if c.until != "" {
				w.until("it says that they are fenced", func() bool { return strings.Contains(said(), c.until) })
			}
			w.run(time.Minute)
			if got := strings.Contains(said(), "keeps every member"); got != (c.until != "") {
				t.Fatal(said())
			}
		})
	}
}

// TestPaused checks that nothing at all is done, even if the leader dies.
func TestPaused(t *testing.T) {
	w := started(t, 3, 1)
	w.store.Annotations[v1alpha1.AnnotationReconcile] = v1alpha1.ReconcileDisabled
	w.cluster.Crash("orders-1")
	w.run(10 * time.Second)
	if len(w.ops[0].plan.Actions) > 0 || w.rec().Epoch != 1 {
		t.Fatalf("%v", w.ops[0].plan.Actions)
	}
}
