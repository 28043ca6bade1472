package admin

import (
	"context"
	"errors"

	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// Node is what the control port needs of the member behind it. All methods are safe for concurrent use.
//
// A refused order returns a *replication.Refusal and has changed nothing. A context that ends only ends the wait: the
// order may still be carried out, and giving it again is harmless.
type Node interface {
	Status(ctx context.Context) (wire.Status, error)
	// Changed returns a channel that is closed at the next change of what Status tells, if the change matters to the
	// operator. Take the channel first and the status second, and no change is missed.
	Changed() <-chan struct{}
	Fence(ctx context.Context, r wire.FenceRequest) (wire.FenceReply, error)
	Promote(ctx context.Context, r wire.PromoteRequest) error
	Follow(ctx context.Context, r wire.FollowRequest) error
	Configure(ctx context.Context, r wire.ConfigureRequest) error
	Handover(ctx context.Context, r wire.HandoverRequest) (wire.HandoverReply, error)
	// HeldUp returns nil while Status answers at once, else one sentence: what the member waits for. It waits for nothing itself.
	HeldUp() error
	// Live returns nil while the process can make progress: an error asks for a restart.
	Live() error
	// Ready returns nil while the member can do its role's work, else one sentence.
	Ready() error
}

// ErrNotOpen is returned by a Node that cannot take orders at the moment: it is opening its data, or closing.
var ErrNotOpen = errors.New("the member is not open")
