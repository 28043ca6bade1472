package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// ReplicatedStoreSpec is the desired state of a store.
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

	// hibernated puts the store to sleep: writes stop, followers catch up, and the pods are deleted, the leader's last. The volumes
	// stay. When hibernated is set back to false, the members return and the same member leads, in a new epoch. Other changes of
	// the spec wait until then.
	// +optional
	Hibernated bool `json:"hibernated,omitempty"`

	// storage describes the volume of each member.
	// +required
	Storage StorageSpec `json:"storage"`

	// replication says when a write is acknowledged.
	// +optional
	// +kubebuilder:default={}
	Replication ReplicationSpec `json:"replication,omitzero"`

	// failover says what happens when the leader is lost.
	// +optional
	// +kubebuilder:default={}
	Failover FailoverSpec `json:"failover,omitzero"`

	// reads says what reads guarantee, on every connection; a connection cannot choose another level.
	// +optional
	// +kubebuilder:default={}
	Reads ReadsSpec `json:"reads,omitzero"`

	// auth says which clients the members let in. A change restarts the members one by one, the leader last.
	// +optional
	Auth AuthSpec `json:"auth,omitzero"`

	// image of the data node. If it is set, members run this image only, and a change restarts them. Default: the image that the
	// operator was installed with. Upgrading the operator restarts no member: a member takes up the newer image when its pod is
	// created the next time (kubectl rstore restart).
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Image string `json:"image,omitempty"`
	// imagePullPolicy of the data node's container. Default: the default of Kubernetes.
	// +optional
	// +kubebuilder:validation:Enum=Always;IfNotPresent;Never
	ImagePullPolicy corev1.PullPolicy `json:"imagePullPolicy,omitempty"`
	// imagePullSecrets names Secrets in the store's namespace.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=16
	ImagePullSecrets []corev1.LocalObjectReference `json:"imagePullSecrets,omitempty"`

	// resources of each member's container. A memory limit also sizes the data node's caches, the longest value and the Go runtime,
	// unless node.memory and node.maxValueSize say otherwise.
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

	// podMetadata is metadata added to every member's pod.
	// +optional
	PodMetadata ChildMetadata `json:"podMetadata,omitzero"`

	// services configures the Services for clients.
	// +optional
	Services ServicesSpec `json:"services,omitzero"`
}

// StorageSpec describes the volume of each member.
//
// +kubebuilder:validation:XValidation:rule="quantity(string(self.size)).compareTo(quantity(string(oldSelf.size))) >= 0",message="spec.storage.size must not shrink: a volume cannot be made smaller",fieldPath=".size"
// +kubebuilder:validation:XValidation:rule="quantity(string(self.size)).compareTo(quantity('256Mi')) >= 0",message="spec.storage.size must be at least 256Mi: the log alone preallocates its segments",fieldPath=".size"
// +kubebuilder:validation:XValidation:rule="has(self.storageClassName) == has(oldSelf.storageClassName) && (!has(self.storageClassName) || self.storageClassName == oldSelf.storageClassName)",message="spec.storage.storageClassName is immutable: a volume cannot change its class (make a new store and copy the data)"
type StorageSpec struct {
	// size of each member's volume. It may grow if the storage class allows expansion, and must not shrink.
	// +required
	Size resource.Quantity `json:"size"`
	// storageClassName of each member's volume. Default: the cluster's default class. Immutable.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	StorageClassName *string `json:"storageClassName,omitempty"`
	// retentionPolicy says what happens to volumes that are no longer needed.
	// +optional
	// +kubebuilder:default={}
	RetentionPolicy RetentionPolicy `json:"retentionPolicy,omitzero"`
}

// RetentionPolicy says what happens to the members' claims, as in a StatefulSet.
type RetentionPolicy struct {
	// whenDeleted says what happens to the claims when the store is deleted. With Retain, a store that is created again under the same
	// name finds its data.
	// +optional
	// +kubebuilder:default=Retain
	WhenDeleted RetentionAction `json:"whenDeleted,omitempty"`
	// whenScaled says what happens to a member's claim when the member is scaled away. With Retain, scaling up again continues from its
	// data. Delete deletes it, unless it may hold the only copy of acknowledged writes. Once Delete is set, claims that were kept from
	// earlier scale-downs are deleted as well.
	// +optional
	// +kubebuilder:default=Retain
	WhenScaled RetentionAction `json:"whenScaled,omitempty"`
}

// RetentionAction says what happens to a claim.
//
// +kubebuilder:validation:Enum=Retain;Delete
type RetentionAction string

const (
	// RetainClaim keeps the claim.
	RetainClaim RetentionAction = "Retain"
	// DeleteClaim deletes the claim, and with it the data.
	DeleteClaim RetentionAction = "Delete"
)

// ReplicationSpec says when a write is acknowledged.
type ReplicationSpec struct {
	// synchronous says how many followers must hold a write before it is acknowledged.
	// +optional
	// +kubebuilder:default={}
	Synchronous SynchronousSpec `json:"synchronous,omitzero"`
	// writeTimeoutSeconds is how long a write waits for the followers that must hold it; after that it is answered "outcome unknown".
	// A change takes effect with the next leadership.
	// +optional
	// +kubebuilder:default=10
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=300
	WriteTimeoutSeconds *int32 `json:"writeTimeoutSeconds,omitempty"`
}

