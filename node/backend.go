package node

import (
	"cmp"
	"context"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/replicatedstore/replicatedstore/node/resp"
	"github.com/replicatedstore/replicatedstore/node/role"
	"github.com/replicatedstore/replicatedstore/node/store"
	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// backend implements resp.Backend: it is the member as client connections see it. Methods without a comment are
// documented there.
type backend struct {
	run         *role.Runner
	consistency Consistency
	clientPort  int
	paused      atomic.Bool // active expiry is off
}

// gateWait bounds how long a read waits for the member to become able to serve it. It is longer than most failovers take,
// and shorter than clients' timeouts.
const gateWait = 2 * time.Second

func (b *backend) Machine() *store.Machine {
	if !b.run.Readable() {
		return nil
	}
	return b.run.Generation().Machine
}

func (b *backend) Sequencer() *store.Sequencer {
	if !b.run.Open() {
		return nil
	}
	return b.run.Generation().Seq
}

// Place implements resp.Backend.
func (b *backend) Place() (leads bool, leader string) {
	return b.run.Role() == replication.RoleLeader, b.run.LeaderClient()
}

func (b *backend) Changed() <-chan struct{} { return b.run.Changed() }

// ReadGate implements the consistency levels; see Consistency. After a start it also waits, except with Eventual on a
// follower, until the state machine has caught up with everything that the previous process has shown.
func (b *backend) ReadGate(ctx context.Context) error {
	if !b.run.Readable() {
		return resp.ErrLoading
	}
	leads := b.run.Role() == replication.RoleLeader
	switch {
	case b.consistency == ConsistencyEventual && !leads:
		return nil
	case b.consistency == ConsistencyLinearizable && !leads:
		return resp.ErrStale
	case leads && (b.consistency == ConsistencyLinearizable || b.consistency == ConsistencyLeaderWindow):
		if b.run.AwaitReadWindow(ctx) != nil {
			return resp.ErrStale
		}
		return nil
	default:
		if b.run.AwaitCurrent(ctx) != nil {
			return resp.ErrLoading
		}
		return nil
	}
}

// MustProve implements resp.Backend.
func (b *backend) MustProve() bool {
	return b.consistency == ConsistencyLinearizable || b.consistency == ConsistencyLeaderWindow
}

func (b *backend) Unheard() time.Duration { return b.run.Unheard() }

func (b *backend) Room() resp.Room { return resp.Room(b.run.Room()) }

func (b *backend) Acknowledged(p replication.Position) (bool, int) { return b.run.Acknowledged(p) }

func (b *backend) WaitAcknowledged(ctx context.Context, p replication.Position, local bool, followers int) (bool, int) {
	return b.run.WaitAcknowledged(ctx, p, local, followers)
}

// Shown implements resp.Backend. It pairs the position with an epoch at or above the position's own. A log that has this
// epoch also has what came before it, and a log that lacks it ends where the earlier epochs end.
func (b *backend) Shown() replication.Mark {
	g := b.run.Generation()
	position := g.Machine.Ceiling().Position // read first: its epoch is not above that of the log's end
	return replication.Mark{Epoch: g.Log.Last().Epoch, Position: position}
}

// Holds implements resp.Backend.
func (b *backend) Holds(m replication.Mark) (holds, leads bool) {
	led := b.run.Role() == replication.RoleLeader
	log := b.run.Generation().Log
	last := log.Last().Position // read first: while this member leads, its log only grows
	holds = m.Position <= log.Epochs().EndOf(m.Epoch, last)
	return holds, led && b.run.Role() == replication.RoleLeader
}

func (b *backend) SetActiveExpire(on bool) { b.paused.Store(!on) }

// statusWait is how long INFO and ROLE wait for the role's turn, which a hanging disk may hold up. After that they report
// what is known without it.
const statusWait = 300 * time.Millisecond

func (b *backend) Status() resp.Status {
	ctx, cancel := context.WithTimeout(context.Background(), statusWait)
	defer cancel()
	w, err := b.run.Status(ctx)
	if err != nil {
		w = b.run.Glimpse()
	}
	s := resp.Status{
		Store: w.Store, Member: w.Member, Incarnation: w.Incarnation, Writable: w.Writable, Epoch: w.Epoch,
		Last: w.Last, Durable: w.Durable.Position, Commit: w.Commit, Applied: b.run.Generation().Machine.Applied(), Rules: w.Rules,
	}
	switch w.Role {
	case replication.RoleLeader:
		s.Role = resp.RoleLeading
	case replication.RoleFollower:
		s.Role, s.Link = resp.RoleFollowing, linkOf(w)
		s.LeaderHost, s.LeaderPort = b.clientAddress(b.run.LeaderAddress())
	case replication.RoleWaiting, replication.RoleFenced:
		s.Role = resp.RoleWaiting
	}
	for name, f := range w.Followers {
		host, port := b.clientAddress(f.Address)
		s.Followers = append(s.Followers, resp.Follower{
			Member: name, Host: host, Port: port, Acked: f.Durable, Applied: f.Applied,
			Voter: isVoter(w.Rules, replication.Voter{Member: name, Incarnation: f.Incarnation}),
			Link:  followerLink(f), LagMs: f.SilentMillis,
		})
	}
	slices.SortFunc(s.Followers, func(x, y resp.Follower) int { return cmp.Compare(x.Member, y.Member) })
	return s
}

// clientAddress turns a peer's address into the one that its clients use. All members of a store listen on the same
// client port, unless they share a host; then only whoever started them knows the port.
func (b *backend) clientAddress(peer string) (string, int) {
	host, _, err := net.SplitHostPort(peer)
	if err != nil {
		return "", 0
	}
	return host, b.clientPort
}

func linkOf(w wire.Status) resp.Link {
	switch {
	case w.Seeding != nil:
		return resp.LinkSeeding
	case w.Contact != nil && w.Contact.Connected:
		return resp.LinkConnected
	case w.Leader == "":
		return resp.LinkNone
	default:
		return resp.LinkConnecting
	}
}

func followerLink(f wire.FollowerView) resp.Link {
	switch {
	case f.Seeding:
		return resp.LinkSeeding
	case f.Live:
		return resp.LinkConnected
	default:
		return resp.LinkConnecting
	}
}

func isVoter(rules []replication.Rule, v replication.Voter) bool {
	return slices.ContainsFunc(rules, func(r replication.Rule) bool { return slices.Contains(r.Voters, v) })
}

// Expiry of keys by the leader.
const (
	expireEvery = 100 * time.Millisecond
	expireLimit = 1000
)

// expire removes due keys while this member leads, until ctx ends.
func (b *backend) expire(ctx context.Context) {
	wait := time.NewTimer(expireEvery)
	defer wait.Stop()
	for {
		select {
		case <-wait.C:
		case <-ctx.Done():
			return
		}
		next := expireEvery + rand.N(expireEvery/10)
		if seq := b.Sequencer(); seq != nil && !b.paused.Load() {
			// An error means that the leadership has ended; the next leader goes on.
			if _, _, more, err := seq.Expire(ctx, expireLimit); more && err == nil {
				next = 0
			}
		}
		wait.Reset(next)
	}
}

func portOf(a net.Addr) int {
	_, p, err := net.SplitHostPort(a.String())
	if err != nil {
		return 0
	}
	n, _ := strconv.Atoi(p)
	return n
}
