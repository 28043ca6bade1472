package role

import (
	"context"
	"io"
	"time"

	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/volume"
	"github.com/replicatedstore/replicatedstore/replication/wal"
)

// Works does for a Member whatever blocks, takes time or runs beside the role goroutine. A Runner implements it with
// goroutines, the simulation with events. Its methods are called by the role goroutine and do not call back before they
// return, unless stated otherwise.
type Works interface {
	// Do runs f in the role goroutine and returns once f and its consequences are done. An error means that f did not
	// run. Do must not be called by the role goroutine.
	Do(ctx context.Context, f func()) error
	// Post runs f in the role goroutine, later. It may be called by any goroutine.
	Post(f func())
	// After posts f once d has passed, unless stop was called before.
	After(d time.Duration, f func()) (stop func())
	// Background runs f outside the role goroutine and then posts done with its error. It may be called by any goroutine.
	Background(f func() error, done func(error))
	// Fail ends the process. Only the first error counts. It may be called by any goroutine.
	Fail(err error)

	// OpenState opens the state machine in dir on v, creating it if there is none, and a closed Sequencer on it. Each of
	// the two holds back at most part bytes that are yet to be written to v.
	OpenState(v *volume.Volume, dir string, part int64) (State, Sequencer, error)
	// SpareSeeds releases volume space held by the snapshots this member sends, as far as level l demands: see
	// snapshot.Source.Spare, also for remove, which must not be called in the role's turn. SpareSeeds is called at every
	// tick while the volume is not ample.
	SpareSeeds(l volume.Level) (remove func() error)
	// Sync starts an fsync of l and has Member.Synced called when it has ended. One runs at a time.
	Sync(l *wal.Log)
	// AwaitSync waits for the running Sync and returns its error. Member.Synced is then not called for that Sync.
	AwaitSync() error
	// StartApply is called when c comes into force. Apply then refers to c until StopApply, which returns once nothing is
	// being applied any more and may be called twice. StopApply runs in the role's turn, so it must not wait for an
	// applier that waits for room.
	StartApply(c *Contents)
	Apply(upTo replication.Position)
	StopApply()

	// Connect ends the follower's connection, and keeps a new one for l unless l is nil. Two never overlap, because both
	// might receive a seed into the same files.
	Connect(l *Link)
	// ServeSeed sends a snapshot of the contents in force. It is not called by the role goroutine.
	ServeSeed(ctx context.Context, rw io.ReadWriter) error
}

// State is the part of a state machine that a role needs. *store.Machine implements it.
type State interface {
	Applied() replication.Mark
	AppliedTime() int64
	Durable() replication.Mark
	// ApplyUntil applies recs. It waits for room only as long as ctx lives; see store.Machine.
	ApplyUntil(ctx context.Context, recs []replication.Record) error
	Flush(ctx context.Context) (replication.Mark, error)
	Checkpoint(dir string) (replication.Mark, error)
	// Reclaim returns the space of deleted data to the volume if that is worthwhile. It may take long.
	Reclaim() error
	// GiveUp permanently ends all waiting inside the state machine; Close follows. It may be called by any goroutine.
	GiveUp()
	Close() error
}

// Sequencer is the part of a leader's sequencer that a role needs. *store.Sequencer implements it.
type Sequencer interface {
	Open(e replication.Epoch, next replication.Position) error
	Close(why error)
	Hold() replication.Position
	Release()
	Take(maxBytes int) (first replication.Position, count int, payload []byte)
	Now() int64
}

// Contents is one complete state of a member: log, state machine and sequencer. A snapshot replaces all of it.
type Contents struct {
	Log   *wal.Log
	State State
	Seq   Sequencer
}
