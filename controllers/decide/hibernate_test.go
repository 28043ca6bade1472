package decide_test

import (
	"strings"
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
	"github.com/replicatedstore/replicatedstore/controllers/nodeclient/fake"
)

// asleep returns a world whose store hibernates, and the order in which its pods went.
func asleep(t *testing.T, replicas int, synchronous int32, changes ...func(*v1alpha1.ReplicatedStoreSpec)) (w *world, went []string) {
	t.Helper()
	w = started(t, replicas, synchronous, changes...)
	w.store.Spec.Hibernated = true
	here := map[string]bool{}
	for name := range w.pods {
		here[name] = true
	}
	w.untilState(decide.Hibernated)
	for _, line := range w.log {
		if _, name, ok := strings.Cut(line, "delete pod "); ok && strings.Contains(line, "hibernates") {
			went = append(went, name[:len("orders-1")])
		}
	}
	if len(w.pods) != 0 || len(w.claims) != replicas {
		t.Fatalf("pods %s, %d claims\n%s", w.podNames(), len(w.claims), w.tail())
	}
	return w, went
}

func TestHibernateAndWake(t *testing.T) {
	for name, tc := range map[string]struct {
		replicas    int
		synchronous int32
		order       string
	}{
		"three members": {3, 1, "orders-3 orders-2 orders-1"},
		"one member":    {1, 0, "orders-1"},
		"k = 0":         {2, 0, "orders-2 orders-1"},
	} {
		t.Run(name, func(t *testing.T) {
			w, went := asleep(t, tc.replicas, tc.synchronous)
			if got := strings.Join(went, " "); got != tc.order {
				t.Fatalf("pods went in the order %s", got)
			}
			epoch, acked := w.rec().Epoch, w.cluster.Acknowledged()
			w.run(time.Minute)
			if st := w.store.Status; st.Phase != v1alpha1.PhaseHibernated || len(w.pods) != 0 || w.rec().Epoch != epoch {
				t.Fatalf("%s: %s, epoch %d", st.Phase, w.podNames(), w.rec().Epoch)
			}
			calm(t, w, v1alpha1.ReasonHibernated)
			w.store.Spec.Hibernated = false
			w.until("the store is back", func() bool {
				if w.ops[0].plan.State != decide.Stable {
					calm(t, w, "")
				}
				return w.ops[0].plan.State == decide.Stable && w.store.Status.Phase == v1alpha1.PhaseReady
			})
			r := w.rec()
			if r.Leader.Member != "orders-1" || r.Epoch != epoch || epoch != 2 || r.Kind != v1alpha1.KindWake || r.WritesLost != v1alpha1.LostNone {
				t.Fatalf("%+v", r)
			}
			w.write()
			if n := w.store.Status.Counters; n.Failovers+n.Handovers+n.Failed+n.Lossy != 0 {
				t.Fatalf("counted: %+v", n)
			}
			if w.cluster.Acknowledged() <= acked {
				t.Fatal("another log")
			}
		})
	}
}

// calm asserts that nothing calls anybody out of bed.
func calm(t *testing.T, w *world, available string) {
	t.Helper()
	for _, kind := range []string{v1alpha1.ConditionDegraded, v1alpha1.ConditionFailoverBlocked} {
		if c := w.condition(kind); c.Status != "False" {
			t.Fatalf("%s: %s: %s (%v)", kind, c.Reason, c.Message, w.ops[0].plan.State)
		}
	}
	if c := w.condition(v1alpha1.ConditionAvailable); available != "" && c.Reason != available {
		t.Fatalf("Available: %s: %s", c.Reason, c.Message)
	}
}

// TestNobodyWritesOnceAsleep checks that the epoch moves on before the first pod goes, so that no write is acknowledged
// meanwhile.
func TestNobodyWritesOnceAsleep(t *testing.T) {
	w := started(t, 3, 1)
	w.store.Spec.Hibernated = true
	w.until("the first pod goes", func() bool { return len(w.pods) < 3 }, func() {
		if len(w.pods) < 3 && w.cluster.Writable() != "" {
			t.Fatal("somebody takes writes while pods go")
		}
	})
}

// TestHibernateWaitsForFollowers checks that a follower that is away is reported, and waited for up to a bound.
func TestHibernateWaitsForFollowers(t *testing.T) {
	w := started(t, 3, 1)
	w.cluster.Vanish("orders-3")
	w.store.Spec.Hibernated = true
	w.run(20 * time.Second)
	if p := w.ops[0].plan; p.State != decide.Hibernating || !strings.Contains(p.Message, "orders-3") || len(w.pods) != 3 {
		t.Fatalf("%v: %s; %s", p.State, p.Message, w.podNames())
	}
	w.write()
	w.run(2 * time.Minute)
	w.untilState(decide.Hibernated)
}

