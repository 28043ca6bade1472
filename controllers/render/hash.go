package render

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	api "github.com/replicatedstore/replicatedstore/api/v1alpha1"
)

// restarts is the part of the spec that a running pod cannot take up. It holds what the user wrote, not the pod that results
// from it: what another version of the operator renders from the same spec, including the operator's own default image,
// restarts nobody.
//
// Rules, enforced by the recorded hashes in the tests: a field is never renamed, and a value that is unset or equal to the
// default is left out. So a new field changes no existing hash.
type restarts struct {
	Image            string                        `json:"image,omitempty"`
	ImagePullPolicy  corev1.PullPolicy             `json:"imagePullPolicy,omitempty"`
	ImagePullSecrets []corev1.LocalObjectReference `json:"imagePullSecrets,omitempty"`
	Limits           corev1.ResourceList           `json:"limits,omitempty"`
	Requests         corev1.ResourceList           `json:"requests,omitempty"`
	Consistency      api.Consistency               `json:"consistency,omitempty"`
	Password         string                        `json:"password,omitempty"` // the Secret's name and key

	MaxClients   *int32             `json:"maxClients,omitempty"`
	MaxValueSize *resource.Quantity `json:"maxValueSize,omitempty"`
	Memory       *resource.Quantity `json:"memory,omitempty"`
	LogRetention *resource.Quantity `json:"logRetention,omitempty"`
	SeedRate     *resource.Quantity `json:"seedRate,omitempty"`

	NodeSelector      map[string]string                 `json:"nodeSelector,omitempty"`
	Affinity          *corev1.Affinity                  `json:"affinity,omitempty"`
	Tolerations       []corev1.Toleration               `json:"tolerations,omitempty"`
	Spread            []corev1.TopologySpreadConstraint `json:"topologySpreadConstraints,omitempty"`
	PriorityClassName string                            `json:"priorityClassName,omitempty"`
	GracePeriod       int64                             `json:"terminationGracePeriodSeconds,omitempty"`
}

// SpecHash returns the AnnotationSpecHash of a pod made from the present spec. A pod with a different hash must be
// restarted.
func SpecHash(s *api.ReplicatedStore) string {
	spec := s.Spec
	r := restarts{
		Image: spec.Image, ImagePullPolicy: spec.ImagePullPolicy, ImagePullSecrets: spec.ImagePullSecrets,
		Limits: spec.Resources.Limits, Requests: spec.Resources.Requests,
		MaxClients: spec.Node.MaxClients, MaxValueSize: spec.Node.MaxValueSize, Memory: spec.Node.Memory,
		LogRetention: spec.Node.LogRetention, SeedRate: spec.Node.SeedRate,
		NodeSelector: spec.Scheduling.NodeSelector, Affinity: spec.Scheduling.Affinity, Tolerations: spec.Scheduling.Tolerations,
		Spread: spec.Scheduling.TopologySpreadConstraints, PriorityClassName: spec.Scheduling.PriorityClassName,
	}
	if p := spec.Auth.PasswordSecret; p != nil {
		r.Password = p.Name + "/" + p.Key
	}
	if c := spec.Reads.Consistency; c != api.ConsistencySession {
		r.Consistency = c
	}
	if g := spec.GracePeriod(); g != api.DefaultGracePeriodSeconds {
		r.GracePeriod = g
	}
	// Deterministic: structs in field order, maps by sorted key, quantities in canonical form.
	data, err := json.Marshal(r)
	if err != nil {
		panic(fmt.Sprintf("broken invariant: a spec is JSON: %v", err))
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:8])
}
