package v1alpha1

// Types of the conditions of a store. Once the operator has seen the store, each of them is always present, with the generation
// that it was judged for.
const (
	// ConditionReady is True while the store is what its spec says: a leader is writable, every member is ready and follows it, no
	// member is to be restarted, and the configured number of followers is synchronous.
	ConditionReady = "Ready"
	// ConditionAvailable is True while writes are acknowledged: a leader is writable, enough voters answer, and clients are routed to
	// the leader.
	ConditionAvailable = "Available"
	// ConditionProgressing is True while the operator is changing something: bootstrap, failover, scaling, an update.
	ConditionProgressing = "Progressing"
	// ConditionDegraded is True while the store works with less than it was given: a member is missing, lags or cannot do its work, or
	// durability is lowered.
	ConditionDegraded = "Degraded"
	// ConditionFailoverBlocked is True while the store has no writable leader and the operator may not make one. The reason names the
	// gate; the message names the members and the override.
	ConditionFailoverBlocked = "FailoverBlocked"
	// ConditionResizing is True while volumes are smaller than spec.storage.size, whether they are growing or cannot grow.
	ConditionResizing = "Resizing"
	// ConditionSpread is True while no machine runs so many members that losing it, with its disks, could cost an acknowledged write
	// (or, if the store is asynchronous, all data).
	ConditionSpread = "Spread"
)

// Reasons of ConditionSpread.
const (
	// ReasonMembersApart (True) means that members run on different machines, or no more of them share one than the store can lose.
	ReasonMembersApart = "MembersApart"
	// ReasonMembersTogether means that too many members share a machine. The message names the machine, its members, and what losing
	// it could cost.
	ReasonMembersTogether = "MembersTogether"
)

// Reasons of ConditionResizing.
const (
	// ReasonSizeAsAskedFor (False) means that every volume has the size of the spec.
	ReasonSizeAsAskedFor = "SizeAsAskedFor"
	// ReasonGrowing means that the storage driver is expanding volumes.
	ReasonGrowing = "Growing"
	// ReasonFileSystemResizePending means that a volume has grown and its file system has not yet.
	ReasonFileSystemResizePending = "FileSystemResizePending"
	// ReasonResizeFailed means that the storage driver reports an error.
	ReasonResizeFailed = "ResizeFailed"
	// ReasonVolumeNotExpandable means that the API server refuses a larger claim, for example because the StorageClass does not allow
	// expansion.
	ReasonVolumeNotExpandable = "VolumeNotExpandable"
)

// Reasons of ConditionReady.
const (
	// ReasonAllMembersReady (True) means that every member of the spec is ready.
	ReasonAllMembersReady = "AllMembersReady"
	// ReasonMembersNotReady means that members are missing or not ready, or that writes wait for fewer followers than asked for. The
	// message says which.
	ReasonMembersNotReady = "MembersNotReady"
	// ReasonDeleting means that the store is being deleted.
	ReasonDeleting = "Deleting"
)

// Reasons of ConditionAvailable.
const (
	// ReasonWritable (True) means that the leader acknowledges writes.
	ReasonWritable = "Writable"
	// ReasonBootstrapping means that a new store has not elected its first leader yet. It is also a reason of ConditionProgressing.
	ReasonBootstrapping = "Bootstrapping"
	// ReasonNoLeader means that no member leads.
	ReasonNoLeader = "NoLeader"
	// ReasonLeaderUnreachable means that a leader is recorded but does not answer the operator. It may still serve clients.
	ReasonLeaderUnreachable = "LeaderUnreachable"
	// ReasonLeaderNotWritable means that the leader has not committed the barrier of its epoch yet.
	ReasonLeaderNotWritable = "LeaderNotWritable"
	// ReasonVotersMissing means that the leader lives, but fewer voters answer than a write needs, so writes wait.
	ReasonVotersMissing = "VotersMissing"
	// ReasonVotersLagging means that enough voters answer, but too few of them hold what was written before, so writes wait.
	ReasonVotersLagging = "VotersLagging"
	// ReasonHibernated means that spec.hibernated keeps the store asleep.
	ReasonHibernated = "Hibernated"
	// ReasonFenced means that the store is fenced by annotation.
	ReasonFenced = "Fenced"
)