// TestChangesWhileAsleep checks that changes wait, and are taken up on waking.
func TestChangesWhileAsleep(t *testing.T) {
	t.Run("fewer members", func(t *testing.T) {
		w, _ := asleep(t, 3, 1)
		w.store.Spec.Replicas = new(int32(2))
		w.run(5 * time.Second)
		if len(w.pods) != 0 || len(w.claims) != 3 {
			t.Fatal(w.podNames())
		}
		w.store.Spec.Hibernated = false
		w.until("two", func() bool { return w.podNames() == "orders-1 orders-2" && w.ops[0].plan.State == decide.Stable })
	})
	t.Run("more members, and another template", func(t *testing.T) {
		w, _ := asleep(t, 2, 1)
		w.store.Spec.Replicas, w.hash = new(int32(3)), "v2"
		w.run(5 * time.Second)
		w.store.Spec.Hibernated = false
		w.until("three", func() bool { return len(w.pods) == 3 && w.ops[0].plan.State == decide.Stable })
		if r := w.rec(); r.Leader.Member != "orders-1" || r.Epoch != 2 {
			t.Fatalf("%+v", r)
		}
	})
	t.Run("a request for another leader", func(t *testing.T) {
		w, _ := asleep(t, 3, 1)
		w.store.Annotations[v1alpha1.AnnotationFailover] = "orders-2"
		w.run(2 * time.Second)
		if o := w.store.Status.FailoverRequest; o == nil || o.Result != v1alpha1.ResultRefused || w.ops[0].plan.State != decide.Hibernated {
			t.Fatalf("%+v", o)
		}
	})
	t.Run("a fence", func(t *testing.T) {
		w, _ := asleep(t, 3, 1)
		w.store.Annotations[v1alpha1.AnnotationFenced] = v1alpha1.FencedTrue
		w.run(2 * time.Second)
		w.store.Spec.Hibernated = false
		w.untilState(decide.Held)
		w.run(2 * time.Second)
		if w.cluster.Writable() != "" {
			t.Fatal("somebody leads a fenced store")
		}
		delete(w.store.Annotations, v1alpha1.AnnotationFenced)
		w.untilState(decide.Stable)
	})
	t.Run("the operator", func(t *testing.T) {
		w, _ := asleep(t, 3, 1)
		w.ops[0].die()
		w.untilState(decide.Hibernated)
		w.store.Spec.Hibernated = false
		w.untilState(decide.Stable)
	})
}

// TestWakeWithoutAVolume: a member that cannot come back is waited for up to a bound; then the fence condition decides.
func TestWakeWithoutAVolume(t *testing.T) {
	w, _ := asleep(t, 3, 1)
	w.deleteClaim("orders-1", w.claims["orders-1"].UID)
	w.store.Spec.Hibernated = false
	w.until("another leads", func() bool {
		r := w.rec()
		return r.Phase == decide.PhaseStable && r.Leader.Member != "orders-1"
	})
	if r := w.rec(); r.WritesLost != v1alpha1.LostNone {
		t.Fatalf("%+v", r)
	}
}

// TestWakeWithoutAnAnswer: so is a member that comes back but does not answer.
func TestWakeWithoutAnAnswer(t *testing.T) {
	w, _ := asleep(t, 3, 1)
	w.cluster.Cut("orders-3", fake.Operator+"a")
	w.cluster.Cut("orders-3", fake.Operator+"b")
	w.store.Spec.Hibernated = false
	w.run(3 * time.Minute)
	if r := w.rec(); r.Phase != decide.PhaseStable {
		t.Fatalf("%+v", r)
	}
	w.write()
}

// TestBornAsleep checks that a store that is created hibernated gets no members until it is woken.
func TestBornAsleep(t *testing.T) {
	w := newWorld(t, 3, 1)
	w.store.Spec.Hibernated = true
	w.run(5 * time.Second)
	if len(w.pods) != 0 || w.store.Status.Phase != v1alpha1.PhaseHibernated {
		t.Fatalf("%s: %s", w.store.Status.Phase, w.podNames())
	}
	w.store.Spec.Hibernated = false
	w.untilState(decide.Stable)
}

