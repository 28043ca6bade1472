package resp

import (
	"context"
	"errors"
	"time"

	"github.com/replicatedstore/replicatedstore/node/store"
	"github.com/replicatedstore/replicatedstore/replication"
)

// Role is what a member does for clients right now.
type Role uint8

const (
	RoleWaiting   Role = iota // neither leads nor follows: fenced, waiting for an order, or starting
	RoleFollowing             // applies what a leader ships
	RoleLeading               // may take writes once Status.Writable
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

// Link is a follower's connection to its leader, in the words of Redis's ROLE.
type Link uint8

const (
	LinkNone       Link = iota // no leader is known
	LinkConnecting             // dialling, or agreeing on where the logs part
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

// Follower is a follower as its leader sees it.
type Follower struct {
	Member  string
	Host    string               // address clients reach it under; may be a name
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

// Room is what may be written to a leader's volume.
type Room struct {
	// Add is how many bytes a command may add to the data.
	Add int64
	// Rewrite: commands may write values anew that are there already.
	Rewrite bool
	// Why there is no more, for people.
	Why string
}

// Backend is what the server needs of the node it runs in. All methods are safe for concurrent use; those without a
// context never block, and none is called while the sequencer is locked.
//
// The node promises: when it stops leading it closes the sequencer and calls Server.Deposed or Server.Cut, both before the
// sequencer is opened again. Server relies on it for WATCH, whose registrations are worth nothing in a later epoch.
type Backend interface {
	// Status may allocate; it is called by INFO, ROLE and the like, not per command.
	Status() Status

	// Machine returns the state machine reads are served from; nil while there is none (the member is being seeded, or
	// starts). It is asked for once a pipeline, so that a machine that a snapshot replaced is let go soon.
	Machine() *store.Machine

	// Sequencer returns the sequencer while this member leads and takes writes, nil otherwise. It may be closed any moment.
	Sequencer() *store.Sequencer

	// Place tells whether this member leads, though it may not take writes yet, and else where the leader that it hears takes
	// clients: host:port, "" when it hears none. Changed returns a channel that is closed when that, or whether writes are taken
	// here, changes next.
	Place() (leads bool, leader string)
	Changed() <-chan struct{}

	// ReadGate returns nil when this member may serve a read now at the connection's consistency. It may wait (for a read
	// lease to be renewed) as long as ctx lives. ErrLoading and ErrStale choose Redis's LOADING and MASTERDOWN replies;
	// any other error is sent with the code MASTERDOWN and its own text.
	ReadGate(ctx context.Context) error
	// MustProve reports whether the consistency asks of a leader to be the leader when it answers what it read.
	MustProve() bool

	// Unheard is for how long a leader has heard too few of its synchronous followers to commit anything, and who does not lead no
	// leader; it never blocks and costs next to nothing.
	Unheard() time.Duration

	// Room is what may be written now. Unlike the others it is called while the sequencer is locked too, so it only tells
	// what it knows.
	Room() Room

	// Acknowledged returns whether p is durable here, and on how many followers it is. It only tells what is known: it is called where
	// nothing may wait.
	Acknowledged(p replication.Position) (local bool, followers int)

	// WaitAcknowledged returns as Acknowledged once at least `followers` followers hold p (and p is durable here, if
	// local), or when ctx ends or leadership is lost, whichever is first.
	WaitAcknowledged(ctx context.Context, p replication.Position, local bool, followers int) (bool, int)

	// SetActiveExpire switches the leader's removal of expired keys on or off (DEBUG SET-ACTIVE-EXPIRE, for test suites).
	// Reads never return expired keys either way.
	SetActiveExpire(on bool)
}

var (
	// ErrLoading: the member holds no complete state yet (it is being seeded).
	ErrLoading = errors.New("the member is loading its data set")
	// ErrStale: the member may be cut off from the leader, or is a deposed leader, and so must not answer reads.
	ErrStale = errors.New("the member cannot serve reads at this consistency")
)
