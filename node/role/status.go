package role

import (
	"context"
	"math"
	"time"

	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/peer"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// digest holds what the operator cares about, to detect changes. It must stay comparable.
type digest struct {
	role            replication.Role
	promised, epoch replication.Epoch
	leader          string
	open, covered   bool
	version         uint64
	connected       bool
	refused         bool
	caughtUp        uint64 // a hash over the names of caught-up followers
	seeding         bool
	current         bool
	problem         problem
	disk            wire.DiskLevel
	leaving         bool
}

// publish makes the new state visible to readers outside the role goroutine, and wakes whoever waits for it.
func (m *Member) publish(now time.Time, c *Contents) {
	last, commit := uint64(c.Log.Last().Position), uint64(m.core.Commit())
	grew := m.last.Swap(last) != last
	if grew {
		m.ship()
	}
	moved := m.commit.Swap(commit) != commit
	role := roleIndex(m.core.Role())
	turned := m.role.Swap(role) != role
	m.readable.Store(!m.core.Promises().NeedSeed)
	current := m.isCurrent(c)
	m.current.Store(current)
	m.readUntil.Store(m.readDeadline(now))
	unheard := m.core.Unheard(now)
	if unheard < peer.Silence {
		m.heardLast = now
	}
	following := m.connected(now)
	if following || m.core.Role() == replication.RoleLeader {
		m.ledLast = now
	}
	m.unheard.Store(int64(max(min(unheard, now.Sub(m.heardLast)), now.Sub(m.ledLast))))
	m.heardAt.Store(int64(now.Sub(m.start) - unheard))
	_, version := m.core.Rules()
	m.configVersion.Store(version)
	m.writable.Store(m.leader != nil && m.leader.open)
	m.following.Store(following)
	if d := m.takeDigest(now, current); d != m.digest {
		m.digest = d
		m.changed.signal()
	}
	if m.acked || grew || moved || turned || m.hold.progressed(c) {
		m.acked = false
		m.acks.signal() // last: whoever this wakes reads what was just published
	}
}

var roles = [...]replication.Role{replication.RoleWaiting, replication.RoleFollower, replication.RoleLeader, replication.RoleFenced}

func roleIndex(role replication.Role) uint32 {
	for i, x := range roles {
		if x == role {
			return uint32(i)
		}
	}
	panic("role: unknown role " + string(role))
}

// Role returns this member's current role. It never waits.
func (m *Member) Role() replication.Role { return roles[m.role.Load()] }

// readDeadline returns until when linearizable reads may be served, in nanoseconds since start; 0 means not at all.
func (m *Member) readDeadline(now time.Time) int64 {
	if m.leader == nil || !m.leader.open {
		return 0
	}
	w := m.core.ReadWindow(now)
	switch {
	case w <= 0:
		return 0
	case w == math.MaxInt64:
		return math.MaxInt64 // k = 0: as long as the Lease is valid
	default:
		return int64(now.Sub(m.start) + w)
	}
}

func (m *Member) takeDigest(now time.Time, current bool) digest {
	p := m.core.Promises()
	d := digest{
		role: m.core.Role(), promised: p.Promised, epoch: p.Epoch, leader: p.Leader,
		open: m.leader != nil && m.leader.open, covered: m.core.CommitCovered(),
		connected: m.connected(now), refused: m.contact.refused,
		seeding: m.seeding != nil, current: current, problem: m.trouble(), disk: m.disk().Level, leaving: m.leaving,
	}
	_, d.version = m.core.Rules()
	d.caughtUp = m.caughtUp
	return d
}

// connected reports whether this follower hears its leader.
func (m *Member) connected(now time.Time) bool {
	return m.session != nil && m.core.Matched() && now.Sub(m.contact.heardAt) < peer.Silence && !m.contact.deaf
}

// Deaf reports whether this leader has not heard enough voters to commit anything for as long as followers wait for a
// silent leader: either acknowledgements do not arrive, or the leader does not get round to taking them. It may be called
// by any goroutine.
func (m *Member) Deaf() bool {
	now := m.opt.Now().Sub(m.start)
	unheard, away := now-time.Duration(m.heardAt.Load()), now-time.Duration(m.beat.Load())
	return unheard >= peer.Silence && (away < peer.Silence || unheard >= stuckSilence && m.Stuck() >= peer.Silence)
}

// Unheard returns for how long too few voters have been heard to commit anything, as of when the role goroutine last came
// round, so it does not grow while nothing moves here. If this member does not lead, it is for how long it has heard no
// leader that was not itself deaf. A voter that was never heard counts only from when it became a voter. Unheard may be
// called by any goroutine.
func (m *Member) Unheard() time.Duration { return time.Duration(m.unheard.Load()) }

// stuckSilence is how long this leader may be stuck before it declares itself deaf. A busy disk stops it for moments, or
// for as long as a long write makes progress.
const stuckSilence = 3 * time.Second

// Changed returns a channel that is closed at the next change that matters to the operator.
func (m *Member) Changed() <-chan struct{} { return m.changed.next() }

// Status returns everything this member tells about itself.
func (m *Member) Status(ctx context.Context) (s wire.Status, err error) {
	err = m.works.Do(ctx, func() { s = m.status() })
	return s, err
}

// Glimpse returns the part of Status that is available at once, whoever holds the turn: names, role and positions. It may
// be called by any goroutine.
func (m *Member) Glimpse() wire.Status {
	s := wire.Status{
		Store: m.opt.Store, Member: m.opt.Member, Role: m.Role(), Writable: m.Open(),
		Last: replication.Mark{Position: replication.Position(m.last.Load())}, Commit: replication.Position(m.commit.Load()),
	}
	if m.Following() {
		s.Contact = &wire.Contact{Connected: true}
	}
	return s
}

func (m *Member) status() wire.Status {
	now, c, p := m.opt.Now(), m.Contents(), m.core.Promises()
	s := wire.Status{
		Store: m.opt.Store, StoreUID: m.opt.StoreUID, DataUID: m.meta.State().StoreUID,
		Member: m.opt.Member, Incarnation: m.meta.State().Incarnation, Version: m.opt.Version,
		Role: m.core.Role(), Promised: p.Promised,
		Writable: m.leader != nil && m.leader.open, CommitCovered: m.core.CommitCovered(),
		Last: c.Log.Last(), Durable: c.Log.Durable(), Commit: m.core.Commit(), Applied: c.State.Applied().Position, Told: m.core.Told(), ToldMillis: m.core.ToldMillis(now),
		Empty: m.core.Empty(), NeedSeed: p.NeedSeed, Leaving: m.leaving, Seeding: m.seedingStatus(), Quarantined: m.meta.State().Quarantined, Problem: m.trouble().text, ProblemReason: m.trouble().reason, Disk: m.disk(),
	}
	s.Rules, s.ConfigVersion = m.core.Rules()
	switch s.Role {
	case replication.RoleLeader, replication.RoleFollower:
		s.Epoch, s.Leader = p.Epoch, p.Leader
	case replication.RoleWaiting, replication.RoleFenced:
	}
	if s.Role == replication.RoleFollower {
		s.Contact = &wire.Contact{Connected: m.connected(now), Refused: m.contact.refused, Deaf: m.contact.deaf, SilentMillis: -1}
		if !m.contact.heardAt.IsZero() {
			s.Contact.SilentMillis = now.Sub(m.contact.heardAt).Milliseconds()
		}
	}
	if fs := m.core.Followers(now); fs != nil {
		s.Followers = make(map[string]wire.FollowerView, len(fs))
		for name, f := range fs {
			s.Followers[name] = wire.FollowerView{
				Incarnation: f.Voter.Incarnation, Durable: f.Durable, Applied: f.Applied,
				CaughtUp: f.CaughtUp, Live: f.Live, SilentMillis: f.Silent.Milliseconds(), Seeding: f.Seeding,
				Address: f.Address,
			}
		}
	}
	return s
}

// seedingStatus returns the progress of a seed. A member whose state is unusable until it is seeded reports one even
// while none is under way, so that nobody takes it for a holder of data.
func (m *Member) seedingStatus() *wire.Seeding {
	if m.seeding == nil && m.core.Promises().NeedSeed {
		return &wire.Seeding{From: m.core.Promises().Leader, SecondsLeft: -1}
	}
	return m.seeding
}

// AwaitReadWindow returns nil once this leader may serve a linearizable read, because no other leader can have been
// promoted. It waits for that as long as ctx lives.
func (m *Member) AwaitReadWindow(ctx context.Context) error {
	if m.MayRead() {
		return nil
	}
	for {
		changed, acked := m.changed.next(), m.acks.next()
		if m.MayRead() {
			return nil
		}
		select {
		case <-changed:
		case <-acked:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-m.ending:
			return errStopped
		case <-m.ended:
			return errStopped
		}
	}
}

// MayRead reports whether a linearizable read may be served now. It consults the clock, not what the role goroutine last
// noticed, because the process may just have been paused. And when the member ends, it does not depend on the leadership
// having been ended, which a hung disk may delay.
func (m *Member) MayRead() bool {
	select {
	case <-m.ending:
		return false
	default:
	}
	now := m.opt.Now()
	if until := m.readUntil.Load(); until != math.MaxInt64 {
		return until > int64(now.Sub(m.start))
	}
	return m.opt.Lease == nil || m.opt.Lease.Valid(now)
}

// isCurrent reports whether reads here are no older than anything this member has shown or acknowledged before. For a
// leader that holds once it takes writes; for any other member, once it has applied what its log held when the process
// began. Until then its state machine may be where it was last flushed, far behind what the previous process had applied.
func (m *Member) isCurrent(c *Contents) bool {
	if m.leader != nil {
		return m.leader.open
	}
	return c.State.Applied().Position >= min(m.replay, c.Log.Last().Position)
}

// AwaitCurrent returns nil once reads here cannot go back behind what this member has shown before. It waits for that as
// long as ctx lives.
func (m *Member) AwaitCurrent(ctx context.Context) error {
	if m.Current() {
		return nil
	}
	for {
		changed := m.changed.next()
		if m.Current() {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-m.ended:
			return errStopped
		}
	}
}

// Current reports whether AwaitCurrent would return at once.
func (m *Member) Current() bool { return m.current.Load() }

// Readable reports whether the state is a prefix of the store's log, however old.
func (m *Member) Readable() bool { return m.readable.Load() }

// LeaderAddress returns the peer address of the leader being followed; "" if there is none.
func (m *Member) LeaderAddress() string {
	if a := m.leaderAddress.Load(); a != nil {
		return *a
	}
	return ""
}

// LeaderClient returns the client address, host:port, of the leader that this member hears; "" if it hears none or does
// not know the address.
func (m *Member) LeaderClient() string {
	if a := m.leaderClient.Load(); a != nil && m.Following() {
		return *a
	}
	return ""
}

// Open reports whether this leader takes writes.
func (m *Member) Open() bool { return m.writable.Load() }

// Following reports whether this follower hears its leader.
func (m *Member) Following() bool { return m.following.Load() }

// Stuck returns for how long the role goroutine has neither come round nor seen the disk make progress on a write.
// Progress is an excuse for turnExcused at most. The role goroutine comes round at least every heartbeat, unless the disk
// holds it up.
func (m *Member) Stuck() time.Duration {
	return m.opt.Now().Sub(m.start) - m.idleSince(m.beat.Load(), turnExcused)
}
