package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Phase summarizes the conditions in one word: the most important thing that they say.
//
// +kubebuilder:validation:Enum=Creating;Ready;Degraded;Updating;HandingOver;FailingOver;Blocked;Unavailable;Fenced;Paused;Deleting;Hibernating;Hibernated;Waking
type Phase string

const (
	// PhaseCreating means that the store has no first leader yet.
	PhaseCreating Phase = "Creating"
	// PhaseReady means that everything is as the spec says.
	PhaseReady Phase = "Ready"
	// PhaseDegraded means that writes are acknowledged, but something is missing.
	PhaseDegraded Phase = "Degraded"
	// PhaseUpdating means that members are being added, removed, seeded or restarted, while writes are acknowledged.
	PhaseUpdating Phase = "Updating"
	// PhaseHandingOver means that a planned handover is under way.
	PhaseHandingOver Phase = "HandingOver"
	// PhaseFailingOver means that a failover is under way.
	PhaseFailingOver Phase = "FailingOver"
	// PhaseBlocked means that a failover is needed but may not proceed; see ConditionFailoverBlocked.
	PhaseBlocked Phase = "Blocked"
	// PhaseUnavailable means that writes are not acknowledged, or clients are not routed to the leader, for another reason; see
	// ConditionAvailable.
	PhaseUnavailable Phase = "Unavailable"
	// PhaseFenced means that the store is fenced by annotation.
	PhaseFenced Phase = "Fenced"
	// PhasePaused means that reconciliation is disabled by annotation.
	PhasePaused Phase = "Paused"
	// PhaseDeleting means that the store is being deleted.
	PhaseDeleting Phase = "Deleting"
	// PhaseHibernating means that the store is going to sleep.
	PhaseHibernating Phase = "Hibernating"
	// PhaseHibernated means that the store is asleep: it has volumes, but no pods.
	PhaseHibernated Phase = "Hibernated"
	// PhaseWaking means that the store is coming back from hibernation.
	PhaseWaking Phase = "Waking"
)

// ReplicatedStoreStatus is the state of a store as the operator last saw it.
type ReplicatedStoreStatus struct {
	// observedGeneration is the newest generation of the spec that was applied to every object of the store. It stays behind while the
	// store is paused, or while something in the spec cannot be applied.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// phase summarizes the conditions in one word, for people. Programs should read conditions.
	// +optional
	Phase Phase `json:"phase,omitempty"`
	// leader is the member that leads, as far as is known; empty while none does. A leader that does not answer the operator stays here
	// until it has to be replaced.
	// +optional
	Leader string `json:"leader,omitempty"`
	// epoch is the number of the recorded leadership. It only grows.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Epoch int64 `json:"epoch,omitempty"`
	// leaderSince is when the leader became writable.
	// +optional
	LeaderSince *metav1.MicroTime `json:"leaderSince,omitempty"`
	// replicas is the number of members that exist.
	// +optional
	Replicas int32 `json:"replicas"`
	// readyReplicas is the number of members that are ready.
	// +optional
	ReadyReplicas int32 `json:"readyReplicas"`
	// selector is the label selector of the members' pods, for the scale subresource.
	// +optional
	Selector string `json:"selector,omitempty"`
	// summary is text for people, shown in the columns of `kubectl get`.
	// +optional
	Summary StatusSummary `json:"summary,omitzero"`
	// replication is the commit rule in force. While no member leads, it is the rule of the newest leadership.
	// +optional
	Replication ReplicationStatus `json:"replication,omitzero"`
	// members has one entry for each member, keyed by name.
	// +optional
	// +listType=map
	// +listMapKey=name
	Members []MemberStatus `json:"members,omitempty"`
	// conditions of the store: Ready, Available, Progressing, Degraded, FailoverBlocked, Resizing and Spread.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// lastFailover is the report of the newest change of leader, whether under way or finished.
	// +optional
	LastFailover *FailoverReport `json:"lastFailover,omitempty"`
	// failovers are the reports of earlier changes of leader, newest first, at most ten, without positions.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=10
	Failovers []FailoverReport `json:"failovers,omitempty"`
	// failoverRequest is the outcome of the newest request made with the annotation replicatedstore.io/failover.
	// +optional
	FailoverRequest *FailoverRequestStatus `json:"failoverRequest,omitempty"`
	// counters counts changes of leader since the store was created.
	// +optional
	Counters FailoverCounters `json:"counters,omitzero"`
}

// StatusSummary summarizes the status as text for people.
type StatusSummary struct {
	// members, as "ready/asked for".
	// +optional
	Members string `json:"members,omitempty"`
	// sync, as "K of V": a write waits for K of the V voters. "async" if it waits for none, "-" if no rule is known. While no member
	// leads, it is the rule of the newest leadership.
	// +optional
	Sync string `json:"sync,omitempty"`
	// lag is how many writes the slowest follower is behind the leader; "-" if that is unknown.
	// +optional
	Lag string `json:"lag,omitempty"`
}

