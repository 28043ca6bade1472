package wire

import (
	"github.com/replicatedstore/replicatedstore/replication"
)

// Paths of the control port. Requests are POSTed JSON unless stated; a refusal is an HTTP 409 (the member's state forbids
// it: read Error.Status and decide again), 400 (malformed) or 503 (not open yet) with an Error as body.
const (
	PathStatus    = "/v1/status"    // GET -> Status
	PathWatch     = "/v1/watch"     // GET -> Status, one JSON object a line: at once and on every change that matters; five times a second, an empty line while the Essence stays
	PathFence     = "/v1/fence"     // FenceRequest -> FenceReply
	PathPromote   = "/v1/promote"   // PromoteRequest -> Status
	PathFollow    = "/v1/follow"    // FollowRequest -> Status
	PathConfigure = "/v1/configure" // ConfigureRequest -> Status
	PathHandover  = "/v1/handover"  // HandoverRequest -> HandoverReply
	PathLive      = "/livez"        // GET: 200 while the process can make progress
	PathReady     = "/readyz"       // GET: 200 while the member can do its role's work, else 503 with one sentence
	PathMetrics   = "/metrics"      // GET: Prometheus text
)

// Headers that say for whom a request to the control port is meant: the UID of the store's object and the member's name. An
// address outlives the pod that had it, and two stores may have one name in two namespaces. A member to whom a request does
// not belong does nothing and answers 421 (Misdirected Request). Without the headers nothing is checked.
const (
	HeaderStoreUID = "Rstore-Store-Uid"
	HeaderMember   = "Rstore-Member"
)

// ReasonNotAddressed is the Error's reason then.
const ReasonNotAddressed = "NotAddressed"

// Role and its values, for readers of the control port.
type Role = replication.Role

const (
	RoleWaiting  = replication.RoleWaiting
	RoleFollower = replication.RoleFollower
	// RoleLeader: Status.Writable tells whether its barrier is committed and writes are accepted.
	RoleLeader = replication.RoleLeader
	RoleFenced = replication.RoleFenced
)

// Status is everything a member tells about itself. It is a snapshot: by the time it is read it may be old.
type Status struct {
	Store string `json:"store"`
	// StoreUID is that of the store's object that this process serves; "" when it was told none. DataUID is that of the one
	// whose orders this data directory obeyed last: another one while a volume that an earlier store kept is not taken over
	// yet; "" when it obeyed nobody yet.
	StoreUID    string `json:"storeUID,omitempty"`
	DataUID     string `json:"dataUID,omitempty"`
	Member      string `json:"member"`
	Incarnation string `json:"incarnation"`
	Version     string `json:"version"`
	Role        Role   `json:"role"`
	// Promised is the highest epoch this member has durably promised; it refuses every lower one.
	Promised replication.Epoch `json:"promised"`
	// Epoch and Leader: the leadership this member is part of; 0 and "" when waiting or fenced.
	Epoch  replication.Epoch `json:"epoch"`
	Leader string            `json:"leader,omitempty"`
	// ConfigVersion and Rules: the newest commit rules this member knows for Epoch. Two rules: a change is under way and
	// both hold. Authoritative on the leader only.
	ConfigVersion uint64             `json:"configVersion"`
	Rules         []replication.Rule `json:"rules,omitempty"`
	// Writable: the leader's barrier is committed under every rule and it acknowledges writes. Always false elsewhere.
	Writable bool `json:"writable"`
	// CommitCovered (leader): the commit position is durable on K voters of every rule in force, so that the older rule
	// may be dropped.
	CommitCovered bool `json:"commitCovered"`
	// Log ends: written (in memory or on disk), durable, committed as far as known here, applied to the state machine.
	Last    replication.Mark     `json:"last"`
	Durable replication.Mark     `json:"durable"`
	Commit  replication.Position `json:"commit"`
	Applied replication.Position `json:"applied"`
	// Told is the newest commit position that a leader told this process, and that leader's epoch.
	Told replication.Mark `json:"told,omitzero"`
	// ToldMillis: since that leader was last heard, on this member's monotonic clock; nil: by nobody, or this member is from before
	// that was told.
	ToldMillis *int64 `json:"toldMillis,omitempty"`
	// Empty: no log and no state: the data directory is new. Such a member is no voter and never seeds anyone.
	Empty bool `json:"empty"`
	// Contact (follower): the stream to the leader.
	Contact *Contact `json:"contact,omitempty"`
	// Followers (leader): what the leader sees of each follower that has a stream, by member name.
	Followers map[string]FollowerView `json:"followers,omitempty"`
	// NeedSeed: the state on disk is of no use without a snapshot; this member neither votes nor is promoted.
	NeedSeed bool `json:"needSeed,omitempty"`
	// Leaving: this member was told to end. A leader goes on until it is relieved, for as long as it is let.
	Leaving bool `json:"leaving,omitempty"`
	// Seeding is set while this member receives a snapshot.
	Seeding *Seeding `json:"seeding,omitempty"`
	// Quarantined counts entries cut from this member's log by rejoins and kept in quarantine files.
	Quarantined uint64 `json:"quarantined,omitempty"`
	// Problem is one sentence when something needs a person (disk full, reseed refused, ...), else ""; ProblemReason is one
	// of the words below.
	Problem       string `json:"problem,omitempty"`
	ProblemReason string `json:"problemReason,omitempty"`
	Disk          Disk   `json:"disk"`
	// StartedUnixMilli is the process's start on this member's own wall clock: compare for equality only.
	StartedUnixMilli int64 `json:"startedUnixMilli"`
}

