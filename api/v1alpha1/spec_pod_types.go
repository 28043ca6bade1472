package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// NodeSpec configures the data node itself. A change restarts the members one by one, the leader last.
//
// +kubebuilder:validation:XValidation:rule="!has(self.maxValueSize) || (quantity(string(self.maxValueSize)).compareTo(quantity('1Ki')) >= 0 && quantity(string(self.maxValueSize)).compareTo(quantity('64Mi')) <= 0)",message="spec.node.maxValueSize must be between 1Ki and 64Mi: a record of the log holds a write whole",fieldPath=".maxValueSize"
// +kubebuilder:validation:XValidation:rule="!has(self.memory) || quantity(string(self.memory)).compareTo(quantity('32Mi')) >= 0",message="spec.node.memory must be at least 32Mi",fieldPath=".memory"
// +kubebuilder:validation:XValidation:rule="!has(self.logRetention) || quantity(string(self.logRetention)).compareTo(quantity('1Mi')) >= 0",message="spec.node.logRetention must be at least 1Mi",fieldPath=".logRetention"
// +kubebuilder:validation:XValidation:rule="!has(self.seedRate) || (quantity(string(self.seedRate)).compareTo(quantity('1Mi')) >= 0 && quantity(string(self.seedRate)).compareTo(quantity('1Ti')) <= 0)",message="spec.node.seedRate must be between 1Mi and 1Ti, in bytes per second: below, a seed would never catch up (leave it out for no bound)",fieldPath=".seedRate"
type NodeSpec struct {
	// maxClients is the maximum number of client connections of one member. At the leader, connections that other members make to
	// forward their clients' commands count too. Default: 10000.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000000
	MaxClients *int32 `json:"maxClients,omitempty"`
	// maxValueSize is the maximum size of one value. Default: 64Mi, or 1/64 of the memory limit if that is less.
	// +optional
	MaxValueSize *resource.Quantity `json:"maxValueSize,omitempty"`
	// memory for the block cache and write buffers. Default: a quarter of resources.limits.memory; if that is not set, 256Mi, or a
	// quarter of the limit that a LimitRange of the namespace sets if that is less.
	// +optional
	Memory *resource.Quantity `json:"memory,omitempty"`
	// logRetention is how much log a member keeps beyond what it needs, so that a member that was away for a while can catch up from
	// the log instead of a snapshot. Default: an eighth of storage.size, at most 1Gi.
	// +optional
	LogRetention *resource.Quantity `json:"logRetention,omitempty"`
	// seedRate limits what one member sends to seed others, in bytes per second for all of them together, so that clients and the log
	// keep their share of disk and network. Default: no limit.
	// +optional
	SeedRate *resource.Quantity `json:"seedRate,omitempty"`
}

// SchedulingSpec says where members may run.
type SchedulingSpec struct {
	// nodeSelector of the pods.
	// +optional
	// +kubebuilder:validation:MaxProperties=32
	NodeSelector map[string]string `json:"nodeSelector,omitempty"`
	// affinity of the pods. Default: members prefer different hosts. A value replaces the default.
	// +optional
	Affinity *corev1.Affinity `json:"affinity,omitempty"`
	// tolerations of the pods.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	Tolerations []corev1.Toleration `json:"tolerations,omitempty"`
	// topologySpreadConstraints of the pods. Default: members spread over zones where possible. A value replaces the default. A
	// constraint without a labelSelector gets the store's.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=8
	TopologySpreadConstraints []corev1.TopologySpreadConstraint `json:"topologySpreadConstraints,omitempty"`
	// priorityClassName of the pods.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	PriorityClassName string `json:"priorityClassName,omitempty"`
	// terminationGracePeriodSeconds of the pods is how long a member that is told to stop may take to hand over leadership and to close
	// its files.
	// +optional
	// +kubebuilder:default=30
	// +kubebuilder:validation:Minimum=5
	// +kubebuilder:validation:Maximum=600
	TerminationGracePeriodSeconds *int64 `json:"terminationGracePeriodSeconds,omitempty"`
}

// ChildMetadata is metadata that is added to child objects.
type ChildMetadata struct {
	// labels to add.
	// +optional
	// +kubebuilder:validation:MaxProperties=32
	// +kubebuilder:validation:XValidation:rule="self.all(k, !k.startsWith('replicatedstore.io/') && !k.startsWith('app.kubernetes.io/'))",message="labels below replicatedstore.io/ and app.kubernetes.io/ are the operator's own and cannot be set"
	// +kubebuilder:validation:XValidation:rule="self.all(k, k.matches('^([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$') && k.indexOf('/') <= 253)",message="spec.podMetadata.labels: the key of a label must be a name of at most 63 letters, digits, '-', '_' and '.' that begins and ends with a letter or digit, and may have a DNS domain of at most 253 characters and a slash before it"
	Labels map[string]LabelValue `json:"labels,omitempty"`
	// annotations to add.
	// +optional
	// +kubebuilder:validation:MaxProperties=32
	// +kubebuilder:validation:XValidation:rule="self.all(k, !k.startsWith('replicatedstore.io/'))",message="annotations below replicatedstore.io/ are the operator's own and cannot be set"
	// +kubebuilder:validation:XValidation:rule="self.all(k, k.matches('^([A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?([.][A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$') && k.indexOf('/') <= 253)",message="spec.podMetadata.annotations: the key of an annotation must be a name of at most 63 letters, digits, '-', '_' and '.' that begins and ends with a letter or digit, and may have a DNS domain of at most 253 characters and a slash before it"
	Annotations map[string]string `json:"annotations,omitempty"`
}

// LabelValue is a valid Kubernetes label value. It has its own type so that its length is bounded: without a bound, the CEL rule would exceed
// the cost limit.
//
// +kubebuilder:validation:MaxLength=63
// +kubebuilder:validation:XValidation:rule="self.matches('^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$')",message="the value of a label must be empty, or at most 63 letters, digits, '-', '_' and '.' that begin and end with a letter or digit"
type LabelValue string

// ServicesSpec configures the Services for clients.
type ServicesSpec struct {
	// annotations added to the Services NAME-rw, NAME-ro and NAME-r.
	// +optional
	// +kubebuilder:validation:MaxProperties=32
	// +kubebuilder:validation:XValidation:rule="self.all(k, !k.startsWith('replicatedstore.io/'))",message="annotations below replicatedstore.io/ are the operator's own and cannot be set"
	// +kubebuilder:validation:XValidation:rule="self.all(k, k.matches('^([A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?([.][A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$') && k.indexOf('/') <= 253)",message="spec.services.annotations: the key of an annotation must be a name of at most 63 letters, digits, '-', '_' and '.' that begins and ends with a letter or digit, and may have a DNS domain of at most 253 characters and a slash before it"
	Annotations map[string]string `json:"annotations,omitempty"`
}
