package role

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/go-logr/logr"

	"github.com/replicatedstore/replicatedstore/node/latency"
	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/meta"
	"github.com/replicatedstore/replicatedstore/replication/peer"
	"github.com/replicatedstore/replicatedstore/replication/volume"
	"github.com/replicatedstore/replicatedstore/replication/wal"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// Options configure a member. They are fixed for its life.
type Options struct {
	FS    vfs.FS
	Dir   string
	Store string
	// StoreUID distinguishes stores of the same name; "" if unknown.
	StoreUID string
	// Member is this member's name, and Version the running build.
	Member, Version string
	Log             logr.Logger
	// Now is the clock; nil means time.Now. Only differences matter, so its monotonic reading decides.
	Now func() time.Time
	// Wall is the wall clock in unix milliseconds, which may jump; nil means that of time.Now.
	Wall func() int64
	// Dial opens a connection to a peer port.
	Dial peer.Dialer
	// Peer is this member's own peer port as others reach it, as host:port. With an empty host, the host of its
	// connections is used. If Peer is "", the member seeds nobody while it follows.
	Peer string
	// Client is the port on which this member takes clients, and to which other members forward theirs while it leads; 0
	// if it takes none.
	Client int
	// SeedRate bounds what this member sends to seed others, in bytes per second for all of them together; 0 means no
	// bound.
	SeedRate int64
	// SeedBurst and SeedRefill are the budget of whole snapshots that a member which had data takes: SeedBurst at once,
	// and one more each time SeedRefill has passed. The defaults are 3 and 20 minutes.
	SeedBurst  int
	SeedRefill time.Duration
	// Memory is for the state machine, and LogRetain is how much log is kept for followers that come back, both in bytes.
	Memory, LogRetain int64
	// RetainEvery is how often the log is pruned. The default is 5 s.
	RetainEvery time.Duration
	// ScrubEvery is how often Runner verifies the log segments that were closed since the last time. Every 24 times that,
	// it verifies all of them. The default is one hour.
	ScrubEvery time.Duration
	// Segments are the log's options. Where the log lives and what it reports to is set here, in this package.
	Segments wal.Options
	// NewIncarnation names a new directory; nil means a random name.
	NewIncarnation func() string
	// WriteTimeout is called with how long writes may wait for their voters, when the operator tells this leader, or a
	// leader tells this follower. It may be nil.
	WriteTimeout func(time.Duration)
	// Lease is held while leading; nil means none.
	Lease Lease
	// CutClients is called when a leadership ends: client connections must no longer rely on it.
	CutClients func(reason string)
	// LostHistory is called when a leader's log does not hold what this member has shown to clients, and before anything
	// else is shown: their connections must not go on.
	LostHistory func(reason string)
	// LeaderMoved is called, in the role goroutine, with the address at which the leader takes clients, as host:port; ""
	// if it is not known.
	LeaderMoved func(address string)
}

func (o *Options) complete() {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Wall == nil {
		o.Wall = func() int64 { return time.Now().UnixMilli() }
	}
	o.RetainEvery = cmp.Or(o.RetainEvery, 5*time.Second)
	o.ScrubEvery = cmp.Or(o.ScrubEvery, scrubEvery)
	o.SeedBurst = cmp.Or(o.SeedBurst, 3)
	o.SeedRefill = cmp.Or(o.SeedRefill, 20*time.Minute)
	if o.CutClients == nil {
		o.CutClients = func(string) {}
	}
	if o.LostHistory == nil {
		o.LostHistory = func(string) {}
	}
	if o.LeaderMoved == nil {
		o.LeaderMoved = func(string) {}
	}
}

// Lease is the leader's claim in the cluster's API, as far as this package needs it.
type Lease interface {
	// Hold renews the Lease until Release. deposed is called once, when the record there names a higher epoch.
	Hold(epoch replication.Epoch, duration time.Duration, deposed func(replication.Epoch))
	Release()
	// Valid reports whether the last renewal still protects an asynchronous leader. It may be called by any goroutine.
	Valid(now time.Time) bool
}

