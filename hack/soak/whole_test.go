package main

import (
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
)

// A follower's lag is tolerated only in a store that serves, changes nothing and misses no member.
func TestOnlyLags(t *testing.T) {
	for name, tc := range map[string]struct {
		available, progressing metav1.ConditionStatus
		degraded               string
		want                   bool
	}{
		"a follower is behind":  {metav1.ConditionTrue, metav1.ConditionFalse, v1alpha1.ReasonMemberLagging, true},
		"a member is missing":   {metav1.ConditionTrue, metav1.ConditionFalse, v1alpha1.ReasonMemberMissing, false},
		"writes wait":           {metav1.ConditionFalse, metav1.ConditionFalse, v1alpha1.ReasonMemberLagging, false},
		"something is changing": {metav1.ConditionTrue, metav1.ConditionTrue, v1alpha1.ReasonMemberLagging, false},
		"nothing was said yet":  {"", "", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			rs := &v1alpha1.ReplicatedStore{}
			for _, c := range []metav1.Condition{
				{Type: v1alpha1.ConditionAvailable, Status: tc.available},
				{Type: v1alpha1.ConditionProgressing, Status: tc.progressing},
				{Type: v1alpha1.ConditionDegraded, Status: metav1.ConditionTrue, Reason: tc.degraded},
			} {
				if c.Status != "" {
					meta.SetStatusCondition(&rs.Status.Conditions, c)
				}
			}
			if got := onlyLags(rs); got != tc.want {
				t.Errorf("%v", got)
			}
		})
	}
}