// TestAStoreThatSleepsAndIsPausedIsNotMissed: nothing wakes such a store, nothing is done, and it is reported as hibernated.
// If it is to wake, or was not asleep yet, it is reported as missing.
func TestAStoreThatSleepsAndIsPausedIsNotMissed(t *testing.T) {
	pause := func(w *world) {
		w.store.Annotations[v1alpha1.AnnotationReconcile] = v1alpha1.ReconcileDisabled
		w.run(40 * time.Second)
		if a := w.ops[0].plan.Actions; len(a) > 0 {
			t.Errorf("paused, and it does %v", a)
		}
		if c := w.condition(v1alpha1.ConditionProgressing); c.Status != "False" || c.Reason != v1alpha1.ReasonReconcileDisabled || w.store.Status.Phase != v1alpha1.PhasePaused {
			t.Errorf("%s, and Progressing is %s %s", w.store.Status.Phase, c.Status, c.Reason)
		}
	}
	told := func(w *world, state decide.State, reason string) {
		t.Helper()
		for _, kind := range []string{v1alpha1.ConditionAvailable, v1alpha1.ConditionReady} {
			if c := w.condition(kind); w.ops[0].plan.State != state || c.Status != "False" || c.Reason != reason {
				t.Errorf("%v, and %s is %s %s: %s; want %v and %s", w.ops[0].plan.State, kind, c.Status, c.Reason, c.Message, state, reason)
			}
		}
	}
	w, _ := asleep(t, 3, 1)
	pause(w)
	told(w, decide.Hibernated, v1alpha1.ReasonHibernated)
	if c := w.condition(v1alpha1.ConditionDegraded); c.Status != "False" {
		t.Errorf("Degraded: %s", c.Message)
	}
	w.store.Spec.Hibernated = false
	pause(w)
	told(w, decide.Paused, v1alpha1.ReasonWaking)

	w = started(t, 3, 1)
	w.store.Spec.Hibernated = true // and paused before that could begin
	w.store.Annotations[v1alpha1.AnnotationReconcile] = v1alpha1.ReconcileDisabled
	w.cluster.Vanish("orders-1")
	pause(w)
	told(w, decide.Paused, v1alpha1.ReasonLeaderUnreachable)
}

// TestHibernatingAManualStoreWithoutALeader: the store needs a leader first, and the request that FailoverBlocked suggests
// is answered.
func TestHibernatingAManualStoreWithoutALeader(t *testing.T) {
	w := started(t, 3, 1, manual)
	w.cluster.Vanish("orders-1")
	w.untilBlocked(v1alpha1.ReasonManualMode)
	w.store.Spec.Hibernated = true
	w.run(5 * time.Second)
	if c := w.condition(v1alpha1.ConditionFailoverBlocked); !strings.Contains(c.Message, "failover=orders-2") {
		t.Fatalf("%s: %s", c.Reason, c.Message)
	}
	w.ask("orders-2")
	w.run(4 * time.Minute)
	if r := w.store.Status.FailoverRequest; w.ops[0].plan.State != decide.Hibernated || r == nil || r.Target != "orders-2" || r.Result == v1alpha1.ResultRefused {
		t.Fatalf("%v: %s; the request: %+v", w.ops[0].plan.State, w.ops[0].plan.Message, r)
	}
	if r := w.rec(); r.From != "orders-2" {
		t.Fatalf("%+v", r)
	}
}

// TestAsleepWithoutItsRecord: a store whose Lease vanished while it slept does not say that it never had a leader, and says
// what waking takes.
func TestAsleepWithoutItsRecord(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*world)
		reason string
		says   []string
		wakes  bool
	}{
		"with its volumes":   {func(*world) {}, v1alpha1.ReasonRecordLost, []string{"record was lost", "Keep every volume"}, true},
		"without one":        {func(w *world) { w.loseVolumes("orders-2") }, v1alpha1.ReasonRecordLost, []string{"Keep every volume", "The volumes of these members are gone: orders-2"}, false},
		"an earlier store's": {func(w *world) { w.store.Status = v1alpha1.ReplicatedStoreStatus{} }, v1alpha1.ReasonAsExpected, []string{"never had a leader", "The volumes of orders-1, orders-2, orders-3"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			w, _ := asleep(t, 3, 1)
			w.record, w.version, w.holder = "", 0, ""
			tc.change(w)
			w.run(2 * time.Second)
			if c := w.condition(v1alpha1.ConditionDegraded); c.Reason != tc.reason || w.store.Status.Phase != v1alpha1.PhaseHibernated {
				t.Errorf("%s; %s: %s", w.store.Status.Phase, c.Reason, c.Message)
			}
			for _, words := range tc.says {
				if !strings.Contains(w.ops[0].plan.Message, words) {
					t.Errorf("%q is not said: %s", words, w.ops[0].plan.Message)
				}
			}
			w.store.Spec.Hibernated = false
			w.run(time.Minute, w.kubelet)
			if leads := w.cluster.Writable() != ""; leads != tc.wakes {
				t.Errorf("a minute after it was woken: %v: %s", w.ops[0].plan.State, w.ops[0].plan.Message)
			}
		})
	}
}

