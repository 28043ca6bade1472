package wire

import (
	"github.com/replicatedstore/replicatedstore/replication"
)

// Paths of the control port. Requests are POSTed JSON unless stated otherwise. A refusal has an Error as its body and is an
// HTTP 409 (the member's state forbids the request: read Error.Status and decide again), 400 (malformed) or 503 (not open
// yet).
const (
	PathStatus = "/v1/status" // GET -> Status
	// PathWatch streams one JSON object per line: the Status at once and again on every change that matters. While the
	// Essence stays the same, it sends an empty line five times a second.
	PathWatch     = "/v1/watch"     // GET -> Status...
	PathFence     = "/v1/fence"     // FenceRequest -> FenceReply
	PathPromote   = "/v1/promote"   // PromoteRequest -> Status
	PathFollow    = "/v1/follow"    // FollowRequest -> Status
	PathConfigure = "/v1/configure" // ConfigureRequest -> Status
	PathHandover  = "/v1/handover"  // HandoverRequest -> HandoverReply
	PathLive      = "/livez"        // GET: 200 while the process can make progress
	PathReady     = "/readyz"       // GET: 200 while the member can do its role's work, else 503 with a one-sentence reason
	PathMetrics   = "/metrics"      // GET: Prometheus text
)

// Headers that name the intended recipient of a control request: the UID of the store's object and the member's name. An
// address outlives the pod that had it, and two stores in two namespaces may have the same name. A member that a request is
// not meant for does nothing and answers 421 (Misdirected Request). Without the headers nothing is checked.
const (
	HeaderStoreUID = "Rstore-Store-Uid"
	HeaderMember   = "Rstore-Member"
)

// ReasonNotAddressed is the Error.Reason of such an answer.
const ReasonNotAddressed = "NotAddressed"

// Role and its values are repeated here for readers of the control port.
type Role = replication.Role

const (
	RoleWaiting  = replication.RoleWaiting
	RoleFollower = replication.RoleFollower
	// RoleLeader says nothing about the barrier: Status.Writable tells whether it is committed and writes are accepted.
	RoleLeader = replication.RoleLeader
	RoleFenced = replication.RoleFenced
)

// Status is everything that a member reports about itself. It is a snapshot: by the time it is read it may be out of date.
type Status struct {
	Store string `json:"store"`
	// StoreUID is the UID of the store's object that this process serves; "" when it was told none. DataUID is the UID of
	// the one whose orders this data directory last obeyed; "" when it has obeyed none yet. The two differ while a volume
	// kept by an earlier store has not been taken over yet.
	StoreUID    string `json:"storeUID,omitempty"`
	DataUID     string `json:"dataUID,omitempty"`
	Member      string `json:"member"`
	Incarnation string `json:"incarnation"`
	Version     string `json:"version"`
	Role        Role   `json:"role"`
	// Promised is the highest epoch that this member has durably promised. It refuses every lower one.
	Promised replication.Epoch `json:"promised"`
	// Epoch and Leader are the leadership that this member is part of; 0 and "" when waiting or fenced.
	Epoch  replication.Epoch `json:"epoch"`
	Leader string            `json:"leader,omitempty"`
	// ConfigVersion and Rules are the newest commit rules that this member knows for Epoch. Two rules mean that a change is
	// under way and both hold. Only the leader is authoritative.
	ConfigVersion uint64             `json:"configVersion"`
	Rules         []replication.Rule `json:"rules,omitempty"`
	// Writable means that the leader's barrier is committed under every rule, and that it acknowledges writes. It is always
	// false on other members.
	Writable bool `json:"writable"`
	// CommitCovered (leader only) means that the commit position is durable on K voters of every rule in force, so that the
	// older rule may be dropped.
	CommitCovered bool `json:"commitCovered"`
	// The ends of the log: written (in memory or on disk), durable, committed as far as this member knows, and applied to
	// the state machine.
	Last    replication.Mark     `json:"last"`
	Durable replication.Mark     `json:"durable"`
	Commit  replication.Position `json:"commit"`
	Applied replication.Position `json:"applied"`
	// Told is the newest commit position that a leader told this process, with that leader's epoch.
	Told replication.Mark `json:"told,omitzero"`
	// ToldMillis is the time since that leader was last heard, on this member's monotonic clock. It is nil if no leader has
	// been heard, or if this member's version does not report it.
	ToldMillis *int64 `json:"toldMillis,omitempty"`
	// Empty means that there is neither log nor state: the data directory is new. Such a member is no voter and never seeds
	// anyone.
	Empty bool `json:"empty"`
	// Contact (follower only) describes the stream from the leader.
	Contact *Contact `json:"contact,omitempty"`
	// Followers (leader only) is what the leader knows of each follower that has said Hello in this epoch, by member name.
	Followers map[string]FollowerView `json:"followers,omitempty"`
	// NeedSeed means that the state on disk is useless without a snapshot. This member neither votes nor can be promoted.
	NeedSeed bool `json:"needSeed,omitempty"`
	// Leaving means that this member was told to terminate. A leader carries on until it is relieved, for as long as it is
	// allowed to.
	Leaving bool `json:"leaving,omitempty"`
	// Seeding is set while this member receives a snapshot.
	Seeding *Seeding `json:"seeding,omitempty"`
	// Quarantined counts the entries that rejoins cut from this member's log and that are kept in quarantine files.
	Quarantined uint64 `json:"quarantined,omitempty"`
	// Problem is one sentence if something needs a person (disk full, reseed refused, ...), else "". ProblemReason is one
	// of the Problem constants.
	Problem       string `json:"problem,omitempty"`
	ProblemReason string `json:"problemReason,omitempty"`
	Disk          Disk   `json:"disk"`
}

