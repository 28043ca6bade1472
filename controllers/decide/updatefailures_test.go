package decide_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
)

// endsOnceItLeads returns what happens to an image whose process ends some time after it begins to lead: a follower with
// template bad runs, and its kubelet starts it again.
func (w *world) endsOnceItLeads(bad string, after time.Duration) func() {
	since, epoch := time.Time{}, w.rec().Epoch
	return func() {
		leader := w.cluster.Writable()
		p := w.pods[leader]
		if p == nil || p.SpecHash != bad {
			return
		}
		if now := w.rec().Epoch; now != epoch {
			epoch, since = now, w.cluster.Now()
		}
		if w.cluster.Now().Sub(since) >= after {
			w.cluster.Crash(leader)
			w.kubelet()
		}
	}
}

// leadBy asks for a leader that is not the first one, and so come last in an update.
func (w *world) leadBy(name string) {
	w.ask(name)
	w.untilAnswered()
	w.untilState(decide.Stable)
}

// TestAnImageThatEndsOnceItLeads: an update hands over to it with pauses that grow, says what to do, and takes up the next
// template at once. The leader that can lead leads in the meantime.
func TestAnImageThatEndsOnceItLeads(t *testing.T) {
	for leader, after := range map[string]time.Duration{"orders-1": 0, "orders-3": 5 * time.Second} {
		t.Run(fmt.Sprint(leader, ", ended after ", after), func(t *testing.T) {
			w := started(t, 3, 1)
			w.leadBy(leader)
			before := w.rec().Epoch
			w.hash = "v2"
			bad := w.endsOnceItLeads("v2", after)
			tried := map[string]bool{}
			w.run(5*time.Minute, func() {
				if now := w.cluster.Writable(); now != "" && now != leader {
					tried[now] = true
				}
				bad()
			})
			if len(tried) != 2 {
				t.Errorf("only %v were tried", tried)
			}
			// Attempts after 0, 1 and 3 min, each of which costs two epochs.
			if changes := w.rec().Epoch - before; changes < 4 || changes > 8 {
				t.Errorf("%d changes of leader within 5 min\n%s", changes, w.tail())
			}
			if r := w.rec(); r.Leader.Member != leader || r.Phase != decide.PhaseStable {
				t.Fatalf("%s leads: %+v", r.Leader.Member, r)
			}
			for _, kind := range []string{v1alpha1.ConditionProgressing, v1alpha1.ConditionReady} {
				c := w.condition(kind)
				for _, words := range []string{leader + " leads and is to be restarted", "to let a member with the new template lead failed", "--previous", "correct the template"} {
					if c.Reason != v1alpha1.ReasonHandoverFailed || !strings.Contains(c.Message, words) {
						t.Errorf("%s is %s, and %q is not said: %s", kind, c.Reason, words, c.Message)
					}
				}
			}
			w.hash = "v3"
			w.until("everybody has the next template", func() bool {
				return w.ops[0].plan.State == decide.Stable && w.pods[leader].SpecHash == "v3"
			}, bad)
		})
	}
}

// TestFailedUpdatesOutliveTheOperator: its restart starts no attempt.
func TestFailedUpdatesOutliveTheOperator(t *testing.T) {
	w := started(t, 3, 1)
	w.hash = "v2"
	bad := w.endsOnceItLeads("v2", 0)
	w.run(90*time.Second, bad) // attempts after 0 and 1 min
	epoch := w.rec().Epoch
	for range 3 {
		w.ops[0].die()
		w.run(20*time.Second, bad)
	}
	if now := w.rec().Epoch; now != epoch || epoch < 4 {
		t.Errorf("epoch %d before the operator ended, %d after", epoch, now)
	}
	if f := w.rec().UpdateFailures; f == nil || f.InARow != 2 {
		t.Errorf("the record says %+v", f)
	}
}