// Reasons of ConditionProgressing.
const (
	// ReasonStable (False) means that nothing is being changed.
	ReasonStable = "Stable"
	// ReasonCreatingMembers means that pods or claims are being created.
	ReasonCreatingMembers = "CreatingMembers"
	// ReasonFailingOver means that a failover is under way.
	ReasonFailingOver = "FailingOver"
	// ReasonHandingOver means that a planned handover is under way.
	ReasonHandingOver = "HandingOver"
	// ReasonChangingVoters means that the set of voters, or how many of them must hold a write, is being changed.
	ReasonChangingVoters = "ChangingVoters"
	// ReasonSeeding means that a member is receiving a snapshot.
	ReasonSeeding = "Seeding"
	// ReasonScalingUp means that members are being added.
	ReasonScalingUp = "ScalingUp"
	// ReasonScalingDown means that members are being removed.
	ReasonScalingDown = "ScalingDown"
	// ReasonHandoverFailed means that planned handovers failed in a row, or that members with the new template of an update did
	// not lead for long, and that the operator waits before it tries the next one.
	ReasonHandoverFailed = "HandoverFailed"
	// ReasonEarlierStore means that something of an earlier store of the same name is still being removed.
	ReasonEarlierStore = "EarlierStore"
	// ReasonUpdating means that members are being restarted one by one to take up a new template.
	ReasonUpdating = "Updating"
	// ReasonHibernating means that the store is going to sleep.
	ReasonHibernating = "Hibernating"
	// ReasonWaking means that a hibernated store is waking up: its members come back. It is also a reason of ConditionAvailable.
	ReasonWaking = "Waking"
	// ReasonReconcileDisabled means that AnnotationReconcile tells the operator to leave the store alone. It is also a reason of
	// ConditionFailoverBlocked, if the store needs a leader meanwhile.
	ReasonReconcileDisabled = "ReconcileDisabled"
)

// Reasons of ConditionDegraded.
const (
	// ReasonAsExpected (False) means that nothing is missing.
	ReasonAsExpected = "AsExpected"
	// ReasonMemberMissing means that a member has no running pod or does not answer.
	ReasonMemberMissing = "MemberMissing"
	// ReasonClaimStuck means that a volume claim is being deleted and does not go. The message says what holds it.
	ReasonClaimStuck = "ClaimStuck"
	// ReasonClaimDeleting means that the claim of a member that has a pod was deleted, so its volume goes as soon as the pod does. It
	// is also a reason of ConditionProgressing: the operator keeps a pod that it was to delete for a restart or for hibernation.
	ReasonClaimDeleting = "ClaimDeleting"
	// ReasonMemberProblem means that a member reports a problem that needs a person. The message repeats it.
	ReasonMemberProblem = "MemberProblem"
	// ReasonSeedBudgetSpent means that a member was seeded too often recently and waits before it takes another snapshot. The message
	// says until when, and what helps. It is also the reason of an event.
	ReasonSeedBudgetSpent = "SeedBudgetSpent"
	// ReasonStorageFull means that a member's volume is full. The message says how many bytes are free and what to do. It is also a
	// reason of ConditionAvailable, if the volume is the leader's, and the reason of an event.
	ReasonStorageFull = "StorageFull"
	// ReasonStorageNearlyFull means that little space is left on a member's volume. It is also the reason of an event.
	ReasonStorageNearlyFull = "StorageNearlyFull"
	// ReasonDiskStuck means that a member's disk does not finish its writes. It is also the reason of an event.
	ReasonDiskStuck = "DiskStuck"
	// ReasonLogDamaged means that a member found damage in its log on disk. The message names the file and the offset, and says what
	// to do. It is also the reason of an event.
	ReasonLogDamaged = "LogDamaged"
	// ReasonVolumeOlder means that a member's volume did not hold what the member had acknowledged. The message says what. It is also
	// the reason of an event.
	ReasonVolumeOlder = "VolumeOlder"
	// ReasonMemberLagging means that a follower has not caught up with the leader.
	ReasonMemberLagging = "MemberLagging"
	// ReasonMemberStuck means that a member answers but makes no progress: its log, its state or its snapshot has not moved for a
	// minute.
	ReasonMemberStuck = "MemberStuck"
	// ReasonDurabilityLowered means that durability is Preferred and writes are acknowledged with fewer voters than asked for.
	ReasonDurabilityLowered = "DurabilityLowered"
	// ReasonNoFailoverTarget means that the store would not survive one more failure: no follower could take over with every
	// acknowledged write, or only followers whose pods are fenced could.
	ReasonNoFailoverTarget = "NoFailoverTarget"
	// ReasonLeaseNotRenewed means that the leader answers but does not renew its Lease, because it does not reach the API server.
	ReasonLeaseNotRenewed = "LeaseNotRenewed"
	// ReasonWritesQuarantined means that a member holds entries that may have been acknowledged and that the store does not have. They
	// were cut from the member's log when it rejoined, for a person to look at, or will be cut when it rejoins.
	ReasonWritesQuarantined = "WritesQuarantined"
)