// Values of Status.ProblemReason.
const (
	// ProblemNoRoom means that the volume has no room for the snapshot that this member needs.
	ProblemNoRoom = "NoRoom"
	// ProblemSeedBudget means that this member was seeded too often recently, and waits before it accepts another snapshot.
	ProblemSeedBudget = "SeedBudgetSpent"
	// ProblemDiskStuck means that the disk does not complete a write.
	ProblemDiskStuck = "DiskStuck"
	// ProblemLogDamaged means that a scrub of old log segments found damage.
	ProblemLogDamaged = "LogDamaged"
	// ProblemVolumeOlder means that the volume did not hold what this member had acknowledged.
	ProblemVolumeOlder = "VolumeOlder"
)

// Contact is a follower's view of its stream from the leader.
type Contact struct {
	// Connected means that the stream is open and the leader was heard within the heartbeat timeout.
	Connected bool `json:"connected"`
	// SilentMillis is the time since the leader was last heard, on this member's monotonic clock; -1: never in this epoch.
	SilentMillis int64 `json:"silentMillis"`
	// Refused means that a live host refused the last dial: the leader's process is not running there.
	Refused bool `json:"refused,omitempty"`
	// Deaf means that the leader is heard, but itself says that it does not hear its voters. Connected is false then.
	Deaf bool `json:"deaf,omitempty"`
}

// FollowerView is the leader's view of one follower.
type FollowerView struct {
	Incarnation string               `json:"incarnation"`
	Durable     replication.Position `json:"durable"`
	Applied     replication.Position `json:"applied"`
	// CaughtUp means that the follower has a stream in this epoch and holds what the leader held a tick ago, so that it may
	// become a voter.
	CaughtUp bool `json:"caughtUp"`
	// Live means that the follower has a stream now.
	Live bool `json:"live"`
	// SilentMillis is the time since its last acknowledgement, or since it last began a stream.
	SilentMillis int64 `json:"silentMillis"`
	Seeding      bool  `json:"seeding,omitempty"`
	// Address is the host:port of its peer port; "" when it has none.
	Address string `json:"address,omitempty"`
}

// Seeding is the progress of a snapshot that is being received.
type Seeding struct {
	// ID identifies the snapshot; "" while none is being received. A transfer that resumes keeps it.
	ID             string               `json:"id,omitempty"`
	From           string               `json:"from"`
	Position       replication.Position `json:"position"`
	DoneBytes      int64                `json:"doneBytes"`
	TotalBytes     int64                `json:"totalBytes"`
	BytesPerSecond int64                `json:"bytesPerSecond"`
	// SecondsLeft is an estimate from the recent rate; -1 when unknown.
	SecondsLeft int64 `json:"secondsLeft"`
}

// Disk is the state of the volume that holds the data directory, in bytes.
type Disk struct {
	UsedBytes  int64 `json:"usedBytes"` // by everything that shares the volume
	FreeBytes  int64 `json:"freeBytes"` // not counting the reserve
	TotalBytes int64 `json:"totalBytes"`
	// ReserveBytes are set aside so that a member with a full volume can still be fenced, promoted and trimmed.
	ReserveBytes int64 `json:"reserveBytes,omitempty"`
	// Level says whether the volume is nearly full, or has no room left for data to grow. In the latter case a leader
	// refuses writes that add data.
	Level DiskLevel `json:"level,omitempty"`
}

