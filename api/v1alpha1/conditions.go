package v1alpha1

// Types of the conditions of a store. Each is always present once the operator has seen the store, with the generation it
// was judged for.
const (
	// ConditionReady is True while the store is what its spec says: a writable leader, every member ready and following, no
	// member to be restarted, and the configured number of synchronous voters.
	ConditionReady = "Ready"
	// ConditionAvailable is True while writes are acknowledged: a leader is writable and enough voters answer.
	ConditionAvailable = "Available"
	// ConditionProgressing is True while the operator is changing something: bootstrap, failover, scaling, an update.
	ConditionProgressing = "Progressing"
	// ConditionDegraded is True while the store works with less than it was given: a member missing, lagging or unable to do
	// its work, or durability lowered.
	ConditionDegraded = "Degraded"
	// ConditionFailoverBlocked is True while the store has no writable leader and the operator may not make one. The reason
	// names the gate, the message the members and the override.
	ConditionFailoverBlocked = "FailoverBlocked"
	// ConditionResizing is True while volumes are smaller than spec.storage.size: they grow, or cannot.
	ConditionResizing = "Resizing"
	// ConditionSpread is True while no machine has so many members that its loss, with its disks, could cost an acknowledged write (or, of a
	// store that is asynchronous, all data).
	ConditionSpread = "Spread"
)

// Reasons of ConditionSpread.
const (
	// ReasonMembersApart (True): members are on different machines, or as few on one as the store can lose.
	ReasonMembersApart = "MembersApart"
	// ReasonMembersTogether: the message names the machine, its members, and what its loss could cost.
	ReasonMembersTogether = "MembersTogether"
)

// Reasons of ConditionResizing.
const (
	// ReasonSizeAsAskedFor (False): every volume has the size of the spec.
	ReasonSizeAsAskedFor = "SizeAsAskedFor"
	// ReasonGrowing: the storage driver makes volumes larger.
	ReasonGrowing = "Growing"
	// ReasonFileSystemResizePending: the volume is larger, its file system is not yet.
	ReasonFileSystemResizePending = "FileSystemResizePending"
	// ReasonResizeFailed: the storage driver reports an error.
	ReasonResizeFailed = "ResizeFailed"
	// ReasonVolumeNotExpandable: the API server refuses a larger claim, as when the StorageClass does not allow expansion.
	ReasonVolumeNotExpandable = "VolumeNotExpandable"
)

// Reasons of ConditionReady.
const (
	// ReasonAllMembersReady (True): every member of the spec is ready.
	ReasonAllMembersReady = "AllMembersReady"
	// ReasonMembersNotReady: the message names the members that are not ready.
	ReasonMembersNotReady = "MembersNotReady"
	// ReasonDeleting: the store is being deleted.
	ReasonDeleting = "Deleting"
)

// Reasons of ConditionAvailable.
const (
	// ReasonWritable (True): the leader acknowledges writes.
	ReasonWritable = "Writable"
	// ReasonBootstrapping: the first leader of a new store is not elected yet.
	ReasonBootstrapping = "Bootstrapping"
	// ReasonNoLeader: no member leads.
	ReasonNoLeader = "NoLeader"
	// ReasonLeaderUnreachable: a leader is recorded but does not answer the operator. It may still serve clients.
	ReasonLeaderUnreachable = "LeaderUnreachable"
	// ReasonLeaderNotWritable: the leader has not committed the barrier of its epoch yet.
	ReasonLeaderNotWritable = "LeaderNotWritable"
	// ReasonVotersMissing: the leader lives, but fewer voters answer than a write needs, so writes wait.
	ReasonVotersMissing = "VotersMissing"
	// ReasonHibernated: spec.hibernated keeps the store asleep.
	ReasonHibernated = "Hibernated"
	// ReasonFenced: the store is fenced by annotation.
	ReasonFenced = "Fenced"
)

