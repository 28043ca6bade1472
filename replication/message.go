package replication

// Role is what a member currently does.
type Role string

const (
	// RoleWaiting means that the member has started or restarted and has not been told yet whom to follow. A member never resumes
	// leadership on its own.
	RoleWaiting Role = "Waiting"
	// RoleFollower means that the member follows a leader. It is connecting, being truncated, being seeded, or streaming.
	RoleFollower Role = "Follower"
	// RoleLeader means that the member leads an epoch.
	RoleLeader Role = "Leader"
	// RoleFenced means that the member has promised an epoch that it neither leads nor follows yet.
	RoleFenced Role = "Fenced"
)

// Hello opens a stream. The follower sends it again after every VerdictCut.
type Hello struct {
	Store string `json:"store"`
	// StoreUID distinguishes stores of the same name. It is empty when the follower was not told its UID.
	StoreUID    string `json:"storeUID,omitempty"`
	Member      string `json:"member"`
	Incarnation string `json:"incarnation"`
	// Epoch is the leadership that the follower was told to join.
	Epoch Epoch `json:"epoch"`
	// Last is the follower's durable log end.
	Last Mark `json:"last"`
	// Probe means that Last is only an upper bound on the common prefix: the two members are still looking for the point
	// where their logs diverge.
	Probe bool `json:"probe,omitempty"`
	// Seed means that the follower's state is not a prefix of any log (a seed was interrupted, or the log was cut below
	// what had been applied). Only a snapshot helps.
	Seed bool `json:"seed,omitempty"`
	// Compare is said beside Seed: the log may hold entries that the leader lacks. They must be cut, which keeps them in
	// quarantine, before a snapshot replaces the log.
	Compare bool `json:"compare,omitempty"`
	// GrantMillis is the length of the follower's read grant. Each Append that it hears renews the grant, and until the
	// grant has run out no other leader commits anything with this follower's help.
	GrantMillis int64 `json:"grantMillis"`
	// Address is the host:port of the follower's own peer port, from which it can seed others; empty when it has none. An
	// empty host stands for the host of this connection.
	Address string `json:"address,omitempty"`
	// Begun identifies the snapshot that the follower has received in part; nil when there is none.
	Begun *Begun `json:"begun,omitempty"`
	// Direct means that the leader itself must send any snapshot, because the follower that should have sent it did not.
	Direct bool `json:"direct,omitempty"`
	// NoSeed means that the follower would not accept a snapshot now, so VerdictSeed leads to nothing.
	NoSeed bool `json:"noSeed,omitempty"`
	// Fetch means that the receiver is a follower of Epoch, not its leader: the leader sent the asking member there for a
	// snapshot.
	Fetch bool `json:"fetch,omitempty"`
}

// Begun identifies a partly received snapshot. Requested again from the same member, it resumes at the byte where it
// stopped.
type Begun struct {
	From string `json:"from"`
	Mark Mark   `json:"mark"`
}

// Verdict is the leader's answer to a Hello.
type Verdict string

const (
	VerdictStream Verdict = "Stream" // records after Last follow
	VerdictCut    Verdict = "Cut"    // the logs diverge: truncate by (Epoch, End), then say Hello again
	VerdictSeed   Verdict = "Seed"   // the log does not reach back to Last: a snapshot follows, here or at Source
	VerdictRefuse Verdict = "Refuse" // not the leader of that epoch, another store, or Acked is set
)

// HelloReply answers a Hello.
type HelloReply struct {
	Verdict Verdict `json:"verdict"`
	// Epoch and End (with VerdictCut) are the largest epoch in the leader's log at or below the follower's, and the last
	// position of that epoch there.
	Epoch   Epoch    `json:"epoch,omitempty"`
	End     Position `json:"end,omitempty"`
	Message string   `json:"message,omitempty"`
	// Acked (with VerdictRefuse) is the position that the follower has acknowledged to this leader in this incarnation,
	// when its log now ends before it. It is 0 otherwise.
	Acked Position `json:"acked,omitempty"`
	// Source (with VerdictSeed) is the follower that sends the snapshot in the leader's place; nil means the leader sends
	// it on this connection. While a source sends, this connection stays open: the leader retains its log for as long as it
	// does.
	Source *SeedSource `json:"source,omitempty"`
	// ClientPort is the port on the same host where the leader serves clients; 0 when it serves none.
	ClientPort int `json:"clientPort,omitempty"`
	// WriteTimeoutMillis is how long a write may wait at the leader. It bounds how long a follower waits on behalf of
	// clients. It is 0 when the leader was not told.
	WriteTimeoutMillis int64 `json:"writeTimeoutMillis,omitempty"`
}

// SeedSource is a follower that sends a snapshot in its leader's place.
type SeedSource struct {
	Member  string `json:"member"`
	Address string `json:"address"` // host:port of its peer port
	// Least is the position that the snapshot must reach: the leader retains its log from there on.
	Least Position `json:"least"`
}

// Append carries records, the commit position, or neither (a heartbeat) from the leader of Epoch.
type Append struct {
	Epoch  Epoch
	Commit Position
	// Sent is the leader's monotonic time in nanoseconds, read before sending. It means nothing to anybody else; Ack
	// returns it.
	Sent    int64
	Records []Record
	// Version is the version of the commit rules that the leader obeys. It lets a follower tell the operator that
	// the operator's record of them is out of date.
	Version uint64
	// Deaf means that the leader has not heard from enough voters for a while, so it commits nothing even though its
	// messages still arrive here. A deaf Append carries no records and renews no grant.
	Deaf bool
}

// Ack reports what the follower holds on disk. Durable covers records of this stream only once they have been fsynced.
type Ack struct {
	Epoch   Epoch
	Durable Position
	Applied Position
	// Sent is the largest Append.Sent that the follower has heard, 0 before the first. The grant that it renews ends
	// Hello.GrantMillis after it.
	Sent int64
}
