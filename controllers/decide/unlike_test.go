package decide_test

import (
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
)

// blankWorld is a store with claims that never got volumes: an earlier store of this name left them, which had named a class
// that does not exist.
func blankWorld(t *testing.T) *world {
	w := newWorld(t, 3, 1)
	w.store.Spec.Storage.Size = resource.MustParse("1Gi")
	w.store.Spec.Storage.StorageClassName = new("fast")
	for _, n := range []string{"orders-1", "orders-2", "orders-3"} {
		w.create(n)
		w.cluster.Vanish(n)
		p, c := w.pods[n], w.claims[n]
		p.IP, p.Ready, p.Trouble = "", false, "Unschedulable: 0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims"
		c.Blank, c.Class = true, new("fats")
	}
	return w
}

// TestBlankClaimsAreMadeAnew: before the first leader, a claim that never got a volume, and asks for a different one than
// the spec does, is made again together with its pod, because nothing can be in it. Whatever may hold data is left alone.
func TestBlankClaimsAreMadeAnew(t *testing.T) {
	each := func(change func(*decide.Pod, *decide.Claim)) func(*world) {
		return func(w *world) {
			for n := range w.pods {
				change(w.pods[n], w.claims[n])
			}
		}
	}
	like := func(_ *decide.Pod, c *decide.Claim) { c.Class = new("fast") }
	for name, tc := range map[string]struct {
		change func(*world)
		anew   bool
	}{
		"another class": {func(*world) {}, true},
		"no class":      {each(func(_ *decide.Pod, c *decide.Claim) { c.Class = nil }), true},
		"less": {each(func(p *decide.Pod, c *decide.Claim) {
			like(p, c)
			c.Requested = resource.MustParse("512Mi")
		}), true},
		"more": {each(func(p *decide.Pod, c *decide.Claim) {
			like(p, c)
			c.Requested = resource.MustParse("2Gi")
		}), true},
		"a person asks for it":      {each(func(p *decide.Pod, _ *decide.Claim) { p.Reseed = true }), true},
		"as the spec says":          {each(like), false},
		"the spec names no class":   {func(w *world) { w.store.Spec.Storage.StorageClassName = nil }, false},
		"they have volumes":         {each(func(_ *decide.Pod, c *decide.Claim) { c.Blank = false }), false},
		"they have machines":        {each(func(p *decide.Pod, _ *decide.Claim) { p.Node = "n1" }), false},
		"they have addresses":       {each(func(p *decide.Pod, _ *decide.Claim) { p.IP = "somewhere" }), false},
		"there was a leader before": {func(w *world) { w.store.Status.LastFailover = &v1alpha1.FailoverReport{} }, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := blankWorld(t)
			tc.change(w)
			old := map[*decide.Claim]bool{}
			for _, c := range w.claims {
				old[c] = true
			}
			w.run(10 * time.Second)
			for n, c := range w.claims {
				if !old[c] {
					t.Fatalf("the claim of %s was made anew at once: somebody else may have changed it as it was made", n)
				}
			}
			w.run(2 * time.Minute)
			anew := 0
			for _, c := range w.claims {
				if !old[c] {
					anew++
				}
			}
			if p := w.ops[0].plan; tc.anew && (anew != 3 || p.State != decide.Stable) || !tc.anew && (anew > 0 || p.State == decide.Stable) {
				t.Errorf("%d claims are new; %v: %s", anew, p.State, p.Message)
			}
		})
	}
}

// TestNothingIsReseededWithoutALeader checks that nobody is advised to reseed members while nobody could fill them again.
func TestNothingIsReseededWithoutALeader(t *testing.T) {
	for name, change := range map[string]func(*decide.Claim){
		"another class": func(c *decide.Claim) { c.Class = new("fats") },
		"it may not expand": func(c *decide.Claim) {
			c.Refused = "Forbidden: only bound claims may grow"
			c.Requested = resource.Quantity{}
		},
		"it does not grow": func(c *decide.Claim) {
			c.Capacity, c.Growth, c.GrowthMessage = resource.MustParse("512Mi"), "ControllerResizeError", "no room"
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 3, 1)
			w.store.Spec.Storage.Size = resource.MustParse("1Gi")
			w.store.Spec.Storage.StorageClassName = new("fast")
			w.untilState(decide.Stable)
			for _, c := range w.claims {
				change(c)
			}
			w.ops[0].reconcile()
			if c := w.condition(v1alpha1.ConditionResizing); !strings.Contains(c.Message, v1alpha1.AnnotationReseed) {
				t.Errorf("beside a leader: %s: %s", c.Reason, c.Message)
			}
			for n := range w.pods {
				w.cluster.Vanish(n)
			}
			w.ops[0].reconcile()
			if c := w.condition(v1alpha1.ConditionResizing); strings.Contains(c.Message, v1alpha1.AnnotationReseed) || !strings.Contains(c.Message, "once a member leads") {
				t.Errorf("without one: %s: %s", c.Reason, c.Message)
			}
		})
	}
}
