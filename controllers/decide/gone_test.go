package decide_test

import (
	"strings"
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
)

const beginAnew = "all data is gone. Delete the store and its claims (kubectl delete pvc -l replicatedstore.io/store=orders), and create it again"

// loseVolumes removes the members' volumes, as happens to local disks when their machines go.
func (w *world) loseVolumes(members ...string) {
	w.lossy = true
	for _, n := range members {
		w.claims[n].Deleting = true
		w.remove(n, "")
	}
}

// makeAgain acts as a person who deletes the store and its claims, and creates it again.
func (w *world) makeAgain() {
	w.record, w.holder = "", ""
	w.store.Status, w.store.UID = v1alpha1.ReplicatedStoreStatus{}, "another"
	for n, c := range w.claims {
		c.Deleting = true
		w.remove(n, "")
	}
}

// TestEveryVolumeIsGone: nobody can lead a store whose members have all come back empty. Status says what to do, and doing
// it works.
func TestEveryVolumeIsGone(t *testing.T) {
	for name, tc := range map[string]struct {
		replicas int
		k        int32
		sleeps   bool
	}{
		"asynchronous":    {2, 0, false},
		"one member":      {1, 0, false},
		"three members":   {3, 1, false},
		"while it slept":  {3, 1, true},
		"one, in a sleep": {1, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			w := started(t, tc.replicas, tc.k, allow)
			if w.store.Spec.Hibernated = tc.sleeps; tc.sleeps {
				w.untilState(decide.Hibernated)
			}
			for n := range w.claims {
				w.loseVolumes(n)
			}
			w.store.Spec.Hibernated = false
			w.run(5*time.Minute, w.kubelet)
			if c := w.condition(v1alpha1.ConditionFailoverBlocked); c.Reason != v1alpha1.ReasonNoCandidate || !strings.Contains(c.Message, beginAnew) {
				t.Fatalf("%v; FailoverBlocked is %s: %s", w.ops[0].plan.State, c.Reason, c.Message)
			}
			w.makeAgain()
			w.untilState(decide.Stable, w.kubelet)
			w.write()
		})
	}
}

// TestNotEveryVolumeIsGone checks that nobody is told that all data is gone while a member that does not answer, or a volume
// without a member, may have some.
func TestNotEveryVolumeIsGone(t *testing.T) {
	for name, change := range map[string]func(*world){
		"one does not answer": func(w *world) { w.cluster.Cut("orders-3", operatorA) },
		"a volume of a member that was scaled away": func(w *world) {
			w.claims["orders-4"] = &decide.Claim{UID: "kept"}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := started(t, 3, 1, allow)
			change(w)
			w.loseVolumes("orders-1", "orders-2")
			if name != "one does not answer" {
				w.loseVolumes("orders-3")
			}
			w.run(5*time.Minute, w.kubelet)
			if c := w.condition(v1alpha1.ConditionFailoverBlocked); w.ops[0].plan.State == decide.Stable || strings.Contains(c.Message, "all data is gone") {
				t.Errorf("%v; FailoverBlocked is %s: %s", w.ops[0].plan.State, c.Reason, c.Message)
			}
		})
	}
}

// TestVolumesGoWhileItSleeps checks that a hibernating store reports which volumes are gone, and what follows from that when
// it is woken.
func TestVolumesGoWhileItSleeps(t *testing.T) {
	for name, tc := range map[string]struct {
		gone   []string
		change func(*world)
		says   []string // empty: nothing is missed
		wakes  bool
	}{
		"none":              {nil, nil, nil, true},
		"a follower's":      {[]string{"orders-3"}, nil, []string{"The volumes of orders-3 are gone", "The others hold every acknowledged write", "Do not put copies in place of the volumes"}, true},
		"the leader's":      {[]string{"orders-1"}, nil, []string{"The volumes of orders-1 are gone", "The others hold every acknowledged write", "Do not put copies in place of the volumes"}, true},
		"too many":          {[]string{"orders-1", "orders-2"}, nil, []string{"The volumes of orders-1, orders-2 are gone", "acknowledged writes may be lost", "Do not put copies in place of the volumes", "created again as a whole"}, false},
		"all":               {[]string{"orders-1", "orders-2", "orders-3"}, nil, []string{"orders-1, orders-2, orders-3", "no member could lead", beginAnew}, false},
		"a claim is broken": {nil, func(w *world) { w.claims["orders-2"].Lost = true }, []string{"The volumes of orders-2 are gone"}, true},
		"a claim is going":  {nil, func(w *world) { w.claims["orders-2"].Deleting = true }, []string{"The volumes of orders-2 are gone"}, true},
		"not its own": {nil, func(w *world) {
			w.claims["orders-4"] = &decide.Claim{UID: "scaled away", Deleting: true}
		}, nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			w := started(t, 3, 1)
			w.store.Spec.Hibernated = true
			w.untilState(decide.Hibernated)
			lossy := w.lossy
			w.loseVolumes(tc.gone...)
			w.lossy = lossy || !tc.wakes
			if tc.change != nil {
				tc.change(w)
			}
			w.ops[0].reconcile()
			c := w.condition(v1alpha1.ConditionDegraded)
			if told := c.Status == "True" && c.Reason == v1alpha1.ReasonMemberMissing; told != (tc.says != nil) {
				t.Errorf("Degraded is %s %s: %s", c.Status, c.Reason, c.Message)
			}
			for _, words := range tc.says {
				if !strings.Contains(c.Message, words) {
					t.Errorf("%q is not said: %s", words, c.Message)
				}
			}
			if strings.Contains(c.Message, "back from copies") {
				t.Errorf("a copy would be believed to be the voter that its volume was: %s", c.Message)
			}
			w.store.Spec.Hibernated = false
			w.run(time.Minute, w.kubelet)
			if leads := w.cluster.Writable() != ""; leads != tc.wakes {
				t.Errorf("a minute after it was woken: %v: %s", w.ops[0].plan.State, w.ops[0].plan.Message)
			}
		})
	}
}

// TestWokenBeforeWhoHoldsEverythingIsThere: members whose volumes went while the store slept are remade, and do not lead
// until a member is back that holds what was acknowledged.
func TestWokenBeforeWhoHoldsEverythingIsThere(t *testing.T) {
	w := started(t, 3, 1)
	w.store.Spec.Hibernated = true
	w.untilState(decide.Hibernated)
	w.loseVolumes("orders-2", "orders-3")
	w.store.Spec.Hibernated = false
	w.run(5*time.Minute, func() { w.cluster.Vanish("orders-1") })
	if w.rec().Phase != decide.PhaseFencing || w.ops[0].plan.State != decide.Blocked {
		t.Fatalf("%v: %s", w.ops[0].plan.State, w.ops[0].plan.Message)
	}
	w.cluster.Start("orders-1", "orders-1")
	w.untilState(decide.Stable)
	w.write()
	if r := w.rec(); r.Leader.Member != "orders-1" || r.WritesLost != v1alpha1.LostNone {
		t.Fatalf("%+v", r)
	}
}