// Values of Status.ProblemReason.
const (
	// ProblemNoRoom: the volume cannot take the snapshot that this member needs.
	ProblemNoRoom = "NoRoom"
	// ProblemSeedBudget: this member was seeded too often of late, and waits before it takes another snapshot.
	ProblemSeedBudget = "SeedBudgetSpent"
	// ProblemDiskStuck: the disk does not finish a write.
	ProblemDiskStuck = "DiskStuck"
	// ProblemLogDamaged: a check of old segments of the log found damage.
	ProblemLogDamaged = "LogDamaged"
	// ProblemVolumeOlder: the volume did not hold what this member had acknowledged.
	ProblemVolumeOlder = "VolumeOlder"
)

// Contact is a follower's view of its stream from the leader.
type Contact struct {
	// Connected: the stream is open and the leader was heard within the heartbeat timeout.
	Connected bool `json:"connected"`
	// SilentMillis: since the leader was last heard, on this member's monotonic clock. -1: never in this epoch.
	SilentMillis int64 `json:"silentMillis"`
	// Refused: the last dial was refused by a live host: the leader's process is not there.
	Refused bool `json:"refused,omitempty"`
	// Deaf: the leader is heard, and says itself that it does not hear its voters. Connected is false then.
	Deaf bool `json:"deaf,omitempty"`
}

// FollowerView is the leader's view of one follower.
type FollowerView struct {
	Incarnation string               `json:"incarnation"`
	Durable     replication.Position `json:"durable"`
	Applied     replication.Position `json:"applied"`
	// CaughtUp: streaming live in this epoch and within a bounded distance of the end: it may become a voter.
	CaughtUp bool `json:"caughtUp"`
	// Live: it has a stream now.
	Live bool `json:"live"`
	// SilentMillis since its last acknowledgement or heartbeat answer.
	SilentMillis int64 `json:"silentMillis"`
	Seeding      bool  `json:"seeding,omitempty"`
	// Address is host:port of its peer port; "" when it has none.
	Address string `json:"address,omitempty"`
}

// Seeding is the progress of a snapshot being received.
type Seeding struct {
	// ID names the snapshot; "" while none is being received. A transfer that goes on keeps it.
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
	UsedBytes  int64 `json:"usedBytes"` // by whoever shares the volume
	FreeBytes  int64 `json:"freeBytes"` // beside the reserve
	TotalBytes int64 `json:"totalBytes"`
	// ReserveBytes are set aside so that a full member can still be fenced, promoted and trimmed.
	ReserveBytes int64 `json:"reserveBytes,omitempty"`
	// Level says that little is left, or nothing that data may grow into: a leader then refuses what adds data.
	Level DiskLevel `json:"level,omitempty"`
}

// DiskLevel is how full a volume is; "": there is room.
type DiskLevel string

