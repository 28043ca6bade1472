package resp

import (
	"context"
	"errors"
	"time"

	"github.com/replicatedstore/replicatedstore/node/store"
	"github.com/replicatedstore/replicatedstore/replication"
)

// Role is what a member currently does for clients.
type Role uint8

const (
	RoleWaiting   Role = iota // neither leads nor follows: fenced, waiting for an order, or starting
	RoleFollowing             // applies the log that a leader ships
	RoleLeading               // takes writes once Status.Writable is set
)

func (r Role) String() string {
	switch r {
	case RoleWaiting:
		return "waiting"
	case RoleFollowing:
		return "following"
	case RoleLeading:
		return "leading"
	default:
		return "invalid"
	}
}

// Link is the state of a follower's connection to its leader. String returns the words of Redis's ROLE.
type Link uint8

const (
	LinkNone       Link = iota // no leader is known
	LinkConnecting             // dialing, or finding out where the logs diverge
	LinkSeeding                // receiving a snapshot
	LinkConnected              // receiving the log
)

func (l Link) String() string {
	switch l {
	case LinkNone:
		return "connect"
	case LinkConnecting:
		return "connecting"
	case LinkSeeding:
		return "sync"
	case LinkConnected:
		return "connected"
	default:
		return "invalid"
	}
}

// Follower describes a follower as its leader sees it.
type Follower struct {
	Member  string
	Host    string               // address under which clients reach it; may be a name
	Port    int                  // its client port
	Acked   replication.Position // durable there
	Applied replication.Position // visible to its readers
	Voter   bool                 // counts in a commit rule
	Link    Link
	LagMs   int64 // age of its last acknowledgement, in milliseconds
}

// Status is a snapshot of the member for INFO and ROLE. The server keeps no reference to it beyond one command.
type Status struct {
	Store       string
	Member      string
	Incarnation string
	Role        Role
	Writable    bool // leading, and the epoch's barrier is committed
	Epoch       replication.Epoch

	LeaderHost string // client address of the leader while following; empty when unknown
	LeaderPort int
	Link       Link

	Last    replication.Mark     // end of the log
	Durable replication.Position // fsynced here
	Commit  replication.Position
	Applied replication.Mark

	Rules     []replication.Rule
	Followers []Follower // leader only, ordered by member name
}

// Room tells how much may be written to a leader's volume.
type Room struct {
	// Add is the number of bytes that a command may add to the data.
	Add int64
	// Rewrite reports whether commands may rewrite existing values.
	Rewrite bool
	// Why is the reason why there is no more room, in words for people.
	Why string
}

// Backend is what the server needs from the node that it runs in. All methods are safe for concurrent use. Methods without a context
// never block. None is called while the sequencer is locked, except those that say so.
//
// When the node stops leading, it must close the sequencer and call Server.Deposed or Server.Cut, both before the sequencer is opened
// again. Server relies on this for WATCH, whose registrations mean nothing in a later epoch.
type Backend interface {
	// Status returns a snapshot of the member's state. It may allocate: INFO, ROLE and the like call it, not every command.
	Status() Status

	// Machine returns the state machine that reads are served from, or nil while there is none (the member is being seeded, or is
	// starting). The server asks for it anew in every pipeline, so that a machine that a snapshot replaced is released soon.
	Machine() *store.Machine

	// Sequencer returns the sequencer while this member leads and takes writes, and nil otherwise. It may be closed at any moment.
	Sequencer() *store.Sequencer

	// Place reports whether this member leads, even if it does not take writes yet. If it does not lead, leader is the client address
	// (host:port) of the leader that it hears from, or "" if it hears from none.
	Place() (leads bool, leader string)
	// Changed returns a channel that is closed at the next change of what Place returns, or of whether this member takes writes.
	Changed() <-chan struct{}

	// ReadGate returns nil if this member may serve a read now at the connection's consistency. It may wait, until ctx ends, for a read
	// lease to be renewed. ErrLoading and ErrStale select Redis's LOADING and MASTERDOWN replies. Any other error is sent with the code
	// MASTERDOWN and its own text.
	ReadGate(ctx context.Context) error
	// MustProve reports whether the consistency requires that a leader still leads when it answers a read.
	MustProve() bool

	// Unheard returns for how long this member, if it leads, has heard from too few of its synchronous followers to commit anything, or
	// else has heard from no leader. It never blocks and costs next to nothing.
	Unheard() time.Duration

	// Room returns what may be written now. It is also called while the sequencer is locked, so it must answer from what it knows.
	Room() Room

	// Acknowledged reports whether p is durable here, and on how many followers it is. It is called where nothing may wait, so it must
	// answer from what it knows.
	Acknowledged(p replication.Position) (local bool, followers int)

	// WaitAcknowledged waits until at least followers followers hold p (and p is durable here, if local is set), ctx ends, or leadership
	// is lost. It then returns what Acknowledged returns.
	WaitAcknowledged(ctx context.Context, p replication.Position, local bool, followers int) (bool, int)

	// Shown returns a mark at or above everything that this member can have shown to clients so far, in its own log.
	Shown() replication.Mark
	// Holds reports whether this member leads, and if so, whether its log holds what another member's Shown has returned.
	Holds(shown replication.Mark) (holds, leads bool)

	// SetActiveExpire switches the leader's removal of expired keys on or off (DEBUG SET-ACTIVE-EXPIRE, for test suites).
	// Reads never return expired keys either way.
	SetActiveExpire(on bool)
}

var (
	// ErrLoading is returned by Backend.ReadGate if the member does not hold a complete state yet, because it is being seeded.
	ErrLoading = errors.New("the member is loading its data set")
	// ErrStale is returned by Backend.ReadGate if the member must not answer reads, because it may be cut off from the leader or is a
	// deposed leader.
	ErrStale = errors.New("the member cannot serve reads at this consistency")
)
