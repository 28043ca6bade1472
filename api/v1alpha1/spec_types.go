package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// ReplicatedStoreSpec is what a store should be.
//
// +kubebuilder:validation:XValidation:rule="self.replication.synchronous.number < self.replicas",message="spec.replication.synchronous.number must be below spec.replicas: the leader is one of the replicas, and a write can wait for followers only (0 for a store of one member)",fieldPath=".replication.synchronous.number"
// +kubebuilder:validation:XValidation:rule="self.failover.dataLoss != 'Bounded' || self.replication.synchronous.number == 0 || self.replication.synchronous.durability == 'Preferred'",message="spec.failover.dataLoss Bounded is for stores that acknowledge writes asynchronously (spec.replication.synchronous.number 0, or durability Preferred): with Required durability a failover loses nothing or is an emergency without a known bound",fieldPath=".failover.dataLoss"
// +kubebuilder:validation:XValidation:rule="!has(self.node) || !has(self.node.logRetention) || quantity(string(self.node.logRetention)).add(quantity(string(self.node.logRetention))).compareTo(quantity(string(self.storage.size))) <= 0",message="spec.node.logRetention must be at most half of spec.storage.size: the volume holds the data too",fieldPath=".node.logRetention"
// +kubebuilder:validation:XValidation:rule="!has(self.node) || !has(self.node.memory) || !has(self.resources) || !has(self.resources.limits) || !('memory' in self.resources.limits) || quantity(string(self.node.memory)).compareTo(quantity(string(self.resources.limits['memory']))) < 0",message="spec.node.memory must be below spec.resources.limits.memory: connections and the log's tail need the rest",fieldPath=".node.memory"
type ReplicatedStoreSpec struct {
	// replicas is the number of members, the leader included.
	// +optional
	// +kubebuilder:default=3
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=9
	Replicas *int32 `json:"replicas,omitempty"`

	// hibernated puts the store to sleep: writes stop, every follower gets everything, and the pods go, the leader's last. The
	// volumes stay. Set back, the members return and the same one leads, in the next epoch. Other changes of the spec wait until
	// then.
	// +optional
	Hibernated bool `json:"hibernated,omitempty"`

	// storage is the volume of each member.
	// +required
	Storage StorageSpec `json:"storage"`

	// replication says when a write counts as done.
	// +optional
	// +kubebuilder:default={}
	Replication ReplicationSpec `json:"replication,omitzero"`

	// failover says what happens when the leader is lost.
	// +optional
	// +kubebuilder:default={}
	Failover FailoverSpec `json:"failover,omitzero"`

	// reads of every connection, which cannot choose otherwise.
	// +optional
	// +kubebuilder:default={}
	Reads ReadsSpec `json:"reads,omitzero"`

	// auth says whom the members let in. A change restarts them one by one, the leader last.
	// +optional
	Auth AuthSpec `json:"auth,omitzero"`

	// image of the data node. Default: the image that the operator was installed with. Upgrading the operator restarts nobody:
	// a member takes up the operator's newer image when its pod is made next (kubectl rstore restart). An image named here is
	// the only one that counts, and changing it restarts the members.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Image string `json:"image,omitempty"`
	// imagePullPolicy of the data node's container. Default: Kubernetes' own.
	// +optional
	// +kubebuilder:validation:Enum=Always;IfNotPresent;Never
	ImagePullPolicy corev1.PullPolicy `json:"imagePullPolicy,omitempty"`
	// imagePullSecrets name Secrets of the store's namespace.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=16
	ImagePullSecrets []corev1.LocalObjectReference `json:"imagePullSecrets,omitempty"`

	// resources of each member's container. A memory limit also sizes the node's caches, unless node.memory says otherwise.
	// +optional
	// +kubebuilder:validation:XValidation:rule="!has(self.claims)",message="spec.resources.claims is not supported: a member needs CPU and memory only"
	// +kubebuilder:validation:XValidation:rule="!has(self.limits) || !('memory' in self.limits) || quantity(string(self.limits['memory'])).compareTo(quantity('256Mi')) >= 0",message="spec.resources.limits.memory must be at least 256Mi",fieldPath=".limits"
	// +kubebuilder:validation:XValidation:rule="!has(self.requests) || !has(self.limits) || !('cpu' in self.requests) || !('cpu' in self.limits) || quantity(string(self.requests['cpu'])).compareTo(quantity(string(self.limits['cpu']))) <= 0",message="spec.resources.requests.cpu must be at most spec.resources.limits.cpu",fieldPath=".requests"
	// +kubebuilder:validation:XValidation:rule="!has(self.requests) || !has(self.limits) || !('memory' in self.requests) || !('memory' in self.limits) || quantity(string(self.requests['memory'])).compareTo(quantity(string(self.limits['memory']))) <= 0",message="spec.resources.requests.memory must be at most spec.resources.limits.memory",fieldPath=".requests"
	// +kubebuilder:validation:XValidation:rule="!has(self.requests) || !has(self.limits) || !('ephemeral-storage' in self.requests) || !('ephemeral-storage' in self.limits) || quantity(string(self.requests['ephemeral-storage'])).compareTo(quantity(string(self.limits['ephemeral-storage']))) <= 0",message="spec.resources.requests.ephemeral-storage must be at most spec.resources.limits.ephemeral-storage",fieldPath=".requests"
	Resources corev1.ResourceRequirements `json:"resources,omitzero"`

	// node is the configuration of the data node itself.
	// +optional
	Node NodeSpec `json:"node,omitzero"`

	// scheduling says where members may run.
	// +optional
	Scheduling SchedulingSpec `json:"scheduling,omitzero"`

	// podMetadata is added to every member's pod.
	// +optional
	PodMetadata ChildMetadata `json:"podMetadata,omitzero"`

	// services configures the Services for clients.
	// +optional
	Services ServicesSpec `json:"services,omitzero"`
}

