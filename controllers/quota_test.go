package controllers

import (
	"errors"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/utils/ptr"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
)

// A member is restarted if a quota merely has no room for one more pod, but not if it has no room for the new pod in place
// of the old one.
func TestAQuotaHasToHaveRoomForTheNextPod(t *testing.T) {
	has := func(requests, limits string) corev1.ResourceRequirements {
		of := func(cpu string) corev1.ResourceList {
			return corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu), corev1.ResourceMemory: resource.MustParse("1Gi")}
		}
		return corev1.ResourceRequirements{Requests: of(requests), Limits: of(limits)}
	}
	running := corev1.PodSpec{Containers: []corev1.Container{{Resources: has("1", "2")}}}
	beside := *running.DeepCopy()
	beside.InitContainers = []corev1.Container{{Resources: has("1", "1"), RestartPolicy: ptr.To(corev1.ContainerRestartPolicyAlways)}}
	before := *running.DeepCopy()
	before.InitContainers = []corev1.Container{{Resources: has("2", "2")}}
	for name, tc := range map[string]struct {
		pod      corev1.PodSpec
		exceeded string
		deleted  bool
	}{
		"one pod more":                     {running, "requested: pods=1, used: pods=3, limited: pods=3", true},
		"the same":                         {running, "requested: requests.cpu=1, used: requests.cpu=3, limited: requests.cpu=3", true},
		"the same, in short":               {running, "requested: cpu=1,memory=1Gi, used: cpu=3,memory=3Gi, limited: cpu=3,memory=3Gi", true},
		"as much as there is room for":     {running, "requested: limits.cpu=2500m, used: limits.cpu=6, limited: limits.cpu=6500m", true},
		"more":                             {running, "requested: requests.cpu=2, used: requests.cpu=3, limited: requests.cpu=3500m", false},
		"more memory":                      {running, "requested: requests.memory=1536Mi, used: requests.memory=3Gi, limited: requests.memory=3Gi", false},
		"more of one":                      {running, "requested: limits.cpu=2,limits.memory=2Gi, used: limits.cpu=6,limits.memory=3Gi, limited: limits.cpu=6,limits.memory=3Gi", false},
		"the quota has been lowered since": {running, "requested: pods=1, used: pods=3, limited: pods=2", false},
		"with a container beside it":       {beside, "requested: cpu=2, used: cpu=6, limited: cpu=6", true},
		"with a container before it":       {before, "requested: cpu=2, used: cpu=6, limited: cpu=6", true},
		"what is not known":                {running, "requested: count/dogs=1, used: count/dogs=3, limited: count/dogs=3", true},
		"other words":                      {running, "requested much", true},
	} {
		t.Run(name, func(t *testing.T) {
			s, c := newTrying(t, apierrors.NewForbidden(pods, "orders-3", errors.New("exceeded quota: few, "+tc.exceeded)))
			c.running = &corev1.Pod{Spec: tc.pod}
			s.store.Spec.Scheduling.PriorityClassName = "somewhere"
			for range 3 {
				if _, err := s.pass(t); err != nil {
					t.Fatal(err)
				}
			}
			p := meta.FindStatusCondition(c.store.Status.Conditions, v1alpha1.ConditionProgressing)
			if slices.Contains(c.deleted, "orders-3") != tc.deleted || strings.Contains(p.Message, "rejects the new pods: pods \"orders-3\" is forbidden: exceeded quota: few, "+tc.exceeded) == tc.deleted {
				t.Errorf("deleted %v; Progressing is %s: %s", c.deleted, p.Reason, p.Message)
			}
		})
	}
}
