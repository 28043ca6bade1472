package render_test

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/utils/ptr"

	api "github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/controllers/render"
)

// TestSpecHash checks that the hash changes with what a running pod cannot take up, and with nothing else.
func TestSpecHash(t *testing.T) {
	base := render.SpecHash(store("orders"))
	same := map[string]change{
		"replicas":    sized(5, 2),
		"storage":     func(s *api.ReplicatedStoreSpec) { s.Storage.Size = resource.MustParse("20Gi") },
		"little more": func(s *api.ReplicatedStoreSpec) { s.Storage.Size = resource.MustParse("2Gi") },
		"labels":      func(s *api.ReplicatedStoreSpec) { s.PodMetadata.Labels = map[string]api.LabelValue{"team": "payments"} },
		"failover":    func(s *api.ReplicatedStoreSpec) { s.Failover.Mode = api.FailoverManual },
		"annotations": func(s *api.ReplicatedStoreSpec) { s.Services.Annotations = map[string]string{"a": "b"} },
		"the default said": func(s *api.ReplicatedStoreSpec) {
			s.Reads.Consistency = api.ConsistencySession
			s.Scheduling.TerminationGracePeriodSeconds = ptr.To[int64](api.DefaultGracePeriodSeconds)
		},
	}
	for name, c := range same {
		if got := render.SpecHash(store("orders", c)); got != base {
			t.Errorf("%s: hash is %s, want %s as before: no restart is needed", name, got, base)
		}
	}
	restart := map[string]change{
		"image":     func(s *api.ReplicatedStoreSpec) { s.Image = "elsewhere/node:v2" },
		"pull":      func(s *api.ReplicatedStoreSpec) { s.ImagePullPolicy = corev1.PullAlways },
		"secrets":   func(s *api.ReplicatedStoreSpec) { s.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "mirror"}} },
		"memory":    withMemoryLimit("1Gi"),
		"password":  withPassword("orders-auth", "password"),
		"its key":   withPassword("orders-auth", "clients"),
		"reads":     func(s *api.ReplicatedStoreSpec) { s.Reads.Consistency = api.ConsistencyEventual },
		"clients":   func(s *api.ReplicatedStoreSpec) { s.Node.MaxClients = ptr.To[int32](7) },
		"values":    func(s *api.ReplicatedStoreSpec) { s.Node.MaxValueSize = ptr.To(resource.MustParse("1Mi")) },
		"caches":    func(s *api.ReplicatedStoreSpec) { s.Node.Memory = ptr.To(resource.MustParse("64Mi")) },
		"retention": func(s *api.ReplicatedStoreSpec) { s.Node.LogRetention = ptr.To(resource.MustParse("1Gi")) },
		"seed rate": func(s *api.ReplicatedStoreSpec) { s.Node.SeedRate = ptr.To(resource.MustParse("50Mi")) },
		"nodes":     func(s *api.ReplicatedStoreSpec) { s.Scheduling.NodeSelector = map[string]string{"disk": "fast"} },
		"affinity":  func(s *api.ReplicatedStoreSpec) { s.Scheduling.Affinity = &corev1.Affinity{} },
		"taints":    func(s *api.ReplicatedStoreSpec) { s.Scheduling.Tolerations = []corev1.Toleration{{Key: "db"}} },
		"spread": func(s *api.ReplicatedStoreSpec) {
			s.Scheduling.TopologySpreadConstraints = []corev1.TopologySpreadConstraint{{MaxSkew: 2}}
		},
		"priority": func(s *api.ReplicatedStoreSpec) { s.Scheduling.PriorityClassName = "high" },
		"grace":    func(s *api.ReplicatedStoreSpec) { s.Scheduling.TerminationGracePeriodSeconds = ptr.To[int64](60) },
	}
	seen := map[string]string{base: "the spec as it was"}
	for name, c := range restart {
		got := render.SpecHash(store("orders", c))
		if before, ok := seen[got]; ok {
			t.Errorf("%s: hash %s is that of %s too", name, got, before)
		}
		seen[got] = name
	}
	if got := render.Pod(store("orders"), 1, options).Annotations[api.AnnotationSpecHash]; got != base {
		t.Errorf("the pod says %s, SpecHash says %s", got, base)
	}
}

// TestRecordedHashes: existing pods carry these hashes. If this test fails, the change at hand would restart every member of
// every store when the operator is upgraded: make it preserve the hashes of existing specs. Add to the table, never edit it.
func TestRecordedHashes(t *testing.T) {
	for name, tc := range map[string]struct {
		store *api.ReplicatedStore
		hash  string
	}{
		"the smallest":      {store("orders"), "44136fa355b3678a"},
		"a memory limit":    {store("limited", sized(1, 0), withMemoryLimit("1Gi")), "c733134a9f94898d"},
		"a password":        {store("orders", withPassword("orders-auth", "password")), "f89bee7d240a0350"},
		"everything is set": {store("orders", sized(1, 0), tuned), "abe45cb85e7eef2c"},
	} {
		if got := render.SpecHash(tc.store); got != tc.hash {
			t.Errorf("%s: hash %s, recorded %s", name, got, tc.hash)
		}
	}
}

// TestOperatorUpgradeRestartsNobody checks that another default image of the operator is used by pods that are made from
// then on, and causes no pod to be remade. The store's own image takes precedence.
func TestOperatorUpgradeRestartsNobody(t *testing.T) {
	newer := render.Options{Image: "registry.example/replicatedstore/node:v9"}
	old, now := render.Pod(store("orders"), 1, options), render.Pod(store("orders"), 1, newer)
	if old.Annotations[api.AnnotationSpecHash] != now.Annotations[api.AnnotationSpecHash] {
		t.Error("an upgrade of the operator restarts every store")
	}
	if got := *now.Spec.Containers[0].Image; got != newer.Image {
		t.Errorf("a pod made now runs %s", got)
	}
	own := store("orders", func(s *api.ReplicatedStoreSpec) { s.Image = "mirror/node:v2" })
	if got := *render.Pod(own, 1, newer).Spec.Containers[0].Image; got != "mirror/node:v2" {
		t.Errorf("the store names its image, and the pod runs %s", got)
	}
}

// TestRestartMark checks that a request to restart marks the pods made after it, and does not change their hash.
func TestRestartMark(t *testing.T) {
	s := store("orders")
	if _, marked := render.Pod(s, 1, options).Annotations[api.AnnotationRestart]; marked {
		t.Error("marked without a request")
	}
	s.Annotations = map[string]string{api.AnnotationRestart: "2026-01-02T03:04:05Z"}
	pod := render.Pod(s, 1, options)
	if got := pod.Annotations[api.AnnotationRestart]; got != "2026-01-02T03:04:05Z" {
		t.Errorf("mark %q", got)
	}
	if got := pod.Annotations[api.AnnotationSpecHash]; got != render.SpecHash(store("orders")) {
		t.Error("removing the annotation later would restart everybody")
	}
}
