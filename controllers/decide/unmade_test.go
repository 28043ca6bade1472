package decide_test

import (
	"strings"
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
)

// TestWhyMembersCannotBeMadeIsTold checks that status repeats what the API server says, both about a missing member and
// about one that is asked for but never existed; and no longer once it is made, or not asked for.
func TestWhyMembersCannotBeMadeIsTold(t *testing.T) {
	const quota = "exceeded quota: few"
	for name, tc := range map[string]struct {
		begin    func(*testing.T) *world
		progress string
		degraded string
	}{
		"a new store": {func(t *testing.T) *world {
			w := newWorld(t, 3, 1)
			w.refuses = quota
			return w
		}, "0 of 3 members exist. orders-1 cannot be created: exceeded quota: few; nor can 2 more.", "orders-1 cannot be created: exceeded quota: few; orders-2 cannot"},
		"a new store, with claims": {func(t *testing.T) *world {
			w := newWorld(t, 3, 1)
			w.refuses = quota
			for _, n := range []string{"orders-1", "orders-2", "orders-3"} {
				w.claims[n] = &decide.Claim{UID: "claim"}
			}
			return w
		}, "Waiting for orders-1, orders-2, orders-3 to answer. orders-1 cannot be created: exceeded quota: few; nor can 2 more.", "orders-1 cannot be created: exceeded quota: few; orders-2 cannot"},
		"it is to grow": {func(t *testing.T) *world {
			w := started(t, 3, 1)
			w.refuses = quota
			w.store.Spec.Replicas = new(int32(4))
			return w
		}, "orders-1 leads epoch 1; 3 of 4 members exist. orders-4 cannot be created: exceeded quota: few.", "orders-4 cannot be created: exceeded quota: few."},
		"a member went": {func(t *testing.T) *world {
			w := started(t, 3, 1)
			w.refuses = quota
			w.remove("orders-3", "")
			return w
		}, "orders-3", "orders-3 cannot be created: exceeded quota: few."},
	} {
		t.Run(name, func(t *testing.T) {
			w := tc.begin(t)
			w.run(5 * time.Second)
			if c := w.condition(v1alpha1.ConditionProgressing); !strings.Contains(c.Message, tc.progress) {
				t.Errorf("Progressing is %s: %s", c.Reason, c.Message)
			}
			if c := w.condition(v1alpha1.ConditionDegraded); c.Status != "True" || c.Reason != v1alpha1.ReasonMemberMissing || !strings.Contains(c.Message, tc.degraded) {
				t.Errorf("Degraded is %s %s: %s", c.Status, c.Reason, c.Message)
			}
			w.refuses = ""
			w.until("it is well", func() bool {
				return w.ops[0].plan.State == decide.Stable && w.condition(v1alpha1.ConditionDegraded).Status == "False"
			})
		})
	}
	w := started(t, 3, 1)
	w.refuses, w.store.Spec.Replicas = quota, new(int32(4))
	w.run(5 * time.Second)
	w.store.Spec.Replicas = new(int32(3))
	w.run(time.Second)
	if c := w.condition(v1alpha1.ConditionDegraded); c.Status != "False" || w.ops[0].plan.State != decide.Stable {
		t.Errorf("no longer asked for: Degraded is %s: %s", c.Status, c.Message)
	}
}

// TestVolumesOfAnotherClassAreTold: volumes that an earlier store left keep their class.
func TestVolumesOfAnotherClassAreTold(t *testing.T) {
	for class, says := range map[string]string{
		"slow": "Every volume has the size that the spec asks for. These volumes, left by an earlier store, are not of class fast: orders-2; ",
		"fast": "Every volume has the size that the spec asks for.",
	} {
		w := started(t, 3, 1, func(s *v1alpha1.ReplicatedStoreSpec) { s.Storage.StorageClassName = new("fast") })
		for _, c := range w.claims {
			c.Class = new("fast")
		}
		w.claims["orders-2"].Class = &class
		w.run(time.Second)
		if c := w.condition(v1alpha1.ConditionResizing); c.Status != "False" || !strings.HasPrefix(c.Message, says) || class == "fast" && c.Message != says {
			t.Errorf("%s: Resizing is %s: %s", class, c.Status, c.Message)
		}
	}
}