// TestWhatEndsTheRestOfAnUpdate: a restart that a person asks for is a new try, and so is a request for another leader. Once
// a member with the template has led for a minute, the failures are over, whatever comes later.
func TestWhatEndsTheRestOfAnUpdate(t *testing.T) {
	failed := func(t *testing.T) (*world, func()) {
		w := started(t, 3, 1)
		w.hash = "v2"
		broken := true
		ends := w.endsOnceItLeads("v2", 0)
		w.run(90*time.Second, func() {
			if broken {
				ends()
			}
		})
		broken = false
		if w.rec().Leader.Member != "orders-1" || w.pods["orders-1"].SpecHash != "v1" {
			t.Fatalf("%+v", w.rec())
		}
		return w, func() {
			t.Helper()
			w.until("everybody has the template", func() bool { return w.ops[0].plan.State == decide.Stable && w.pods["orders-1"].SpecHash == "v2" })
		}
	}
	t.Run("a restart", func(t *testing.T) {
		w, done := failed(t)
		w.store.Annotations[v1alpha1.AnnotationRestart] = "monday"
		done()
	})
	t.Run("the former leader is back, and follows one that has not lasted yet", func(t *testing.T) {
		w, done := failed(t)
		w.cluster.Crash("orders-1")
		w.until("another leads", func() bool { return w.cluster.Writable() != "" })
		w.run(40*time.Second, w.kubelet)
		if w.pods["orders-1"].SpecHash != "v1" {
			t.Error("the last member that can lead was restarted")
		}
		done()
	})
	for what, trouble := range map[string]string{"is away for a while": "", "ends again and again for a while": "CrashLoopBackOff"} {
		t.Run("the former leader "+what, func(t *testing.T) {
			w, done := failed(t)
			ends := w.endsOnceItLeads("v2", 20*time.Second)
			w.run(40*time.Second, func() {
				ends()
				w.cluster.Vanish("orders-1")
				w.pods["orders-1"].Trouble = trouble
			})
			if w.pods["orders-1"].SpecHash != "v1" {
				t.Error("the last member that can lead was restarted")
			}
			if f := w.rec().UpdateFailures; f == nil || f.InARow != 2 {
				t.Errorf("nobody tried the template, and the record says %+v", f)
			}
			w.pods["orders-1"].Trouble = ""
			w.kubelet()
			w.run(90 * time.Second)
			done()
		})
	}
	t.Run("the node of the former leader is cordoned", func(t *testing.T) {
		w, _ := failed(t)
		epoch, ends := w.rec().Epoch, w.endsOnceItLeads("v2", 0)
		w.pods["orders-1"].Cordoned = true
		w.run(time.Minute, ends)
		if r := w.rec(); r.Epoch != epoch {
			t.Errorf("leadership left for a member whose template failed: %+v", r)
		}
		w.run(3*time.Minute, ends) // one more attempt
		if r := w.rec(); r.Leader.Member != "orders-1" || r.Epoch != epoch+2 || r.UpdateFailures == nil || r.UpdateFailures.InARow != 3 {
			t.Errorf("%+v", r)
		}
	})
	t.Run("a request", func(t *testing.T) {
		w, done := failed(t)
		w.leadBy("orders-2")
		done()
		w.run(time.Minute)
		w.leadBy("orders-3")
		if f := w.rec().UpdateFailures; f != nil {
			t.Errorf("a member with the template has led for a minute, and the record says %+v", f)
		}
	})
}

// TestATargetThatEndsBeforeItIsElected: an attempt failed, too, if the former leader is elected again.
func TestATargetThatEndsBeforeItIsElected(t *testing.T) {
	w := started(t, 3, 1)
	w.hash = "v2"
	w.until("only the leader is old", func() bool { return w.pods["orders-2"].SpecHash == "v2" && w.pods["orders-3"].SpecHash == "v2" })
	o := w.ops[0]
	for end := w.cluster.Now().Add(30 * time.Second); w.cluster.Now().Before(end); {
		w.cluster.Settle()
		w.renew()
		w.kubelet()
		o.reconcileWith(func() {
			if r := w.rec(); r.Phase == decide.PhaseFencing && w.cluster.Running(r.Target) {
				w.cluster.Crash(r.Target)
			}
		})
	}
	w.check()
	if r := w.rec(); r.Epoch != 2 || r.Leader.Member != "orders-1" || r.UpdateFailures == nil || o.plan.Reason != v1alpha1.ReasonHandoverFailed {
		t.Errorf("%s: %s; %+v", o.plan.Reason, o.plan.Message, r)
	}
}

// TestAnUpdateWaitsForWhoeverLeads: the former leader may be the only one that can lead. It is not restarted before the new
// template has led for a while, however that came to lead, and is preferred once it has failed.
func TestAnUpdateWaitsForWhoeverLeads(t *testing.T) {
	for name, change := range map[string]func(*world){
		"the former leader restarts":    func(w *world) { w.cluster.Crash("orders-3"); w.kubelet() },
		"another one is asked for":      func(w *world) { w.ask("orders-1") },
		"the former leader is cordoned": func(w *world) { w.pods["orders-3"].Cordoned = true },
	} {
		t.Run(name, func(t *testing.T) {
			w := started(t, 3, 1)
			w.leadBy("orders-3")
			w.almostUpdated()
			before := w.rec().Epoch
			change(w)
			w.run(150*time.Second, w.endsOnceItLeads("v2", 5*time.Second))
			if w.pods["orders-3"].SpecHash != "v1" {
				t.Errorf("the last member that can lead was restarted\n%s", w.tail())
			}
			// Attempts after 0 and 1 min, each of which costs two epochs.
			if r := w.rec(); r.Leader.Member != "orders-3" || r.Phase != decide.PhaseStable || r.Epoch > before+4 || r.UpdateFailures == nil || r.UpdateFailures.InARow != 2 {
				t.Errorf("%+v", r)
			}
		})
	}
}

// almostUpdated gives everybody but orders-3 the template v2.
func (w *world) almostUpdated() {
	w.hash = "v2"
	w.pods["orders-1"].SpecHash, w.pods["orders-2"].SpecHash = "v2", "v2"
}