// Member is the role of one member of a store, as an object without goroutines of its own: Works runs it.
type Member struct {
	opt   Options
	works Works
	start time.Time

	volume *volume.Volume

	contents atomic.Pointer[Contents]
	room     atomic.Pointer[Room] // nil: before the first look at the volume

	// Published in the role goroutine for readers that must not wait for it.
	role          atomic.Uint32 // index into roles
	last, commit  atomic.Uint64 // the log's end and the commit position
	beat          atomic.Int64  // when Settle last ran, in nanoseconds since start
	syncBegan     atomic.Int64  // when the running fsync began, in nanoseconds since start; 0: none is running
	probeBegan    atomic.Int64  // the same for the disk probe
	wroteAt       atomic.Int64  // when a write to the log's disk last ended, in nanoseconds since start
	prepares      prepares      // what is done ahead of time for the log
	taking        atomic.Pointer[taking]
	readUntil     atomic.Int64 // nanoseconds since start; see readDeadline
	unheard       atomic.Int64 // see Unheard
	heardAt       atomic.Int64 // when enough voters to commit anything were last heard, in nanoseconds since start
	writable      atomic.Bool  // the sequencer takes writes
	following     atomic.Bool  // the leader is heard
	readable      atomic.Bool  // the state is a prefix of the store's log, though perhaps an old one
	current       atomic.Bool  // see isCurrent
	leaderAddress atomic.Pointer[string]
	leaderClient  atomic.Pointer[string]
	configVersion atomic.Uint64 // of the commit rules in force
	damages       atomic.Uint64 // see Damages
	unreadable    atomic.Uint64 // the highest position at which a stream failed to read the current log; 0: none
	changed       broadcast     // something changed that the operator cares about
	acks          broadcast     // acknowledgements, commit, durability
	held          held
	ending        <-chan struct{} // closed before the process ends any part of this member; nil: it never is
	ended         chan struct{}
	syncTimes     latency.Histogram

	// Role goroutine only.
	core           *replication.Replica
	leaving        bool // see Leaves
	meta           *meta.Store
	syncing        bool
	leader         *leaderState
	link           *Link    // set while there is a leader to follow
	session        *Session // the connection to that leader
	owing          *Session // where to send an acknowledgement when the turn is over
	contact        contact
	hold           *hold
	acked          bool // a follower acknowledged something in this turn, or left
	seeding        *wire.Seeding
	sending        map[string]io.Closer // while following: connections over which snapshots are sent to others, by member
	direct         bool                 // the follower that should have sent a snapshot did not, so the leader must
	sourceFailures int                  // since anything else happened
	retention      retention
	recounting     recounting
	uncut          func() // releases the entries that are to be cut from the log; nil: there are none
	space          space
	problem        problem
	lack           lack
	outdated       outdated
	logDamage      logDamage
	replay         replication.Position // the log's end when the process started
	stamp          int64                // the newest record's wall clock time, in unix milliseconds; never decreases
	caughtUp       uint64               // digest of which followers keep up, as of the last tick
	digest         digest               // what was last reported as a change
	heardLast      time.Time            // when a look last found enough voters heard to commit anything; see Unheard
	ledLast        time.Time            // when a look last found that this member leads or hears its leader; see Unheard
}

// Open opens the member's directory. Settle must be called after every call into the role goroutine, and Tick at every
// heartbeat.
func Open(opt Options, works Works) (*Member, error) {
	opt.complete()
	m := &Member{opt: opt, works: works, ended: make(chan struct{}), sending: map[string]io.Closer{}}
	m.start = opt.Now()
	m.ledLast = m.start
	m.volume = volume.New(opt.FS, opt.Dir, m.logf)
	if err := m.open(); err != nil {
		return nil, err
	}
	return m, nil
}

// Contents returns what is in force. Any goroutine may call it. The state in it may be closed once a snapshot replaces
// it.
func (m *Member) Contents() *Contents { return m.contents.Load() }

// Settle draws the consequences of whatever has just happened. It is idempotent and runs after every event.
func (m *Member) Settle() {
	now := m.opt.Now()
	m.beat.Store(int64(now.Sub(m.start)))
	c := m.Contents()
	m.followLeadership()
	m.openOrClose(now, c) // before anything is acknowledged: an asynchronous leader whose Lease has expired must not acknowledge
	m.kick(c.Log)
	m.publishHeld()
	m.works.Apply(min(m.core.Commit(), c.Log.Durable().Position))
	m.publish(now, c)
}

// kick starts an fsync if one is due and none is running.
func (m *Member) kick(l *wal.Log) {
	if m.syncing || l.Durable() == l.Last() {
		return
	}
	m.syncing = true
	m.syncBegan.Store(m.stopwatch())
	m.works.Sync(l)
}

// Synced reports that the fsync has ended.
func (m *Member) Synced(err error) {
	m.syncEnded()
	if m.final(err) != nil {
		return
	}
	m.core.OnDurable(m.opt.Now())
	if m.session != nil {
		m.session.owe()
	}
}

// settleSync waits until no fsync is running. It is for the rare moments when the log's exact end matters or the log is
// replaced.
func (m *Member) settleSync() error {
	if !m.syncing {
		return nil
	}
	defer m.syncEnded()
	return m.works.AwaitSync()
}

// Tick does what is due at every heartbeat.
func (m *Member) Tick() {
	now := m.opt.Now()
	m.core.Tick(now)
	m.caughtUp = m.core.CaughtUpDigest()
	m.tendSeeds(now)
	m.endSilent(now)
	m.tendVolume(now)
	m.keepUncut()
	m.retain(now)
	m.recount(now)
	m.compareClocks()
	if m.MaySeal() && m.leader.unsealed.count > 0 {
		m.Seal()
	}
}

// MaySeal reports whether Seal is useful now. One batch at a time is being synced, and meanwhile the next one gathers.
func (m *Member) MaySeal() bool {
	return m.leader != nil && m.leader.open && !m.leader.preparing && !m.syncing && !m.space.noRoom && !(m.hold != nil && m.hold.short)
}

// final returns err. Unless err is an orderly refusal, or a lack of space that changed nothing, it also ends the process.
func (m *Member) final(err error) error {
	if err != nil && !replication.IsRefusal(err) && !errors.Is(err, replication.ErrNoSpace) {
		return m.fatal(err)
	}
	return err
}

// fatal returns err, and ends the process with it.
func (m *Member) fatal(err error) error {
	if err != nil {
		m.works.Fail(fmt.Errorf("member %s: %w", m.opt.Member, err))
	}
	return err
}

// stampMilli returns the wall clock time for a record, in unix milliseconds. It is never before that of an earlier
// record.
func (m *Member) stampMilli() int64 {
	m.stamp = max(m.stamp, m.opt.Wall(), m.Contents().State.AppliedTime())
	return m.stamp
}

// Replica returns the protocol's state machine, for checks in the role goroutine.
func (m *Member) Replica() *replication.Replica { return m.core }
