package controllers

import (
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
)

// A store whose clients are led nowhere is not available, and a store that lacks any child is not ready, whatever its
// members do.
func TestStatusTellsWhatIsNotApplied(t *testing.T) {
	for name, tc := range map[string]struct {
		theirs, refuse   string
		available, ready string // the reason if it is not; "" if it is
	}{
		"nothing is missing":                {"", "", "", ""},
		"its Service is somebody else's":    {"Service/orders-rw", "", v1alpha1.ReasonNotOwned, v1alpha1.ReasonNotOwned},
		"its Service is refused":            {"", "Service/orders-rw", v1alpha1.ReasonApplyFailed, v1alpha1.ReasonApplyFailed},
		"the way to the leader is refused":  {"", "EndpointSlice/orders-rw-ipv4", v1alpha1.ReasonApplyFailed, v1alpha1.ReasonApplyFailed},
		"the Service of replicas is":        {"", "Service/orders-ro", "", v1alpha1.ReasonApplyFailed},
		"a budget is somebody else's":       {"PodDisruptionBudget/orders-nodes", "", "", v1alpha1.ReasonNotOwned},
		"the account is somebody else's":    {"ServiceAccount/orders-nodes", "", "", v1alpha1.ReasonNotOwned},
		"the account of members is refused": {"", "ServiceAccount/orders-nodes", "", v1alpha1.ReasonApplyFailed},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			c := s.whole()
			s.cache.route = nil
			look := func(kind string) metav1.Condition {
				for range 2 {
					s.memory.published = time.Time{}
					_, _ = s.pass(t)
				}
				return *meta.FindStatusCondition(c.store.Status.Conditions, kind)
			}
			c.theirs = tc.theirs
			c.refuse = func(of child, _ runtime.ApplyConfiguration) error {
				if of.key() == tc.refuse {
					return forbidden(of, "a webhook says no")
				}
				return nil
			}
			for kind, why := range map[string]string{v1alpha1.ConditionAvailable: tc.available, v1alpha1.ConditionReady: tc.ready} {
				is := look(kind)
				if (is.Status == metav1.ConditionTrue) != (why == "") || why != "" && is.Reason != why {
					t.Errorf("%s is %s %s: %s", kind, is.Status, is.Reason, is.Message)
				}
				if tc.refuse != "" && why != "" && !strings.Contains(is.Message, "a webhook says no") {
					t.Errorf("%s does not say why: %s", kind, is.Message)
				}
			}
			c.theirs, c.refuse = "", nil
			for _, kind := range []string{v1alpha1.ConditionAvailable, v1alpha1.ConditionReady} {
				if is := look(kind); is.Status != metav1.ConditionTrue {
					t.Errorf("mended, and %s is %s %s: %s", kind, is.Status, is.Reason, is.Message)
				}
			}
		})
	}
}