// TestAnOrdinaryFailoverInAnUpdate: a new leader that is lost once, for a reason of its own, delays the update by one pause.
func TestAnOrdinaryFailoverInAnUpdate(t *testing.T) {
	w := started(t, 3, 1)
	w.leadBy("orders-3")
	w.almostUpdated()
	w.until("a member with the new template leads", func() bool { return w.leads("orders-1") })
	w.cluster.Vanish("orders-1")
	w.until("another one leads", func() bool { return w.leads("orders-3") })
	w.kubelet()
	w.run(150*time.Second, func() {
		if f := w.rec().UpdateFailures; f != nil && f.InARow != 1 {
			t.Fatalf("%+v", f)
		}
	})
	if w.pods["orders-3"].SpecHash != "v2" || w.ops[0].plan.State != decide.Stable {
		t.Errorf("%v: %s", w.ops[0].plan.State, w.ops[0].plan.Message)
	}
}

// TestFailoversWithoutAnUpdateCountNothing: only while members are to be restarted do lost leaders tell of a template.
func TestFailoversWithoutAnUpdateCountNothing(t *testing.T) {
	w := started(t, 3, 1)
	ends := w.endsOnceItLeads("v1", 5*time.Second)
	w.run(time.Minute, ends, func() {
		if f := w.rec().UpdateFailures; f != nil {
			t.Fatalf("%+v", f)
		}
	})
	if e := w.rec().Epoch; e < 4 {
		t.Fatalf("epoch %d: no leaders were lost", e)
	}
}

// TestUpdatesWithAnOperatorWhoseClockIsAhead: the operator that noted since when the leader takes writes is gone. The wait is
// a little longer if its clock was a little ahead, and not an hour longer if that was an hour ahead.
func TestUpdatesWithAnOperatorWhoseClockIsAhead(t *testing.T) {
	ahead := func(w *world, by time.Duration) {
		r := w.rec()
		r.Since.Writable = new(metav1.NewMicroTime(w.cluster.Now().Add(by)))
		w.record = r.Encode()
	}
	t.Run("a little", func(t *testing.T) {
		w := started(t, 3, 1)
		w.leadBy("orders-3")
		w.almostUpdated()
		w.until("the update hands over", func() bool { return w.leads("orders-1") })
		ahead(w, 5*time.Second)
		w.run(9 * time.Second)
		if w.pods["orders-3"].SpecHash != "v1" {
			t.Error("the former leader was restarted at once")
		}
		w.until("everybody has the template", func() bool { return w.ops[0].plan.State == decide.Stable && w.pods["orders-3"].SpecHash == "v2" })
	})
	t.Run("an hour", func(t *testing.T) {
		w := started(t, 3, 1)
		w.leadBy("orders-3")
		w.almostUpdated()
		w.run(30*time.Second, w.endsOnceItLeads("v2", 0))
		w.ask("orders-1")
		w.until("the one asked for leads", func() bool { return w.leads("orders-1") && w.rec().UpdateFailures != nil })
		ahead(w, time.Hour)
		w.run(10 * time.Second)
		if w.pods["orders-3"].SpecHash != "v2" {
			t.Errorf("%v: %s", w.ops[0].plan.State, w.ops[0].plan.Message)
		}
	})
}

// TestWhoDoesNotRunIsRemadeForALeaderThatNeedsIt: a leader that has never taken writes may need the last member with the
// former template, which no longer runs. Nobody waits for such a leader to prove itself.
func TestWhoDoesNotRunIsRemadeForALeaderThatNeedsIt(t *testing.T) {
	w := started(t, 2, 1)
	w.hash = "v2"
	broken := true
	ends := w.endsOnceItLeads("v2", 0)
	w.run(50*time.Second, func() {
		if broken {
			ends()
		}
		broken = broken && w.rec().UpdateFailures == nil
	})
	if r := w.rec(); r.UpdateFailures == nil || !w.leads("orders-1") {
		t.Fatalf("%+v", r)
	}
	away := func() {
		if p := w.pods["orders-1"]; p != nil && p.SpecHash == "v1" {
			w.cluster.Vanish("orders-1")
			p.Trouble = "ImagePullBackOff"
		}
	}
	w.until("everybody has the template", func() bool {
		return w.pods["orders-1"] != nil && w.pods["orders-1"].SpecHash == "v2" && w.leads("orders-2")
	}, away)
}

// TestAnUpdateBesideACordonedNode: a member on a cordoned node that took over for the update does not hand back to the former
// leader, which the update would take leadership from again.
func TestAnUpdateBesideACordonedNode(t *testing.T) {
	w := started(t, 3, 1)
	w.leadBy("orders-3")
	w.almostUpdated()
	w.pods["orders-1"].Cordoned, w.pods["orders-2"].Cordoned = true, true
	before := w.rec().Epoch
	w.run(3 * time.Minute)
	// To a member on a cordoned node, and from there to the former leader, once that has the new template.
	if r := w.rec(); r.Epoch > before+2 || !w.leads("orders-3") || w.pods["orders-3"].SpecHash != "v2" {
		t.Errorf("%d epochs: %+v\n%s", r.Epoch-before, r, w.tail())
	}
}
