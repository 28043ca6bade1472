package replication

// Role is what a member does now.
type Role string

const (
	// RoleWaiting: started (or restarted) and not told yet whom to follow. A member never resumes leadership by itself.
	RoleWaiting Role = "Waiting"
	// RoleFollower: follows a leader: connecting, being cut back, being seeded or streaming.
	RoleFollower Role = "Follower"
	// RoleLeader: leads an epoch.
	RoleLeader Role = "Leader"
	// RoleFenced: promised an epoch that it neither leads nor follows yet.
	RoleFenced Role = "Fenced"
)

// Hello opens a stream, and is said again after every cut.
type Hello struct {
	Store string `json:"store"`
	// StoreUID tells stores of one name apart; "" when the follower was told none.
	StoreUID    string `json:"storeUID,omitempty"`
	Member      string `json:"member"`
	Incarnation string `json:"incarnation"`
	// Epoch is the leadership that the follower was told to join.
	Epoch Epoch `json:"epoch"`
	// Last is the follower's durable log end.
	Last Mark `json:"last"`
	// Probe: Last is only an upper bound of what is common, while the two look for where their logs part.
	Probe bool `json:"probe,omitempty"`
	// Seed: the follower's state is no prefix of any log (mid-seed, or cut below what it had applied); only a snapshot helps.
	Seed bool `json:"seed,omitempty"`
	// Compare, beside Seed: the log may hold what the leader lacks, which is to be cut, and so kept, before a snapshot replaces it.
	Compare bool `json:"compare,omitempty"`
	// GrantMillis is how long, after each Append it hears, the follower refuses every other leader.
	GrantMillis int64 `json:"grantMillis"`
	// Address is the follower's own peer port, host:port, from which it may seed others; "" when it has none. An empty host
	// is that of the connection.
	Address string `json:"address,omitempty"`
	// Begun is the snapshot of which the follower holds a part; nil when there is none.
	Begun *Begun `json:"begun,omitempty"`
	// Direct: a snapshot must come from the leader itself, because the follower that should have sent it did not.
	Direct bool `json:"direct,omitempty"`
	// NoSeed: no snapshot would be taken now, so a Verdict Seed leads to nothing.
	NoSeed bool `json:"noSeed,omitempty"`
	// Fetch: this is said to a follower of Epoch, not to its leader, who sent the asking member there for a snapshot.
	Fetch bool `json:"fetch,omitempty"`
}

// Begun names a snapshot that was received in part. Asked of the same member, it goes on at the byte where it stopped.
type Begun struct {
	From string `json:"from"`
	Mark Mark   `json:"mark"`
}

// Verdict is the leader's answer to a Hello.
type Verdict string

const (
	VerdictStream Verdict = "Stream" // records from Last on follow
	VerdictCut    Verdict = "Cut"    // the logs part: cut by (Epoch, End), then say Hello again
	VerdictSeed   Verdict = "Seed"   // the log does not reach back to Last: a snapshot follows, here or at Source
	VerdictRefuse Verdict = "Refuse" // not the leader of that epoch, or another store
)

// HelloReply answers a Hello.
type HelloReply struct {
	Verdict Verdict `json:"verdict"`
	// Epoch and End (Cut): the largest epoch the leader knows at or below the follower's, and where it ended there.
	Epoch   Epoch    `json:"epoch,omitempty"`
	End     Position `json:"end,omitempty"`
	Message string   `json:"message,omitempty"`
	// Acked (Refuse): the follower has acknowledged this to the leader, in this incarnation, and its log ends before; 0: not so.
	Acked Position `json:"acked,omitempty"`
	// Source (Seed): who sends the snapshot in the leader's place; nil: the leader, on this connection. While a source sends,
	// this connection stays open: it is what the leader holds its log for.
	Source *SeedSource `json:"source,omitempty"`
	// ClientPort is the port on the same host where the leader takes clients; 0: none.
	ClientPort int `json:"clientPort,omitempty"`
	// WriteTimeoutMillis is how long a write may wait at the leader, which bounds what a follower waits for on behalf of clients; 0:
	// the leader was not told.
	WriteTimeoutMillis int64 `json:"writeTimeoutMillis,omitempty"`
}

// SeedSource is a follower that sends a snapshot in its leader's place.
type SeedSource struct {
	Member  string `json:"member"`
	Address string `json:"address"` // host:port of its peer port
	// Least is the position that the snapshot must reach: the leader holds its log from there on.
	Least Position `json:"least"`
}

// Append carries records, the commit position, or neither (a heartbeat), from the leader of Epoch.
type Append struct {
	Epoch  Epoch
	Commit Position
	// Sent is the leader's own monotonic time in nanoseconds, read before sending; it means nothing to anybody else and
	// comes back in Ack.
	Sent    int64
	Records []Record
	// Version is that of the commit rules that the leader obeys: a follower can tell whoever decides that a record is older.
	Version uint64
	// Deaf: the leader has heard from too few voters for a while, so it commits nothing, whatever of it still arrives here. It
	// grants and is granted nothing. Only without records.
	Deaf bool
}

// Ack tells what the follower holds on disk. Durable covers records of this stream only after they were fsynced.
type Ack struct {
	Epoch   Epoch
	Durable Position
	Applied Position
	// Sent is the largest Append.Sent heard, 0 before the first: up to Hello.GrantMillis after it the follower accepts no other leader.
	Sent int64
}