// StorageSpec is the volume of each member.
//
// +kubebuilder:validation:XValidation:rule="quantity(string(self.size)).compareTo(quantity(string(oldSelf.size))) >= 0",message="spec.storage.size must not shrink: a volume cannot be made smaller",fieldPath=".size"
// +kubebuilder:validation:XValidation:rule="quantity(string(self.size)).compareTo(quantity('256Mi')) >= 0",message="spec.storage.size must be at least 256Mi: the log alone preallocates its segments",fieldPath=".size"
// +kubebuilder:validation:XValidation:rule="has(self.storageClassName) == has(oldSelf.storageClassName) && (!has(self.storageClassName) || self.storageClassName == oldSelf.storageClassName)",message="spec.storage.storageClassName is immutable: a volume cannot change its class (make a new store and copy the data)"
type StorageSpec struct {
	// size of each member's volume. It may grow where the storage class allows it, and never shrinks.
	// +required
	Size resource.Quantity `json:"size"`
	// storageClassName of each member's volume. Default: the cluster's default class. Immutable.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	StorageClassName *string `json:"storageClassName,omitempty"`
	// retentionPolicy says what becomes of volumes that are not needed any more.
	// +optional
	// +kubebuilder:default={}
	RetentionPolicy RetentionPolicy `json:"retentionPolicy,omitzero"`
}

// RetentionPolicy is what becomes of a member's claim, as in a StatefulSet.
type RetentionPolicy struct {
	// whenDeleted: the store is deleted. Retain keeps every claim: a store made again under the same name finds its data.
	// +optional
	// +kubebuilder:default=Retain
	WhenDeleted RetentionAction `json:"whenDeleted,omitempty"`
	// whenScaled: the member is scaled away. Retain keeps its claim: scaling up again continues from that data.
	// Delete deletes it, unless it may hold the only copy of acknowledged writes.
	// +optional
	// +kubebuilder:default=Retain
	WhenScaled RetentionAction `json:"whenScaled,omitempty"`
}

// RetentionAction is what becomes of a claim.
//
// +kubebuilder:validation:Enum=Retain;Delete
type RetentionAction string

const (
	// RetainClaim keeps the claim.
	RetainClaim RetentionAction = "Retain"
	// DeleteClaim deletes it, and so its data.
	DeleteClaim RetentionAction = "Delete"
)

// ReplicationSpec says when a write counts as done.
type ReplicationSpec struct {
	// synchronous says how many followers must hold a write before it is acknowledged.
	// +optional
	// +kubebuilder:default={}
	Synchronous SynchronousSpec `json:"synchronous,omitzero"`
	// writeTimeoutSeconds bounds how long a write waits for its followers; after that it is answered "outcome unknown". A
	// change takes effect with the next leadership.
	// +optional
	// +kubebuilder:default=10
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=300
	WriteTimeoutSeconds *int32 `json:"writeTimeoutSeconds,omitempty"`
}

// SynchronousSpec says how many followers must hold a write before it is acknowledged.
type SynchronousSpec struct {
	// number of followers that have a write on disk, besides the leader, before it is acknowledged. 0 is asynchronous: the
	// leader alone, and a failover may lose the newest writes.
	// +optional
	// +kubebuilder:default=1
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=8
	Number *int32 `json:"number,omitempty"`
	// durability says what happens while fewer than number followers can answer. Required: writes wait. Preferred: number is
	// lowered to what there is, which is recorded, and said in status, before the first weaker acknowledgement (or, where
	// status cannot be written while a leader is elected, as soon as it can).
	// +optional
	// +kubebuilder:default=Required
	Durability Durability `json:"durability,omitempty"`
}

// Durability is how firmly spec.replication.synchronous.number holds.
//
// +kubebuilder:validation:Enum=Required;Preferred
type Durability string

const (
	// DurabilityRequired lets writes wait rather than weaken.
	DurabilityRequired Durability = "Required"
	// DurabilityPreferred weakens, openly, rather than let writes wait.
	DurabilityPreferred Durability = "Preferred"
)

