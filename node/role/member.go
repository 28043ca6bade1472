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

// Options are fixed for a member's life.
type Options struct {
	FS    vfs.FS
	Dir   string
	Store string
	// StoreUID tells stores of one name apart; "": nobody said.
	StoreUID string
	// Member is this member's name; Version the build that runs.
	Member, Version string
	Log             logr.Logger
	// Now is the clock; nil means time.Now. Only differences count, and its monotonic reading is what decides.
	Now func() time.Time
	// Wall is the calendar in unix milliseconds, which may jump; nil means time.Now's.
	Wall func() int64
	// Dial reaches a peer port.
	Dial peer.Dialer
	// Peer is this member's own peer port as others reach it, host:port; an empty host is that of its connections. "": it
	// seeds nobody while it follows.
	Peer string
	// Client is the port on which this member takes clients, which others forward theirs to while it leads; 0: none do.
	Client int
	// SeedRate bounds what this member sends to seed others, in bytes per second over all of them; 0: no bound.
	SeedRate int64
	// SeedBurst and SeedRefill are the budget of whole snapshots that a member that had data takes: so many at once, and one
	// more each time that SeedRefill has passed. Default 3 and 20 minutes.
	SeedBurst  int
	SeedRefill time.Duration
	// Memory for the state machine, in bytes; LogRetain is how much log is kept for followers that come back.
	Memory, LogRetain int64
	// RetainEvery is how often the log is pruned; default 5 s.
	RetainEvery time.Duration
	// ScrubEvery is how often Runner verifies the segments of the log that were closed since, and 24 times that, how often all of
	// them; default an hour.
	ScrubEvery time.Duration
	// Segments are the log's options; where it lives and what it reports to is set here.
	Segments wal.Options
	// NewIncarnation names a new directory; nil: at random.
	NewIncarnation func() string
	// WriteTimeout is told how long writes may wait for their voters, when the operator says so to this leader, or this follower's leader
	// does; nil: nobody.
	WriteTimeout func(time.Duration)
	// Lease is held while leading; nil: none.
	Lease Lease
	// CutClients is called when a leadership ends: client connections must not rely on it any more.
	CutClients func(reason string)
	// LostHistory is called when a leader's log does not hold what this member has shown to clients, before anything else is shown:
	// their connections must not go on.
	LostHistory func(reason string)
	// LeaderMoved is told where the leader takes clients, host:port; "": that is not known. Called in the role goroutine.
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

// Lease is the leader's claim in the cluster's API, as far as this room needs it.
type Lease interface {
	// Hold renews until Release. deposed is called once when the record there names a higher epoch.
	Hold(epoch replication.Epoch, duration time.Duration, deposed func(replication.Epoch))
	Release()
	// Valid reports whether the last renewal still protects an asynchronous leader. It may be called from any goroutine.
	Valid(now time.Time) bool
}

// Member is what one member's role makes it do, as an object without goroutines: Works runs it.
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
	syncBegan     atomic.Int64  // when the fsync began that runs, in nanoseconds since start; 0: none does
	probeBegan    atomic.Int64  // the same of the disk probe
	wroteAt       atomic.Int64  // when a write to the log's disk ended last, in nanoseconds since start
	prepares      prepares      // what is done ahead for the log
	taking        atomic.Pointer[taking]
	readUntil     atomic.Int64 // nanoseconds since start; see readDeadline
	unheard       atomic.Int64 // see Unheard
	heardAt       atomic.Int64 // when enough voters were heard last to commit anything by, in nanoseconds since start
	writable      atomic.Bool  // the sequencer takes writes
	following     atomic.Bool  // the leader is heard
	readable      atomic.Bool  // the state is a prefix of the store's log (it may be old)
	current       atomic.Bool  // see isCurrent
	leaderAddress atomic.Pointer[string]
	leaderClient  atomic.Pointer[string]
	configVersion atomic.Uint64 // of the commit rules in force
	damages       atomic.Uint64 // see Damages
	unreadable    atomic.Uint64 // the highest position at which a stream could not read the log in force; 0: none
	changed       broadcast     // something the operator cares for
	acks          broadcast     // acknowledgements, commit, durability
	held          held
	ending        <-chan struct{} // closed before the process ends anything of this member; nil: it never is
	ended         chan struct{}
	syncTimes     latency.Histogram

	// Role goroutine only.
	core           *replication.Replica
	leaving        bool // see Leaves
	meta           *meta.Store
	syncing        bool
	leader         *leaderState
	link           *Link    // set while there is a leader to follow
	session        *Session // the connection to it
	owing          *Session // where an acknowledgement is to be sent when the turn is over
	contact        contact
	hold           *hold
	acked          bool // a follower said something in this turn, or left
	seeding        *wire.Seeding
	sending        map[string]io.Closer // while following: connections over which others are sent a snapshot, by member
	direct         bool                 // the follower that should have sent a snapshot did not: the leader must
	sourceFailures int                  // since anything else happened
	retention      retention
	recounting     recounting
	uncut          func() // lets go of what is to be cut from the log; nil: there is nothing
	space          space
	problem        problem
	lack           lack
	outdated       outdated
	logDamage      logDamage
	replay         replication.Position // the log's end when the process began
	stamp          int64                // the newest record's wall clock, in unix milliseconds; never goes back
	caughtUp       uint64               // which followers keep up, as of the last tick
	digest         digest               // what the last change was about
	heardLast      time.Time            // when enough voters were heard to commit anything, at a look; see Unheard
	ledLast        time.Time            // when this member led or heard its leader, at a look; the same
}