// SynchronousSpec says how many followers must hold a write before it is acknowledged.
type SynchronousSpec struct {
	// number of followers, besides the leader, that must have a write on disk before it is acknowledged. 0 is asynchronous: the
	// leader alone acknowledges writes, and a failover may lose the newest ones.
	// +optional
	// +kubebuilder:default=1
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=8
	Number *int32 `json:"number,omitempty"`
	// durability says what happens while fewer than number followers answer. Required: writes wait. Preferred: number is lowered to
	// the followers that answer. The lower number is recorded, and shown in status, before the first weaker acknowledgement; if a
	// leader is elected while status cannot be written, it is shown as soon as it can be.
	// +optional
	// +kubebuilder:default=Required
	Durability Durability `json:"durability,omitempty"`
}

// Durability says whether spec.replication.synchronous.number may be lowered.
//
// +kubebuilder:validation:Enum=Required;Preferred
type Durability string

const (
	// DurabilityRequired never lowers the number: writes wait instead.
	DurabilityRequired Durability = "Required"
	// DurabilityPreferred lowers the number, and says so in status, instead of letting writes wait.
	DurabilityPreferred Durability = "Preferred"
)

// ReadsSpec says what reads guarantee.
type ReadsSpec struct {
	// consistency of reads. Eventual: a member answers with whatever it has applied. Session: a connection reads its own writes and
	// never goes back in time. LeaderWindow: the leader answers only within its read window, a follower as with Session.
	// Linearizable: as LeaderWindow, and followers forward reads to the leader.
	// +optional
	// +kubebuilder:default=Session
	Consistency Consistency `json:"consistency,omitempty"`
}

// AuthSpec says which clients the members let in.
type AuthSpec struct {
	// passwordSecret is the Secret that holds the clients' password. Without it, everybody who reaches the client ports may do
	// everything.
	// +optional
	PasswordSecret *SecretKey `json:"passwordSecret,omitempty"`
}

// SecretKey selects one value of a Secret.
type SecretKey struct {
	// name of a Secret in the store's namespace.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`
	Name string `json:"name"`
	// key of the password in the Secret's data. Each line of the value that is not empty is one password, blanks included. There may be at
	// most 8 passwords of at most 4 KiB each; if there are several, each must have at least 8 bytes. To replace a password, put the new one
	// before it, and remove the old one once nobody uses it. Members take up a change within about two minutes, without a restart.
	// +optional
	// +kubebuilder:default=password
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[-._a-zA-Z0-9]+$`
	Key string `json:"key,omitempty"`
}

// Consistency is a level of guarantees for reads.
//
// +kubebuilder:validation:Enum=Eventual;Session;LeaderWindow;Linearizable
type Consistency string

// Levels of consistency, weakest first; see ReadsSpec.
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
	// mode says who starts a failover. Automatic: the operator does, as soon as it is safe. Manual: the operator says what is wrong and
	// which member could lead, and waits for a person to set the annotation replicatedstore.io/failover.
	// +optional
	// +kubebuilder:default=Automatic
	Mode FailoverMode `json:"mode,omitempty"`
	// leaseDurationSeconds is how long the leader's Lease lives without renewal. It is the backstop of failure detection; followers
	// usually report a lost leader sooner. In an asynchronous store, a leader that is cut off acknowledges writes for at most two
	// thirds of it.
	// +optional
	// +kubebuilder:default=6
	// +kubebuilder:validation:Minimum=3
	// +kubebuilder:validation:Maximum=60
	LeaseDurationSeconds *int32 `json:"leaseDurationSeconds,omitempty"`
	// dataLoss says whether a failover, automatic or requested, may lose acknowledged writes. Forbid: never; it waits instead. Bounded:
	// only if the leader is known to have been at most maxLostWrites ahead when it was last heard; what it acknowledged after that is
	// lost, too. Allow: availability comes first. status.lastFailover says what was lost.
	// +optional
	// +kubebuilder:default=Forbid
	DataLoss DataLoss `json:"dataLoss,omitempty"`
	// preferredZones lists the zones where the leader should be, the best first. It breaks ties between members that hold the same
	// data, and never outweighs data.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="self.all(z, self.exists_one(other, other == z))",message="spec.failover.preferredZones names a zone twice"
	PreferredZones []string `json:"preferredZones,omitempty"`
	// returnToPreferredZone hands leadership over to a member in a better zone of preferredZones, once everything has been well for a
	// minute. Otherwise leadership stays where the last failover put it.
	// +optional
	ReturnToPreferredZone bool `json:"returnToPreferredZone,omitempty"`
	// maxLostWrites is the bound for dataLoss Bounded: how many writes ahead the leader may have been when it was last heard. If one
	// change of leader loses writes of several leaders, the losses are added up.
	// +optional
	// +kubebuilder:validation:Minimum=1
	MaxLostWrites *int64 `json:"maxLostWrites,omitempty"`
}

// FailoverMode says who starts a failover.
//
// +kubebuilder:validation:Enum=Automatic;Manual
type FailoverMode string

const (
	// FailoverAutomatic lets the operator start a failover.
	FailoverAutomatic FailoverMode = "Automatic"
	// FailoverManual waits for a person to start it.
	FailoverManual FailoverMode = "Manual"
)

// DataLoss says whether a failover may lose acknowledged writes.
//
// +kubebuilder:validation:Enum=Forbid;Allow;Bounded
type DataLoss string

const (
	// DataLossForbid never loses an acknowledged write.
	DataLossForbid DataLoss = "Forbid"
	// DataLossAllow puts availability first and loses what it must.
	DataLossAllow DataLoss = "Allow"
	// DataLossBounded allows a failover if the leader was at most maxLostWrites ahead when it was last heard.
	DataLossBounded DataLoss = "Bounded"
)