// ReplicationStatus is the commit rule in force. While no member leads, it is the rule of the newest leadership.
type ReplicationStatus struct {
	// number of voters that must hold a write before it is acknowledged. It is below the spec's number while durability is lowered.
	// +optional
	Number int32 `json:"number"`
	// voters are the followers whose acknowledgements count.
	// +optional
	// +listType=set
	Voters []string `json:"voters,omitempty"`
	// changing means that an older and a newer rule both apply, until the newer one covers every acknowledged write.
	// +optional
	Changing bool `json:"changing,omitempty"`
	// degraded means that durability is Preferred and number is below the spec's.
	// +optional
	Degraded bool `json:"degraded,omitempty"`
}

// MemberRole is the role of a member, as the member itself reports it.
//
// +kubebuilder:validation:Enum=Leader;Follower;Waiting;Fenced;Unknown
type MemberRole string

const (
	// MemberLeader is the role of a member that leads.
	MemberLeader MemberRole = "Leader"
	// MemberFollower is the role of a member that follows a leader.
	MemberFollower MemberRole = "Follower"
	// MemberWaiting is the role of a member that has started and was not told yet whom to follow.
	MemberWaiting MemberRole = "Waiting"
	// MemberFenced is the role of a member that promised an epoch in which no member leads yet.
	MemberFenced MemberRole = "Fenced"
	// MemberUnknown is the role of a member that does not answer.
	MemberUnknown MemberRole = "Unknown"
)

// MemberStatus is what is known of one member. Numbers are the last that it reported; if its role is Unknown, they may be old.
type MemberStatus struct {
	// name of the member, and of its pod and claim.
	// +required
	Name string `json:"name"`
	// role of the member, as the member itself reports it; Unknown while it does not answer.
	// +optional
	Role MemberRole `json:"role,omitempty"`
	// node is the Kubernetes node that the pod runs on.
	// +optional
	Node string `json:"node,omitempty"`
	// zone of that node, if known.
	// +optional
	Zone string `json:"zone,omitempty"`
	// ready means that the member's pod is ready: it can do the work of its role.
	// +optional
	Ready bool `json:"ready"`
	// voter means that the leader counts this member's acknowledgements.
	// +optional
	Voter bool `json:"voter"`
	// incarnation identifies the member's data directory. A member with a new incarnation is another member of the same name.
	// +optional
	Incarnation string `json:"incarnation,omitempty"`
	// epoch of the newest entry on this member's disk.
	// +optional
	Epoch int64 `json:"epoch,omitempty"`
	// position of the newest entry on this member's disk.
	// +optional
	Position int64 `json:"position,omitempty"`
	// applied is the position up to which the member has applied its log, and so what its reads see.
	// +optional
	Applied int64 `json:"applied,omitempty"`
	// lag is how many writes this member's disk is behind the leader; absent if that is unknown.
	// +optional
	Lag *int64 `json:"lag,omitempty"`
	// seeding is set while the member receives a snapshot.
	// +optional
	Seeding *SeedingStatus `json:"seeding,omitempty"`
	// storage describes the member's volume.
	// +optional
	Storage *StorageStatus `json:"storage,omitempty"`
	// quarantined is the number of entries that were cut from this member's log when it rejoined, and that are kept for a person to look
	// at.
	// +optional
	Quarantined int64 `json:"quarantined,omitempty"`
	// version of the data node.
	// +optional
	Version string `json:"version,omitempty"`
	// problem says, in one sentence, why the member's pod does not run or what a person should look at; empty if all is well.
	// +optional
	Problem string `json:"problem,omitempty"`
}

// StorageStatus is a member's volume as it was last seen. The free space is rounded to a hundredth of the volume.
type StorageStatus struct {
	// size of the volume, for people (for example "9.8GiB").
	// +optional
	Size string `json:"size,omitempty"`
	// free space for data and log, for people. It does not include the reserve that the member keeps to stay able to act.
	// +optional
	Free string `json:"free,omitempty"`
	// sizeBytes is the size of the volume, in bytes.
	// +optional
	SizeBytes int64 `json:"sizeBytes"`
	// freeBytes is the free space for data and log, in bytes.
	// +optional
	FreeBytes int64 `json:"freeBytes"`
	// level is NearlyFull or Full if little space is left. A leader whose volume is Full refuses commands that add data.
	// +optional
	Level string `json:"level,omitempty"`
}

// SeedingStatus is the progress of a member that receives a snapshot.
type SeedingStatus struct {
	// from is the member that sends the snapshot.
	// +optional
	From string `json:"from,omitempty"`
	// percent received so far, 0 to 100.
	// +optional
	Percent int32 `json:"percent"`
	// done is how much was received so far, for people (for example "1.2GiB").
	// +optional
	Done string `json:"done,omitempty"`
	// total is the size of the snapshot, for people.
	// +optional
	Total string `json:"total,omitempty"`
	// doneBytes is how much was received so far, in bytes.
	// +optional
	DoneBytes int64 `json:"doneBytes"`
	// totalBytes is the size of the snapshot, in bytes.
	// +optional
	TotalBytes int64 `json:"totalBytes"`
	// rate at which the snapshot arrives, for people (for example "85MiB/s").
	// +optional
	Rate string `json:"rate,omitempty"`
	// timeLeft is the estimated time left, for people (for example "1m20s"); absent if unknown.
	// +optional
	TimeLeft string `json:"timeLeft,omitempty"`
}
