package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// The methods below implement admin.Node, mostly through the role goroutine.

// Status returns the member's status. A problem with the passwords is reported only if there is no other problem.
func (n *Node) Status(ctx context.Context) (wire.Status, error) {
	s, err := n.run.Status(ctx)
	if s.Problem == "" {
		s.Problem = n.passwords.problem()
	}
	return s, err
}

func (n *Node) Changed() <-chan struct{} { return n.run.Changed() }

func (n *Node) Fence(ctx context.Context, r wire.FenceRequest) (wire.FenceReply, error) {
	return n.run.Fence(ctx, r)
}

func (n *Node) Promote(ctx context.Context, r wire.PromoteRequest) error {
	return n.run.Promote(ctx, r)
}
func (n *Node) Follow(ctx context.Context, r wire.FollowRequest) error { return n.run.Follow(ctx, r) }

func (n *Node) Configure(ctx context.Context, r wire.ConfigureRequest) error {
	return n.run.Configure(ctx, r)
}

func (n *Node) Handover(ctx context.Context, r wire.HandoverRequest) (wire.HandoverReply, error) {
	return n.run.Handover(ctx, r)
}

// HeldUp returns nil unless the role goroutine, which answers for the member, waits for its disk.
func (n *Node) HeldUp() error { return n.run.HeldUp() }

// stuckTooLong is how long the role goroutine may be stuck before Live asks for a restart. That is long after the Lease
// is lost, so a slow disk gets time, but a hung one does not block the member forever.
const stuckTooLong = time.Minute

// Live returns nil while the process works. A member that merely waits, or has lost its leader, is not restarted for
// that.
func (n *Node) Live() error {
	select {
	case <-n.run.Done():
		return errors.New("the role goroutine has ended")
	default:
	}
	if d := n.run.Stuck(); d > stuckTooLong {
		return fmt.Errorf("no progress for %v: the disk may hang", d.Round(time.Second))
	}
	return nil
}

// leaderless is how long a follower that lost its leader stays ready: longer than a failover takes. It answers reads, and
// forwards everything else as soon as there is a leader. Besides, kube-proxy applies changes about once a second, so if
// every follower's readiness changed first, clients would learn of the new leader later.
const leaderless = 5 * time.Second

// Ready returns nil while the member can do its role's work.
func (n *Node) Ready() error {
	switch n.run.Role() {
	case replication.RoleLeader:
		if !n.run.Open() {
			return errors.New("leader, not yet accepting writes: not enough voters hold its epoch's first record")
		}
		return nil
	case replication.RoleFollower:
		switch now := time.Now(); {
		case n.run.Following() && n.run.Current():
			n.followed.Store(&now)
		case n.followed.Load() != nil && now.Sub(*n.followed.Load()) < leaderless:
		case n.run.Following():
			return errors.New("follower that has not yet applied the log it started with: reads wait for that")
		default:
			return errors.New("follower without a stream from its leader")
		}
		return nil
	case replication.RoleWaiting:
		return errors.New("waiting for an order to lead or to follow")
	case replication.RoleFenced:
		return errors.New("fenced: waiting to learn who leads the next epoch")
	default:
		return errors.New("unknown role")
	}
}
