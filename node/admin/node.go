package admin

import (
	"context"
	"errors"

	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// Node is the member behind the control port. All methods are safe for concurrent use.
//
// An order that is refused returns a *replication.Refusal and has changed nothing. If ctx ends, only the wait ends: the
// order may still be carried out, and repeating it is harmless.
type Node interface {
	Status(ctx context.Context) (wire.Status, error)
	// Changed returns a channel that is closed at the next change of Status that matters to the operator. Call Changed
	// before Status, so that no change is missed.
	Changed() <-chan struct{}
	Fence(ctx context.Context, r wire.FenceRequest) (wire.FenceReply, error)
	Promote(ctx context.Context, r wire.PromoteRequest) error
	Follow(ctx context.Context, r wire.FollowRequest) error
	Configure(ctx context.Context, r wire.ConfigureRequest) error
	Handover(ctx context.Context, r wire.HandoverRequest) (wire.HandoverReply, error)
	// HeldUp returns nil while Status answers at once, else one sentence about what the member waits for. It never
	// blocks.
	HeldUp() error
	// Live returns nil while the process can make progress. An error asks for a restart.
	Live() error
	// Ready returns nil while the member can do its role's work, else one sentence about why not.
	Ready() error
}

// ErrNotOpen is returned by a Node that cannot take orders at the moment, because it is opening its data or closing.
var ErrNotOpen = errors.New("the member is not open")