// TestAWokenStoreTellsWhoIsMissing wakes a store on a cluster that has room for one of its pods only.
func TestAWokenStoreTellsWhoIsMissing(t *testing.T) {
	w, _ := asleep(t, 3, 1)
	w.store.Spec.Hibernated = false
	away := func() {
		for _, name := range []string{"orders-2", "orders-3"} {
			if p := w.pods[name]; p != nil {
				w.cluster.Vanish(name)
				p.Ready, p.IP, p.Trouble = false, "", "Unschedulable: insufficient memory"
			}
		}
	}
	w.run(5*time.Minute, away)
	if c := w.condition(v1alpha1.ConditionDegraded); c.Reason != v1alpha1.ReasonMemberMissing || !strings.Contains(c.Message, "orders-3") {
		t.Errorf("Degraded is %s %s: %s", c.Status, c.Reason, c.Message)
	}
}

// TestAPodThatStaysWhileItsStoreSleeps: a pod on a dead machine does not go, whoever it belongs to. It is waited for up to a
// bound, and then told together with the way out; once it is gone, nothing is told.
func TestAPodThatStaysWhileItsStoreSleeps(t *testing.T) {
	for name, tc := range map[string]struct {
		stays, trouble, says string
		bound                time.Duration
	}{
		"the leader's":   {"orders-1", "its node worker-1 is not ready", "orders-1 still has its pod: its node worker-1 is not ready", time.Minute},
		"a follower's":   {"orders-3", "its node worker-3 is not ready", "force-delete the pod (kubectl delete pod orders-3 --force)", time.Minute},
		"for no reason":  {"orders-1", "", "terminating for more than 1m0s (kubectl describe pod orders-1)", time.Minute},
		"a longer grace": {"orders-1", "its node worker-1 is not ready", "orders-1 still has its pod", 2 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			w := started(t, 3, 1, func(s *v1alpha1.ReplicatedStoreSpec) {
				s.Scheduling.TerminationGracePeriodSeconds = new(int64(tc.bound/time.Second - 30))
			})
			w.stay = map[string]string{tc.stays: tc.trouble}
			w.store.Spec.Hibernated = true
			w.until("its pod is to go", func() bool { return w.pods[tc.stays].Deleting })
			w.run(tc.bound - 5*time.Second)
			if w.ops[0].plan.State != decide.Hibernating {
				t.Errorf("within its grace period: %v: %s", w.ops[0].plan.State, w.ops[0].plan.Message)
			}
			calm(t, w, v1alpha1.ReasonHibernated)
			w.run(10 * time.Second)
			if w.ops[0].plan.State != decide.Hibernated || w.store.Status.Phase != v1alpha1.PhaseHibernated || w.podNames() != tc.stays {
				t.Fatalf("%s, %v: %s; pods %s", w.store.Status.Phase, w.ops[0].plan.State, w.ops[0].plan.Message, w.podNames())
			}
			w.tells(v1alpha1.ReasonMemberMissing, tc.says, "cannot come back when the store wakes up")
			if !strings.Contains(w.ops[0].plan.Message, tc.says) {
				t.Error(w.ops[0].plan.Message)
			}
			w.stay = nil
			w.remove(tc.stays, "")
			w.run(time.Second)
			calm(t, w, v1alpha1.ReasonHibernated)
			w.store.Spec.Hibernated = false
			w.untilState(decide.Stable)
		})
	}
}

// TestWakingBesideAPodThatStays: the other members go on without it, and say who is missing.
func TestWakingBesideAPodThatStays(t *testing.T) {
	w := started(t, 3, 1)
	w.stay = map[string]string{"orders-1": "its node worker-1 is not ready"}
	w.store.Spec.Hibernated = true
	w.untilState(decide.Hibernated)
	w.store.Spec.Hibernated = false
	w.run(2 * time.Minute)
	w.until("another leads", func() bool { return w.rec().Phase == decide.PhaseStable && w.rec().Leader.Member != "orders-1" })
	w.run(5 * time.Second)
	w.write()
	w.tells(v1alpha1.ReasonMemberMissing, "orders-1", "its node worker-1 is not ready", "force-delete")
}