// Open opens the member's directory. Settle must follow every call into the role goroutine, Tick come every heartbeat.
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

// Contents returns what is in force. Called from anywhere; its state may be closed when a snapshot replaces it.
func (m *Member) Contents() *Contents { return m.contents.Load() }

// Settle draws the consequences of whatever just happened; it is idempotent and runs after every event.
func (m *Member) Settle() {
	now := m.opt.Now()
	m.beat.Store(int64(now.Sub(m.start)))
	c := m.Contents()
	m.followLeadership()
	m.openOrClose(now, c) // before anything is acknowledged: an asynchronous leader whose Lease ran out must not
	m.kick(c.Log)
	m.publishHeld()
	m.works.Apply(min(m.core.Commit(), c.Log.Durable().Position))
	m.publish(now, c)
}

// kick starts an fsync if one is due and none runs.
func (m *Member) kick(l *wal.Log) {
	if m.syncing || l.Durable() == l.Last() {
		return
	}
	m.syncing = true
	m.syncBegan.Store(m.stopwatch())
	m.works.Sync(l)
}

// Synced tells that the fsync has ended.
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

// settleSync waits until no fsync runs; for the rare moments when the log's exact end matters, or the log is replaced.
func (m *Member) settleSync() error {
	if !m.syncing {
		return nil
	}
	defer m.syncEnded()
	return m.works.AwaitSync()
}

// Tick is the heartbeat's share of the work.
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

// MaySeal reports whether Seal has a use: one batch at a time is being synced, and meanwhile the next gathers.
func (m *Member) MaySeal() bool {
	return m.leader != nil && m.leader.open && !m.leader.preparing && !m.syncing && !m.space.noRoom && !(m.hold != nil && m.hold.short)
}

// final passes on err unless it is an orderly refusal, or a want of space that changed nothing; a fatal one also ends the
// process.
func (m *Member) final(err error) error {
	if err != nil && !replication.IsRefusal(err) && !errors.Is(err, replication.ErrNoSpace) {
		return m.fatal(err)
	}
	return err
}

// fatal passes on err, and ends the process by it.
func (m *Member) fatal(err error) error {
	if err != nil {
		m.works.Fail(fmt.Errorf("member %s: %w", m.opt.Member, err))
	}
	return err
}

// stampMilli is the wall clock for a record, in unix milliseconds: never before that of an earlier record.
func (m *Member) stampMilli() int64 {
	m.stamp = max(m.stamp, m.opt.Wall(), m.Contents().State.AppliedTime())
	return m.stamp
}

// Replica is the protocol's object, for checks in the role goroutine.
func (m *Member) Replica() *replication.Replica { return m.core }