// Reasons of ConditionFailoverBlocked.
const (
	// ReasonNotBlocked (False) means that no failover is held back: there is a leader, or the failover proceeds.
	ReasonNotBlocked = "NotBlocked"
	// ReasonManualMode means that a leader is needed and spec.failover.mode is Manual. The message names who could lead. Override:
	// AnnotationFailover.
	ReasonManualMode = "ManualMode"
	// ReasonFenceQuorumMissing means that too few members are fenced to prove that one of them holds every acknowledged write. The
	// message names those that do not answer. Override: spec.failover.dataLoss Allow.
	ReasonFenceQuorumMissing = "FenceQuorumMissing"
	// ReasonLeaderMayBeAlive means that the old leader may still acknowledge writes: it is neither fenced nor expired beyond doubt. It
	// applies where no voter protects the data (asynchronous), and where spec.failover.dataLoss Allow goes on without enough voters.
	ReasonLeaderMayBeAlive = "LeaderMayBeAlive"
	// ReasonDataLossForbidden means that an acknowledged write could be lost, and that spec.failover.dataLoss forbids that.
	ReasonDataLossForbidden = "DataLossForbidden"
	// ReasonLossBoundExceeded means that more writes could be lost than spec.failover.maxLostWrites allows, or that their number is
	// unknown.
	ReasonLossBoundExceeded = "LossBoundExceeded"
	// ReasonNoCandidate means that members are fenced, but none of them can lead: they are empty, or in the middle of a seed.
	ReasonNoCandidate = "NoCandidate"
	// ReasonLeaderUnfit means that the elected member answers but cannot lead, and that no other member that holds as much is left to
	// try. Its volume has no room or, without synchronous followers, it does not renew its Lease.
	ReasonLeaderUnfit = "LeaderUnfit"
	// ReasonRecordLost means that the authority record is missing or older than what members promised, and that not all of them
	// answer. It is also a reason of ConditionAvailable and ConditionDegraded.
	ReasonRecordLost = "RecordLost"
	// ReasonTargetUnfit means that the only member that holds everything is fenced by its pod's annotation. The message names it.
	ReasonTargetUnfit = "TargetUnfit"
)

// Reasons of events, in addition to those above.
const (
	// ReasonLeaderElected means that a member leads a new epoch.
	ReasonLeaderElected = "LeaderElected"
	// ReasonFailoverStarted and the three reasons below mark the course of a failover. ReasonFailoverRefused is also a reason of
	// ConditionProgressing.
	ReasonFailoverStarted   = "FailoverStarted"
	ReasonFailoverSucceeded = "FailoverSucceeded"
	ReasonFailoverFailed    = "FailoverFailed"
	ReasonFailoverRefused   = "FailoverRefused"
	// ReasonHandoverSucceeded means that a planned handover is complete.
	ReasonHandoverSucceeded = "HandoverSucceeded"
	// ReasonAnnotationIgnored means that an annotation has a value that has no effect. The message says which value has one.
	ReasonAnnotationIgnored = "AnnotationIgnored"
	// ReasonSeedBegun means that a member begins to receive a whole snapshot. The message says from whom and how much.
	ReasonSeedBegun = "SeedBegun"
	// ReasonReseeding means that a member's data is thrown away on request. It is also a reason of ConditionProgressing.
	ReasonReseeding = "Reseeding"
	// ReasonApplyFailed means that the API server refused an object of the store. It is also a reason of these conditions:
	//
	//   - ConditionReady.
	//   - ConditionAvailable: clients are therefore not routed to the leader.
	//   - ConditionProgressing: members are to be restarted, and the API server refuses their new pods or cannot say whether it accepts them.
	//   - ConditionResizing: a ResourceQuota leaves no room for larger claims.
	ReasonApplyFailed = "ApplyFailed"
	// ReasonNotOwned means that an object with the name of a child exists and belongs to somebody else. It is also a reason of
	// ConditionReady, ConditionAvailable and ConditionProgressing.
	ReasonNotOwned = "NotOwned"
	// ReasonOperatorBlind is set on the operators' own Lease. It means that the acting operator does not reach most of the leaders,
	// although they live, and leaves acting to another operator.
	ReasonOperatorBlind = "OperatorBlind"
	// ReasonAPIServerRestored means that etcd, or the Lease alone, was put back to an older copy, and that the operator restarts with
	// what is there now.
	ReasonAPIServerRestored = "APIServerRestored"
)