// Reasons of ConditionProgressing.
const (
	// ReasonStable (False): nothing is being changed.
	ReasonStable = "Stable"
	// ReasonCreatingMembers: pods or claims are being created.
	ReasonCreatingMembers = "CreatingMembers"
	// ReasonFailingOver: a failover is under way.
	ReasonFailingOver = "FailingOver"
	// ReasonHandingOver: a planned handover is under way.
	ReasonHandingOver = "HandingOver"
	// ReasonChangingVoters: the set of voters, or how many of them must hold a write, is being changed.
	ReasonChangingVoters = "ChangingVoters"
	// ReasonSeeding: a member receives a snapshot.
	ReasonSeeding = "Seeding"
	// ReasonScalingUp: members are being added.
	ReasonScalingUp = "ScalingUp"
	// ReasonScalingDown: members are being removed.
	ReasonScalingDown = "ScalingDown"
	// ReasonHandoverFailed: planned handovers failed in a row, and the operator waits before the next one.
	ReasonHandoverFailed = "HandoverFailed"
	// ReasonEarlierStore: something of the store that had this name before is still being removed.
	ReasonEarlierStore = "EarlierStore"
	// ReasonUpdating: members are restarted one by one to take up a new template.
	ReasonUpdating = "Updating"
	// ReasonHibernating: the store goes to sleep.
	ReasonHibernating = "Hibernating"
	// ReasonWaking: the members of a store that slept come back.
	ReasonWaking = "Waking"
	// ReasonReconcileDisabled: the operator was told to leave the store alone.
	ReasonReconcileDisabled = "ReconcileDisabled"
)

// Reasons of ConditionDegraded.
const (
	// ReasonAsExpected (False): nothing is missing.
	ReasonAsExpected = "AsExpected"
	// ReasonMemberMissing: a member has no running pod or does not answer.
	ReasonMemberMissing = "MemberMissing"
	// ReasonClaimStuck: a volume claim is being deleted and does not go; the message says what holds it.
	ReasonClaimStuck = "ClaimStuck"
	// ReasonClaimDeleting: the claim of a member that has a pod was deleted, so that its volume goes as soon as the pod does. Also why the
	// operator takes no such pod away.
	ReasonClaimDeleting = "ClaimDeleting"
	// ReasonMemberProblem: a member reports a problem that needs a person; the message repeats it.
	ReasonMemberProblem = "MemberProblem"
	// ReasonSeedBudgetSpent: a member was seeded too often of late and waits before it takes another snapshot; the message
	// says until when, and what helps. Also an event.
	ReasonSeedBudgetSpent = "SeedBudgetSpent"
	// ReasonStorageFull: a member's volume is full; the message says how many bytes are free and what to do. Also of
	// ConditionAvailable, for the leader's, and an event.
	ReasonStorageFull = "StorageFull"
	// ReasonStorageNearlyFull: little is left on a member's volume. Also an event.
	ReasonStorageNearlyFull = "StorageNearlyFull"
	// ReasonDiskStuck: a member's disk does not finish what it was asked to write. Also an event.
	ReasonDiskStuck = "DiskStuck"
	// ReasonLogDamaged: a member found damage in its log on disk; the message names file and offset and what to do. Also an
	// event.
	ReasonLogDamaged = "LogDamaged"
	// ReasonVolumeOlder: a member's volume did not hold what it had acknowledged; the message says what. Also an event.
	ReasonVolumeOlder = "VolumeOlder"
	// ReasonMemberLagging: a follower is not caught up with the leader.
	ReasonMemberLagging = "MemberLagging"
	// ReasonMemberStuck: a member answers and gets nowhere: its log, its state or its snapshot has not moved for a minute.
	ReasonMemberStuck = "MemberStuck"
	// ReasonDurabilityLowered: durability is Preferred and writes are acknowledged with fewer voters than asked for.
	ReasonDurabilityLowered = "DurabilityLowered"
	// ReasonNoFailoverTarget: one more failure could not be survived: no follower could take over with every acknowledged
	// write.
	ReasonNoFailoverTarget = "NoFailoverTarget"
	// ReasonLeaseNotRenewed: the leader answers and does not renew its Lease: it does not reach the API server.
	ReasonLeaseNotRenewed = "LeaseNotRenewed"
	// ReasonWritesQuarantined: a member holds entries that may have been acknowledged and that the store does not have: they were cut from
	// its log when it rejoined, for a person to look at, or will be when it does.
	ReasonWritesQuarantined = "WritesQuarantined"
)

