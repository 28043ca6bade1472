package role

import (
	"context"
	"math"
	"time"

	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/peer"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// digest is what changes that matter are recognised by; comparable.
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
	problem         string
}

// publish makes the new state visible to readers without the role goroutine, and wakes whoever waits for it.
func (r *Runner) publish(now time.Time, g *Generation) {
	last, commit := uint64(g.Log.Last().Position), uint64(r.core.Commit())
	grew := r.last.Swap(last) != last
	if moved := r.commit.Swap(commit) != commit; grew || moved {
		r.wakeStreams()
		r.acks.signal()
	}
	r.role.Store(roleIndex(r.core.Role()))
	r.readable.Store(!r.core.Promises().NeedSeed)
	r.readUntil.Store(r.readDeadline(now))
	r.writable.Store(r.leader != nil && r.leader.open)
	r.following.Store(r.connected(now))
	if d := r.takeDigest(now); d != r.digest {
		r.digest = d
		r.changed.signal()
	}
}

func (r *Runner) wakeStreams() {
	if r.leader == nil {
		return
	}
	for _, s := range r.leader.streams {
		nudge(s.pub.Wake)
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

// Role is what this member does now; it never waits.
func (r *Runner) Role() replication.Role { return roles[r.role.Load()] }

// readDeadline is until when linearizable reads may be served, in nanoseconds since the start; 0: not at all.
func (r *Runner) readDeadline(now time.Time) int64 {
	if r.leader == nil || !r.leader.open {
		return 0
	}
	w := r.core.ReadWindow(now)
	switch {
	case w <= 0:
		return 0
	case w == math.MaxInt64:
		return math.MaxInt64 // k = 0: as long as the Lease protects
	default:
		return int64(now.Sub(r.start) + w)
	}
}

func (r *Runner) takeDigest(now time.Time) digest {
	p := r.core.Promises()
	d := digest{
		role: r.core.Role(), promised: p.Promised, epoch: p.Epoch, leader: p.Leader,
		open: r.leader != nil && r.leader.open, covered: r.core.CommitCovered(),
		connected: r.connected(now), refused: r.contact.refused,
		seeding: r.seeding != nil, problem: r.problem,
	}
	_, d.version = r.core.Rules()
	d.caughtUp = r.caughtUp
	return d
}

// connected reports whether the leader is heard.
func (r *Runner) connected(now time.Time) bool {
	return r.session != nil && r.core.Matched() && now.Sub(r.contact.heardAt) < peer.Silence
}

// Changed returns a channel that is closed at the next change that the operator cares for.
func (r *Runner) Changed() <-chan struct{} { return r.changed.next() }

// Status is everything this member tells about itself.
func (r *Runner) Status(ctx context.Context) (s wire.Status, err error) {
	err = r.do(ctx, func() { s = r.status() })
	return s, err
}

func (r *Runner) status() wire.Status {
	now, g, p := r.opt.Now(), r.gen.Load(), r.core.Promises()
	s := wire.Status{
		Store: r.opt.Store, Member: r.opt.Member, Incarnation: r.meta.State().Incarnation, Version: r.opt.Version,
		Role: r.core.Role(), Promised: p.Promised,
		Writable: r.leader != nil && r.leader.open, CommitCovered: r.core.CommitCovered(),
		Last: g.Log.Last(), Durable: g.Log.Durable(), Commit: r.core.Commit(), Applied: g.Machine.Applied().Position,
		Empty: r.core.Empty(), Seeding: r.seedingStatus(), Quarantined: r.meta.State().Quarantined, Problem: r.problem, Disk: r.diskUsage(),
		StartedUnixMilli: r.start.UnixMilli(),
	}
	s.Rules, s.ConfigVersion = r.core.Rules()
	switch s.Role {
	case replication.RoleLeader, replication.RoleFollower:
		s.Epoch, s.Leader = p.Epoch, p.Leader
	case replication.RoleWaiting, replication.RoleFenced:
	}
	if s.Role == replication.RoleFollower {
		s.Contact = &wire.Contact{Connected: r.connected(now), Refused: r.contact.refused, SilentMillis: -1}
		if !r.contact.heardAt.IsZero() {
			s.Contact.SilentMillis = now.Sub(r.contact.heardAt).Milliseconds()
		}
	}
	if fs := r.core.Followers(now); fs != nil {
		s.Followers = make(map[string]wire.FollowerView, len(fs))
		for name, f := range fs {
			s.Followers[name] = wire.FollowerView{
				Incarnation: f.Voter.Incarnation, Durable: f.Durable, Applied: f.Applied,
				CaughtUp: f.CaughtUp, Live: f.Live, SilentMillis: f.Silent.Milliseconds(), Seeding: f.Seeding,
			}
		}
	}
	return s
}

// seedingStatus is the progress of a seed; also without one under way while the state on disk is of no use without, so that
// nobody takes this member for a holder of data.
func (r *Runner) seedingStatus() *wire.Seeding {
	if r.seeding == nil && r.core.Promises().NeedSeed {
		return &wire.Seeding{From: r.core.Promises().Leader, SecondsLeft: -1}
	}
	return r.seeding
}

// AwaitReadWindow returns nil once this leader may serve a linearizable read: no other can have been promoted. It waits for
// that as long as ctx lives.
func (r *Runner) AwaitReadWindow(ctx context.Context) error {
	for {
		changed, acked := r.changed.next(), r.acks.next()
		if r.mayRead() {
			return nil
		}
		select {
		case <-changed:
		case <-acked:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-r.done:
			return errStopped
		}
	}
}

// mayRead goes by the clock, not by what the role goroutine noticed: the process may just have been paused.
func (r *Runner) mayRead() bool {
	now := r.opt.Now()
	if until := r.readUntil.Load(); until != math.MaxInt64 {
		return until > int64(now.Sub(r.start))
	}
	return r.opt.Lease == nil || r.opt.Lease.Valid(now)
}

// Readable reports whether the state is a prefix of the store's log, however old.
func (r *Runner) Readable() bool { return r.readable.Load() }

// Generation returns the state in force; its machine may be closed when a snapshot replaces it.
func (r *Runner) Generation() *Generation { return r.gen.Load() }

// LeaderAddress is the peer address of the leader being followed; "" when there is none.
func (r *Runner) LeaderAddress() string {
	if a := r.leaderAddress.Load(); a != nil {
		return *a
	}
	return ""
}

// Open reports whether this leader takes writes.
func (r *Runner) Open() bool { return r.writable.Load() }

// Following reports whether this follower hears its leader.
func (r *Runner) Following() bool { return r.following.Load() }

// Stuck is for how long the role goroutine has not come round; it does so at least every heartbeat, unless the disk holds
// it up.
func (r *Runner) Stuck() time.Duration {
	return r.opt.Now().Sub(r.start) - time.Duration(r.beat.Load())
}