// Values of DiskLevel.
const (
	DiskNearlyFull DiskLevel = "NearlyFull"
	DiskFull       DiskLevel = "Full"
)

// FenceRequest asks for the promise never to take part in an epoch below Epoch again. Asking again is harmless; asking
// for less than was promised is refused with 409.
type FenceRequest struct {
	Epoch replication.Epoch `json:"epoch"`
}

// FenceReply is sent only after the promise is durable. Last is durable too and does not grow before a leader of an epoch
// >= Promised writes to it.
type FenceReply struct {
	Member      string               `json:"member"`
	Incarnation string               `json:"incarnation"`
	Promised    replication.Epoch    `json:"promised"`
	Last        replication.Mark     `json:"last"`
	Commit      replication.Position `json:"commit"`
	// Told and ToldMillis as in Status.
	Told       replication.Mark `json:"told,omitzero"`
	ToldMillis *int64           `json:"toldMillis,omitempty"`
	Empty      bool             `json:"empty"`
	// Seeding: it waits for a seed because its state is no prefix of the store's log: not promotable and not to be counted.
	Seeding bool `json:"seeding"`
	// GrantMillis: what is left of the read window that this member granted to the leader it followed. A promotion waits
	// out the largest one, unless the old leader is itself fenced.
	GrantMillis int64 `json:"grantMillis"`
	// WasLeader is the highest epoch that this process itself led; 0 if none since it started.
	WasLeader replication.Epoch `json:"wasLeader"`
}

// PromoteRequest makes the member lead Epoch, which it must have promised exactly. Promoting the leader of Epoch again
// is a no-op. The member must hold Start.
type PromoteRequest struct {
	Epoch         replication.Epoch  `json:"epoch"`
	ConfigVersion uint64             `json:"configVersion"`
	Rules         []replication.Rule `json:"rules"`
	// Start is the log end on which the operator elected it; a member whose durable end differs refuses.
	Start replication.Mark `json:"start"`
	// Lease tells the leader what to renew, and how long it may lead without (K = 0).
	LeaseDurationMillis int64 `json:"leaseDurationMillis"`
	// GrantWaitMillis: serve no linearizable read and acknowledge no write before this much has passed.
	GrantWaitMillis int64 `json:"grantWaitMillis,omitempty"`
	// SyncTimeoutMillis bounds how long a write waits for its voters before it is answered "outcome unknown".
	SyncTimeoutMillis int64 `json:"syncTimeoutMillis,omitempty"`
}

// FollowRequest points the member at the leader of Epoch (>= what it promised, which it then promises). Repeating it with
// another address moves the stream. Refused by the leader of Epoch itself.
type FollowRequest struct {
	Epoch   replication.Epoch `json:"epoch"`
	Leader  string            `json:"leader"`
	Address string            `json:"address"` // host:port of the leader's peer port
}

// ConfigureRequest replaces the commit rules of the leader of Epoch. Version must grow; the same version again is a no-op.
type ConfigureRequest struct {
	Epoch   replication.Epoch  `json:"epoch"`
	Version uint64             `json:"version"`
	Rules   []replication.Rule `json:"rules"`
	// Changes of settings that need no rule, applied when set.
	LeaseDurationMillis int64 `json:"leaseDurationMillis,omitempty"`
}

// HandoverRequest asks the leader of Epoch to hold new writes, commit what it has, and wait until To, and every one of Also, is
// durable at its end. Writes are held for at most HoldMillis (bounded to 10 s by the member); then the leader opens again by itself, so that
// an operator that dies here costs a pause and nothing else.
type HandoverRequest struct {
	Epoch      replication.Epoch `json:"epoch"`
	To         string            `json:"to"`
	HoldMillis int64             `json:"holdMillis"`
	Also       []string          `json:"also,omitempty"`
}

// HandoverReply says that To, and each of Also, held everything: End is its and the leader's durable end, and the leader writes nothing more
// until the hold ends.
type HandoverReply struct {
	End replication.Mark `json:"end"`
}

// Error is the body of every refusal.
type Error struct {
	Reason  string  `json:"reason"` // CamelCase
	Message string  `json:"message"`
	Status  *Status `json:"status,omitempty"`
}

func (e *Error) Error() string { return e.Reason + ": " + e.Message }
