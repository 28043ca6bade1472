package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Phase is one word for what the store is doing: the strongest of what the conditions say.
//
// +kubebuilder:validation:Enum=Creating;Ready;Degraded;Updating;HandingOver;FailingOver;Blocked;Unavailable;Fenced;Paused;Deleting;Hibernating;Hibernated;Waking
type Phase string

const (
	// PhaseCreating: no first leader yet.
	PhaseCreating Phase = "Creating"
	// PhaseReady: everything is as the spec says.
	PhaseReady Phase = "Ready"
	// PhaseDegraded: writes are acknowledged, but something is missing.
	PhaseDegraded Phase = "Degraded"
	// PhaseUpdating: members are being added, removed, seeded or restarted; writes are acknowledged.
	PhaseUpdating Phase = "Updating"
	// PhaseHandingOver: a planned handover is under way.
	PhaseHandingOver Phase = "HandingOver"
	// PhaseFailingOver: a new leader is being made.
	PhaseFailingOver Phase = "FailingOver"
	// PhaseBlocked: a failover is needed and may not go on; see FailoverBlocked.
	PhaseBlocked Phase = "Blocked"
	// PhaseUnavailable: writes are not acknowledged for another reason; see Available.
	PhaseUnavailable Phase = "Unavailable"
	// PhaseFenced: fenced by annotation.
	PhaseFenced Phase = "Fenced"
	// PhasePaused: reconciliation is disabled by annotation.
	PhasePaused Phase = "Paused"
	// PhaseDeleting: being deleted.
	PhaseDeleting Phase = "Deleting"
	// PhaseHibernating: going to sleep.
	PhaseHibernating Phase = "Hibernating"
	// PhaseHibernated: asleep: no pods, only volumes.
	PhaseHibernated Phase = "Hibernated"
	// PhaseWaking: coming back from hibernation.
	PhaseWaking Phase = "Waking"
)

// ReplicatedStoreStatus is what the operator last saw.
type ReplicatedStoreStatus struct {
	// observedGeneration is the generation of the spec that this status is about.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// phase is one word for what the store is doing. Programs should read conditions.
	// +optional
	Phase Phase `json:"phase,omitempty"`
	// leader is the member that leads; empty while none does.
	// +optional
	Leader string `json:"leader,omitempty"`
	// epoch is the number of the recorded leadership; it only grows.
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
	// selector of the members' pods, for the scale subresource.
	// +optional
	Selector string `json:"selector,omitempty"`
	// summary is for people: the columns of `kubectl get`.
	// +optional
	Summary StatusSummary `json:"summary,omitzero"`
	// replication is the commit rule in force; while nobody leads, that of the newest leadership.
	// +optional
	Replication ReplicationStatus `json:"replication,omitzero"`
	// members, one entry each, by name.
	// +optional
	// +listType=map
	// +listMapKey=name
	Members []MemberStatus `json:"members,omitempty"`
	// conditions: Ready, Available, Progressing, Degraded, FailoverBlocked, Resizing, Spread.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// lastFailover is the report of the newest change of leader, under way or finished.
	// +optional
	LastFailover *FailoverReport `json:"lastFailover,omitempty"`
	// failovers are the reports of the changes of leader before, the newest first, at most ten; without the positions.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=10
	Failovers []FailoverReport `json:"failovers,omitempty"`
	// failoverRequest is the outcome of the newest request made with the annotation replicatedstore.io/failover.
	// +optional
	FailoverRequest *FailoverRequestStatus `json:"failoverRequest,omitempty"`
	// counters since the store was created.
	// +optional
	Counters FailoverCounters `json:"counters,omitzero"`
}

// StatusSummary is text for people.
type StatusSummary struct {
	// members, as "ready/asked for".
	// +optional
	Members string `json:"members,omitempty"`
	// sync, as "K of V": a write waits for K of the V voters there are; "async" when it waits for none; "-" when no rule is known.
	// While nobody leads it is that of the newest leadership.
	// +optional
	Sync string `json:"sync,omitempty"`
	// lag is by how many writes the slowest follower is behind the leader; "-" when that is unknown.
	// +optional
	Lag string `json:"lag,omitempty"`
}

// ReplicationStatus is the commit rule in force; while nobody leads, that of the newest leadership.
type ReplicationStatus struct {
	// number of voters that must hold a write before it is acknowledged. It is below the spec's while durability is lowered.
	// +optional
	Number int32 `json:"number"`
	// voters are the followers that count.
	// +optional
	// +listType=set
	Voters []string `json:"voters,omitempty"`
	// changing: an older and a newer rule both hold, until the newer covers every acknowledged write.
	// +optional
	Changing bool `json:"changing,omitempty"`
	// degraded: durability is Preferred and number is below the spec's.
	// +optional
	Degraded bool `json:"degraded,omitempty"`
}

