package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ReplicatedStore is a durable, replicated key-value store that speaks the Redis protocol. It has one leader, and followers that
// replicate the leader's log.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:subresource:scale:specpath=.spec.replicas,statuspath=.status.replicas,selectorpath=.status.selector
// +kubebuilder:resource:shortName=rstore,categories=all
// +kubebuilder:printcolumn:name="Status",type=string,JSONPath=`.status.phase`,description="What the store is doing"
// +kubebuilder:printcolumn:name="Leader",type=string,JSONPath=`.status.leader`,description="The member that leads"
// +kubebuilder:printcolumn:name="Epoch",type=integer,JSONPath=`.status.epoch`,description="The leadership's number"
// +kubebuilder:printcolumn:name="Members",type=string,JSONPath=`.status.summary.members`,description="Ready members of those asked for"
// +kubebuilder:printcolumn:name="Sync",type=string,JSONPath=`.status.summary.sync`,description="Followers a write waits for, of the voters there are"
// +kubebuilder:printcolumn:name="Lag",type=string,JSONPath=`.status.summary.lag`,description="Writes by which the slowest follower is behind"
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`,priority=1,description="Why the store is or is not ready"
// +kubebuilder:printcolumn:name="Blocked",type=string,JSONPath=`.status.conditions[?(@.type=="FailoverBlocked")].reason`,priority=1,description="The gate that holds a failover back"
// +kubebuilder:printcolumn:name="Failover",type=string,JSONPath=`.spec.failover.mode`,priority=1
// +kubebuilder:printcolumn:name="Data-Loss",type=string,JSONPath=`.spec.failover.dataLoss`,priority=1
// +kubebuilder:printcolumn:name="Durability",type=string,JSONPath=`.spec.replication.synchronous.durability`,priority=1
// +kubebuilder:printcolumn:name="Last-Failover",type=date,JSONPath=`.status.lastFailover.detectedTime`,priority=1
// +kubebuilder:printcolumn:name="Lost",type=string,JSONPath=`.status.lastFailover.writesLost`,priority=1,description="Acknowledged writes lost by the last failover"
// +kubebuilder:validation:XValidation:rule="self.metadata.name.size() <= 50",message="metadata.name must be at most 50 characters: the names of its pods, Services and labels are made from it"
// +kubebuilder:validation:XValidation:rule="self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",message="metadata.name must be a DNS-1035 label (start with a lower-case letter, then letters, digits and '-'): Services are named after it"
type ReplicatedStore struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is the desired state of the store.
	// +required
	Spec ReplicatedStoreSpec `json:"spec"`
	// status is the state of the store as the operator last saw it.
	// +optional
	Status ReplicatedStoreStatus `json:"status,omitempty"`
}

// ReplicatedStoreList is a list of ReplicatedStores.
//
// +kubebuilder:object:root=true
type ReplicatedStoreList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []ReplicatedStore `json:"items"`
}
