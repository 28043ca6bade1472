package decide_test

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/decide"
)

// TestOnlyVolumesOfTheStoreGrow checks that the volumes of members that were scaled away keep their size, even while nobody
// has a pod.
func TestOnlyVolumesOfTheStoreGrow(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*world)
		grow   string
		says   string
	}{
		"awake":  {func(*world) {}, "orders-1 orders-2 orders-3", "0 of 3 volumes"},
		"asleep": {func(w *world) { w.store.Spec.Hibernated = true; w.untilState(decide.Hibernated) }, "orders-1 orders-2 orders-3", "0 of 3 volumes"},
		"asleep, without a record": {func(w *world) { w.store.Spec.Hibernated = true; lose(w); w.untilState(decide.Hibernated) },
			"orders-1 orders-2 orders-3 orders-4", "0 of 4 volumes"},
	} {
		t.Run(name, func(t *testing.T) {
			w := started(t, 4, 1)
			w.store.Spec.Replicas = new(int32(3))
			w.until("three", func() bool { return len(w.pods) == 3 && w.ops[0].plan.State == decide.Stable })
			tc.change(w)
			w.store.Spec.Storage.Size = resource.MustParse("2Gi")
			for _, c := range w.claims {
				c.Requested, c.Capacity = resource.MustParse("1Gi"), resource.MustParse("1Gi")
			}
			op := w.ops[0]
			op.observe()
			op.decide()
			op.publish()
			var grow []string
			for _, n := range []string{"orders-1", "orders-2", "orders-3", "orders-4"} {
				if op.seen.Grows(op.seen.Members[n]) {
					grow = append(grow, n)
				}
			}
			if got := strings.Join(grow, " "); got != tc.grow {
				t.Errorf("%s grow", got)
			}
			if c := w.condition(v1alpha1.ConditionResizing); !strings.Contains(c.Message, tc.says) {
				t.Errorf("%s: %s", c.Reason, c.Message)
			}
		})
	}
}

// If a quota refuses growth, the class is not at fault and a new volume would be refused too: the way out is a different
// one.
func TestGrowthBeyondAQuota(t *testing.T) {
	for name, tc := range map[string]struct{ refused, reason string }{
		"quota": {`persistentvolumeclaims "orders-3" is forbidden: exceeded quota: q, requested: requests.storage=1Gi`, v1alpha1.ReasonApplyFailed},
		"class": {"only dynamically provisioned pvc can be resized", v1alpha1.ReasonVolumeNotExpandable},
	} {
		t.Run(name, func(t *testing.T) {
			w := started(t, 3, 1)
			w.store.Spec.Storage.Size = resource.MustParse("2Gi")
			for _, c := range w.claims {
				c.Requested, c.Capacity, c.Refused = resource.MustParse("1Gi"), resource.MustParse("1Gi"), tc.refused
			}
			w.ops[0].reconcile()
			c := w.condition(v1alpha1.ConditionResizing)
			if c.Reason != tc.reason || !strings.Contains(c.Message, "0 of 3") || strings.Contains(c.Message, v1alpha1.AnnotationReseed) == (name == "quota") {
				t.Errorf("%s: %s", c.Reason, c.Message)
			}
		})
	}
}