// Reasons of ConditionFailoverBlocked.
const (
	// ReasonNotBlocked (False): there is a leader, or the failover goes on.
	ReasonNotBlocked = "NotBlocked"
	// ReasonManualMode: spec.failover.mode is Manual; the message names who could lead. Override: AnnotationFailover.
	ReasonManualMode = "ManualMode"
	// ReasonFenceQuorumMissing: fewer members are fenced than would prove that every acknowledged write is held by one of
	// them. The message names those that do not answer. Override: spec.failover.dataLoss Allow.
	ReasonFenceQuorumMissing = "FenceQuorumMissing"
	// ReasonLeaderMayBeAlive: no voter protects the data (asynchronous), and the old leader is neither fenced nor expired
	// beyond doubt.
	ReasonLeaderMayBeAlive = "LeaderMayBeAlive"
	// ReasonDataLossForbidden: an acknowledged write could be lost, and spec.failover.dataLoss forbids that.
	ReasonDataLossForbidden = "DataLossForbidden"
	// ReasonLossBoundExceeded: more writes could be lost than spec.failover.maxLostWrites allows, or the number is unknown.
	ReasonLossBoundExceeded = "LossBoundExceeded"
	// ReasonNoCandidate: members are fenced, but none of them can lead (empty, or in the middle of a seed).
	ReasonNoCandidate = "NoCandidate"
	// ReasonLeaderUnfit: the member that was elected answers and cannot lead (its volume has no room, or without synchronous followers
	// it does not renew its Lease), and nobody else who holds as much is left to try.
	ReasonLeaderUnfit = "LeaderUnfit"
	// ReasonRecordLost: the authority record is missing or older than what members promised, and not all of them answer.
	ReasonRecordLost = "RecordLost"
	// ReasonTargetUnfit: the member asked for by annotation cannot lead; the message says why.
	ReasonTargetUnfit = "TargetUnfit"
)

// Reasons of events, beside those above.
const (
	// ReasonLeaderElected: a member leads a new epoch.
	ReasonLeaderElected = "LeaderElected"
	// ReasonFailoverStarted and the three that follow: the course of a failover.
	ReasonFailoverStarted   = "FailoverStarted"
	ReasonFailoverSucceeded = "FailoverSucceeded"
	ReasonFailoverFailed    = "FailoverFailed"
	ReasonFailoverRefused   = "FailoverRefused"
	// ReasonHandoverSucceeded: a planned handover is complete.
	ReasonHandoverSucceeded = "HandoverSucceeded"
	// ReasonSeedBegun: a member begins to receive a snapshot, whole; the message says from whom and how much.
	ReasonSeedBegun = "SeedBegun"
	// ReasonReseeding: a member's data is thrown away on request.
	ReasonReseeding = "Reseeding"
	// ReasonApplyFailed: the API server refused a child object. Also of ConditionReady, and of ConditionAvailable where no clients are led
	// to the leader for that; and of ConditionProgressing: it refuses, or cannot say whether it takes, the pods that members are to be
	// restarted with.
	ReasonApplyFailed = "ApplyFailed"
	// ReasonNotOwned: an object of the name of a child exists and belongs to somebody else. Also of ConditionReady and ConditionAvailable.
	ReasonNotOwned = "NotOwned"
	// ReasonOperatorBlind, on the operators' own Lease: the one that acts does not reach most of the leaders, which live, and leaves
	// acting to another operator.
	ReasonOperatorBlind = "OperatorBlind"
	// ReasonAPIServerRestored: etcd was put back to an older copy, and the operator begins anew.
	ReasonAPIServerRestored = "APIServerRestored"
)