// ReadsSpec is what reads promise.
type ReadsSpec struct {
	// consistency of reads. Eventual: whatever the member has applied. Session: a connection reads its own writes and never
	// goes back in time. LeaderWindow: the leader, within its read window. Linearizable: the leader, after proving that it
	// still leads.
	// +optional
	// +kubebuilder:default=Session
	Consistency Consistency `json:"consistency,omitempty"`
}

// AuthSpec says whom the members let in.
type AuthSpec struct {
	// passwordSecret is where the password of clients is. Without, everybody who reaches the ports of clients may do everything.
	// +optional
	PasswordSecret *SecretKey `json:"passwordSecret,omitempty"`
}

// SecretKey is one value of a Secret.
type SecretKey struct {
	// name of a Secret of the store's namespace.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`
	Name string `json:"name"`
	// key of the password in the Secret's data. Every line of it that is not empty is a password, blanks included: 8 at most, of 4 KiB at
	// most, and of 8 bytes at least where there are several. To replace one, put the new one before it, and take the old one away once nobody
	// uses it. Members take that up within two minutes or so, without a restart.
	// +optional
	// +kubebuilder:default=password
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[-._a-zA-Z0-9]+$`
	Key string `json:"key,omitempty"`
}

// Consistency of reads.
//
// +kubebuilder:validation:Enum=Eventual;Session;LeaderWindow;Linearizable
type Consistency string

// Levels of consistency, weakest first.
const (
	ConsistencyEventual     Consistency = "Eventual"
	ConsistencySession      Consistency = "Session"
	ConsistencyLeaderWindow Consistency = "LeaderWindow"
	ConsistencyLinearizable Consistency = "Linearizable"
)

// FailoverSpec says what happens when the leader is lost.
//
// +kubebuilder:validation:XValidation:rule="has(self.maxLostWrites) == (has(self.dataLoss) && self.dataLoss == 'Bounded')",message="spec.failover.maxLostWrites must be set exactly when spec.failover.dataLoss is Bounded",fieldPath=".maxLostWrites"
// +kubebuilder:validation:XValidation:rule="!has(self.returnToPreferredZone) || !self.returnToPreferredZone || (has(self.preferredZones) && self.preferredZones.size() > 0)",message="spec.failover.returnToPreferredZone needs spec.failover.preferredZones: there is nowhere to return to",fieldPath=".returnToPreferredZone"
type FailoverSpec struct {
	// mode: Automatic fails over as soon as it is safe. Manual says what is wrong and who could lead, and waits for a person
	// (the annotation replicatedstore.io/failover).
	// +optional
	// +kubebuilder:default=Automatic
	Mode FailoverMode `json:"mode,omitempty"`
	// leaseDurationSeconds is how long the leader's Lease lives without renewal. It is the backstop of detection (followers
	// usually tell first), and for asynchronous stores also how long a leader that is cut off may go on.
	// +optional
	// +kubebuilder:default=6
	// +kubebuilder:validation:Minimum=3
	// +kubebuilder:validation:Maximum=60
	LeaseDurationSeconds *int32 `json:"leaseDurationSeconds,omitempty"`
	// dataLoss: may an automatic failover lose acknowledged writes? Forbid: never; it waits instead. Bounded: if the leader was
	// at most maxLostWrites ahead when it was last heard, and that is known. Allow: availability first. What was lost is in
	// status.lastFailover.
	// +optional
	// +kubebuilder:default=Forbid
	DataLoss DataLoss `json:"dataLoss,omitempty"`
	// preferredZones are where leaders should be, the best first. Among members that hold the same, one in an earlier zone of this
	// list leads; it never outweighs data.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="self.all(z, self.exists_one(other, other == z))",message="spec.failover.preferredZones names a zone twice"
	PreferredZones []string `json:"preferredZones,omitempty"`
	// returnToPreferredZone: once everything is as it should be, and has been for a minute, leadership is handed over to a member
	// in a better zone of preferredZones. Otherwise it stays where the last failover put it.
	// +optional
	ReturnToPreferredZone bool `json:"returnToPreferredZone,omitempty"`
	// maxLostWrites is the bound of dataLoss Bounded, in acknowledged writes.
	// +optional
	// +kubebuilder:validation:Minimum=1
	MaxLostWrites *int64 `json:"maxLostWrites,omitempty"`
}

// FailoverMode says who starts a failover.
//
// +kubebuilder:validation:Enum=Automatic;Manual
type FailoverMode string

const (
	// FailoverAutomatic lets the operator start it.
	FailoverAutomatic FailoverMode = "Automatic"
	// FailoverManual waits for a person.
	FailoverManual FailoverMode = "Manual"
)

// DataLoss says what a failover may cost.
//
// +kubebuilder:validation:Enum=Forbid;Allow;Bounded
type DataLoss string

const (
	// DataLossForbid never loses an acknowledged write.
	DataLossForbid DataLoss = "Forbid"
	// DataLossAllow loses what it must.
	DataLossAllow DataLoss = "Allow"
	// DataLossBounded loses at most maxLostWrites.
	DataLossBounded DataLoss = "Bounded"
)