// DiskLevel says how full a volume is; "" means that there is room.
type DiskLevel string

// Values of DiskLevel.
const (
	DiskNearlyFull DiskLevel = "NearlyFull"
	DiskFull       DiskLevel = "Full"
)

// FenceRequest asks the member to promise never again to take part in an epoch below Epoch. Repeating it is harmless. A
// request for less than was promised is refused with 409.
type FenceRequest struct {
	Epoch replication.Epoch `json:"epoch"`
}

// FenceReply is sent only once the promise is durable. Last is durable too, and does not grow until a leader of an epoch >=
// Promised writes to it.
type FenceReply struct {
	Member      string               `json:"member"`
	Incarnation string               `json:"incarnation"`
	Promised    replication.Epoch    `json:"promised"`
	Last        replication.Mark     `json:"last"`
	Commit      replication.Position `json:"commit"`
	// Told and ToldMillis are as in Status.
	Told       replication.Mark `json:"told,omitzero"`
	ToldMillis *int64           `json:"toldMillis,omitempty"`
	Empty      bool             `json:"empty"`
	// Seeding means that the member waits for a seed, because its state is not a prefix of the store's log. It must be
	// neither promoted nor counted.
	Seeding bool `json:"seeding"`
	// GrantMillis is what remains of the read grant that this member gave to the leader it followed. A promotion waits out
	// the largest one, unless the old leader is itself fenced.
	GrantMillis int64 `json:"grantMillis"`
}

// PromoteRequest makes the member lead Epoch, which must be exactly the epoch it has promised. Promoting the leader of
// Epoch again is a no-op. The member's log must end at Start.
type PromoteRequest struct {
	Epoch         replication.Epoch  `json:"epoch"`
	ConfigVersion uint64             `json:"configVersion"`
	Rules         []replication.Rule `json:"rules"`
	// Start is the log end on which the operator elected the member. It refuses if its durable end differs.
	Start replication.Mark `json:"start"`
	// LeaseDurationMillis is the duration of the Lease that the leader must renew. With K = 0 it also bounds how long the
	// member may lead without renewing it.
	LeaseDurationMillis int64 `json:"leaseDurationMillis"`
	// GrantWaitMillis is how long the member must wait before it serves linearizable reads or acknowledges writes.
	GrantWaitMillis int64 `json:"grantWaitMillis,omitempty"`
	// SyncTimeoutMillis bounds how long a write waits for its voters before it is answered with "outcome unknown".
	SyncTimeoutMillis int64 `json:"syncTimeoutMillis,omitempty"`
}

// FollowRequest points the member at the leader of Epoch. Epoch must be at least what the member has promised, and is then
// promised. Repeating the request with another address moves the stream. The leader of Epoch itself refuses it.
type FollowRequest struct {
	Epoch   replication.Epoch `json:"epoch"`
	Leader  string            `json:"leader"`
	Address string            `json:"address"` // host:port of the leader's peer port
}

// ConfigureRequest replaces the commit rules of the leader of Epoch. Version must grow; repeating a version is a no-op.
type ConfigureRequest struct {
	Epoch   replication.Epoch  `json:"epoch"`
	Version uint64             `json:"version"`
	Rules   []replication.Rule `json:"rules"`
	// Settings that need no rule; applied if set.
	LeaseDurationMillis int64 `json:"leaseDurationMillis,omitempty"`
}

// HandoverRequest asks the leader of Epoch to hold new writes, commit what it has, and wait until To and every member of
// Also is durable up to its end. Writes are held for at most HoldMillis (the member caps it at 10 s). Then the leader
// resumes on its own, so an operator that dies at this point costs a pause and nothing else.
type HandoverRequest struct {
	Epoch      replication.Epoch `json:"epoch"`
	To         string            `json:"to"`
	HoldMillis int64             `json:"holdMillis"`
	Also       []string          `json:"also,omitempty"`
}

// HandoverReply says that To and every member of Also hold everything. End is the durable end of all of them and of the
// leader, which writes nothing more until the hold ends.
type HandoverReply struct {
	End replication.Mark `json:"end"`
}

// Error is the body of every refusal.
type Error struct {
	Reason  string  `json:"reason"` // in CamelCase
	Message string  `json:"message"`
	Status  *Status `json:"status,omitempty"`
}

func (e *Error) Error() string { return e.Reason + ": " + e.Message }
