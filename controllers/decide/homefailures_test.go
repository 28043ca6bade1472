package decide_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
)

// endsAsLeader returns what happens to a member whose process ends whenever it leads: its kubelet starts it again. It adds each
// leadership of the member to ends.
func (w *world) endsAsLeader(member string, ends *[]time.Time) func() {
	return func() {
		if w.cluster.Writable() == member {
			if *ends = append(*ends, w.cluster.Now()); len(*ends) > 30 {
				w.t.Fatalf("%s led %d times within %v", member, len(*ends), w.cluster.Now().Sub((*ends)[0]))
			}
			w.cluster.Crash(member)
			w.kubelet()
		}
	}
}

// homeIn prefers zone c, and asks that leadership return there.
func homeIn(s *v1alpha1.ReplicatedStoreSpec) {
	s.Failover.PreferredZones, s.Failover.ReturnToPreferredZone = []string{"c"}, true
}

// TestAPreferredMemberThatDoesNotLast: each return costs a failover, so the pauses between them grow. Somebody else leads
// meanwhile, and status tells.
func TestAPreferredMemberThatDoesNotLast(t *testing.T) {
	w := started(t, 3, 1, homeIn)
	inZones(w, "a", "b", "c")
	before, told := w.rec().Epoch, false
	var ends []time.Time
	w.run(15*time.Minute, w.endsAsLeader("orders-3", &ends), func() {
		p := w.ops[0].plan
		told = told || p.State == decide.Stable && strings.Contains(p.Message, "orders-3 is in a better place") && strings.Contains(p.Message, "--previous")
	})
	// Attempts after 1, 4 and 9 min, each of which costs two epochs.
	if r := w.rec(); len(ends) < 3 || len(ends) > 4 || int(r.Epoch-before) != 2*len(ends) || !w.leads("orders-1") {
		t.Fatalf("%d attempts, %d epochs; %+v", len(ends), r.Epoch-before, r)
	}
	for i, at := range ends[1:] {
		if pause := at.Sub(ends[i]); pause < 2*time.Minute<<i {
			t.Errorf("attempt %d is made %v after the one before", i+2, pause)
		}
	}
	if !told {
		t.Errorf("%v: %s", w.ops[0].plan.State, w.ops[0].plan.Message)
	}
	if c := w.condition(v1alpha1.ConditionProgressing); c.Status != "False" {
		t.Errorf("Progressing is %s %s: %s", c.Status, c.Reason, c.Message)
	}
}

// TestWhatEndsTheRestOfAReturn: an operator's restart does not. A new template does, and so does the end of the pause. Once the
// member has led for a minute, the failures are over.
func TestWhatEndsTheRestOfAReturn(t *testing.T) {
	failed := func(t *testing.T) *world {
		w := started(t, 3, 1, homeIn)
		inZones(w, "a", "b", "c")
		var ends []time.Time
		w.run(270*time.Second, w.endsAsLeader("orders-3", &ends))
		if f := w.rec().HomeFailures; len(ends) != 2 || f == nil || f.InARow != 2 || f.Member != "orders-3" || !w.leads("orders-1") {
			t.Fatalf("%d attempts; %+v", len(ends), w.rec())
		}
		return w
	}
	t.Run("a restart of the operator", func(t *testing.T) {
		w := failed(t)
		epoch := w.rec().Epoch
		w.ops[0].die()
		if w.run(90 * time.Second); w.rec().Epoch != epoch {
			t.Errorf("%+v", w.rec())
		}
	})
	t.Run("a new template", func(t *testing.T) {
		w := failed(t)
		w.hash = "v2"
		w.eachPod(func(p *decide.Pod) { p.SpecHash = "v2" })
		if w.run(90 * time.Second); !w.leads("orders-3") {
			t.Errorf("%+v", w.rec())
		}
	})
	t.Run("the end of the pause", func(t *testing.T) {
		w := failed(t)
		if w.run(5 * time.Minute); !w.leads("orders-3") {
			t.Fatalf("%+v", w.rec())
		}
		w.run(time.Minute)
		w.ask("orders-1")
		w.until("the one asked for leads", func() bool { return w.leads("orders-1") })
		if f := w.rec().HomeFailures; f != nil {
			t.Errorf("the member has led for a minute, and the record says %+v", f)
		}
	})
}

// TestWhoIsTriedInsteadOfThePreferredMember: another member of the zone, which need not wait.
func TestWhoIsTriedInsteadOfThePreferredMember(t *testing.T) {
	w := started(t, 4, 1, homeIn)
	inZones(w, "a", "b", "c", "b")
	var ends []time.Time
	bad := w.endsAsLeader("orders-3", &ends)
	w.until("the preferred member has ended", func() bool { return len(ends) > 0 }, bad)
	w.until("another one leads", func() bool { return w.leads("orders-1") }, bad)
	w.pods["orders-4"].Zone = "c"
	if w.run(80*time.Second, bad); len(ends) != 1 || !w.leads("orders-4") {
		t.Errorf("%d attempts; %+v", len(ends), w.rec())
	}
}

// TestACordonedLeaderWhoseSuccessorDoesNotLast: it goes on, although its node is cordoned, and tries with pauses that grow.
func TestACordonedLeaderWhoseSuccessorDoesNotLast(t *testing.T) {
	w := started(t, 3, 1)
	w.pods["orders-1"].Cordoned, w.pods["orders-3"].Cordoned = true, true
	var ends []time.Time
	w.run(8*time.Minute, w.endsAsLeader("orders-2", &ends))
	// Attempts after 0, 2 and 6 min.
	if len(ends) < 2 || len(ends) > 3 || slices.Contains([]string{"", "orders-2"}, w.cluster.Writable()) {
		t.Errorf("%d attempts; %+v", len(ends), w.rec())
	}
}

// TestAPreferredMemberThatEndsBeforeItIsElected: that is a failed attempt, too, and is not forgotten once the former leader has
// led for a while. Another member of the zone is tried meanwhile.
func TestAPreferredMemberThatEndsBeforeItIsElected(t *testing.T) {
	w := started(t, 4, 1, homeIn)
	inZones(w, "a", "b", "c", "b")
	attempts, spare := 0, false
	o := w.ops[0]
	for end := w.cluster.Now().Add(15 * time.Minute); w.cluster.Now().Before(end); {
		w.cluster.Settle()
		w.renew()
		w.kubelet()
		o.reconcileWith(func() {
			if r := w.rec(); r.Phase == decide.PhaseFencing && r.Target == "orders-3" && w.cluster.Running("orders-3") {
				w.cluster.Crash("orders-3")
				attempts++
			}
		})
		if !spare && attempts == 3 {
			if r := w.rec(); r.HomeFailures == nil || r.HomeFailures.InARow < 2 {
				t.Fatalf("%+v", r)
			}
			w.pods["orders-4"].Zone, spare = "c", true
		}
	}
	w.check()
	if attempts != 3 || !w.leads("orders-4") {
		t.Errorf("%d attempts; %+v", attempts, w.rec())
	}
}