// MemberRole is what a member does, as it says itself.
//
// +kubebuilder:validation:Enum=Leader;Follower;Waiting;Fenced;Unknown
type MemberRole string

const (
	// MemberLeader leads.
	MemberLeader MemberRole = "Leader"
	// MemberFollower follows.
	MemberFollower MemberRole = "Follower"
	// MemberWaiting was started and not told yet whom to follow.
	MemberWaiting MemberRole = "Waiting"
	// MemberFenced promised an epoch that nobody leads yet.
	MemberFenced MemberRole = "Fenced"
	// MemberUnknown does not answer.
	MemberUnknown MemberRole = "Unknown"
)

// MemberStatus is what is known of one member. Numbers are the last it told; Role Unknown says that they may be old.
type MemberStatus struct {
	// name of the member, its pod and its claim.
	// +required
	Name string `json:"name"`
	// role as the member says itself.
	// +optional
	Role MemberRole `json:"role,omitempty"`
	// node is the Kubernetes node that the pod runs on.
	// +optional
	Node string `json:"node,omitempty"`
	// zone of that node, where known.
	// +optional
	Zone string `json:"zone,omitempty"`
	// ready: the member can do its role's work.
	// +optional
	Ready bool `json:"ready"`
	// voter: the leader counts this member's acknowledgements.
	// +optional
	Voter bool `json:"voter"`
	// incarnation of the data directory. A new one is another member of the same name.
	// +optional
	Incarnation string `json:"incarnation,omitempty"`
	// epoch of the newest entry on this member's disk.
	// +optional
	Epoch int64 `json:"epoch,omitempty"`
	// position of the newest entry on this member's disk.
	// +optional
	Position int64 `json:"position,omitempty"`
	// applied is the position up to which reads see the log.
	// +optional
	Applied int64 `json:"applied,omitempty"`
	// lag is by how many writes this member's disk is behind the leader; absent when unknown.
	// +optional
	Lag *int64 `json:"lag,omitempty"`
	// seeding is set while the member receives a snapshot.
	// +optional
	Seeding *SeedingStatus `json:"seeding,omitempty"`
	// storage is the member's volume.
	// +optional
	Storage *StorageStatus `json:"storage,omitempty"`
	// quarantined counts the entries that were cut from this member's log when it rejoined, and kept for a person.
	// +optional
	Quarantined int64 `json:"quarantined,omitempty"`
	// version of the data node.
	// +optional
	Version string `json:"version,omitempty"`
	// problem is one sentence when the member needs a person.
	// +optional
	Problem string `json:"problem,omitempty"`
}

// StorageStatus is a member's volume as it was last seen. What is free is rounded to a hundredth of the volume.
type StorageStatus struct {
	// size of the volume, for people ("9.8GiB").
	// +optional
	Size string `json:"size,omitempty"`
	// free for data and log, for people; what the member has set aside to stay able to act is not counted.
	// +optional
	Free string `json:"free,omitempty"`
	// sizeBytes of the volume.
	// +optional
	SizeBytes int64 `json:"sizeBytes"`
	// freeBytes of it.
	// +optional
	FreeBytes int64 `json:"freeBytes"`
	// level is NearlyFull or Full where little is left; a leader whose volume is Full refuses what adds data.
	// +optional
	Level string `json:"level,omitempty"`
}

// SeedingStatus is the progress of a snapshot being received.
type SeedingStatus struct {
	// from is the member that sends it.
	// +optional
	From string `json:"from,omitempty"`
	// percent done, 0 to 100.
	// +optional
	Percent int32 `json:"percent"`
	// done so far, for people ("1.2GiB").
	// +optional
	Done string `json:"done,omitempty"`
	// total of the snapshot, for people.
	// +optional
	Total string `json:"total,omitempty"`
	// doneBytes so far.
	// +optional
	DoneBytes int64 `json:"doneBytes"`
	// totalBytes of the snapshot.
	// +optional
	TotalBytes int64 `json:"totalBytes"`
	// rate for people, e.g. "85MiB/s".
	// +optional
	Rate string `json:"rate,omitempty"`
	// timeLeft for people, e.g. "1m20s"; absent when unknown.
	// +optional
	TimeLeft string `json:"timeLeft,omitempty"`
}
