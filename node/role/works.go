package role

import (
	"context"
	"io"
	"time"

	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/volume"
	"github.com/replicatedstore/replicatedstore/replication/wal"
)

// Works does for a Member what blocks, takes time or runs beside the role goroutine: Runner with goroutines, the
// simulation with events. Its methods are called in the role goroutine and do not call back before they return, unless
// they say otherwise.
type Works interface {
	// Do runs f in the role goroutine and returns once it and its consequences are done; an error says that f did not run.
	// Called from anywhere else.
	Do(ctx context.Context, f func()) error
	// Post runs f in the role goroutine, later. Called from anywhere.
	Post(f func())
	// After posts f when d has passed, unless stop was called before.
	After(d time.Duration, f func()) (stop func())
	// Background runs f beside the role goroutine and posts done with its error. Called from anywhere.
	Background(f func() error, done func(error))
	// Fail ends the process; only the first error counts. Called from anywhere.
	Fail(err error)

	// OpenState opens the state machine in dir on v, creating it where there is none, and a closed Sequencer on it. Each
	// holds back at most part bytes that are to be written to v.
	OpenState(v *volume.Volume, dir string, part int64) (State, Sequencer, error)
	// SpareSeeds gives up what snapshots that are sent hold of the volume, as its level asks for it: see
	// snapshot.Source.Spare, also for remove, which is not called in the role's turn. Called at every tick while the volume is not ample.
	SpareSeeds(l volume.Level) (remove func() error)
	// Sync begins to make l durable and has Member.Synced called when that has ended. One runs at a time.
	Sync(l *wal.Log)
	// AwaitSync waits for the Sync that runs and returns its error; Synced is not called for it then.
	AwaitSync() error
	// StartApply is called when c comes into force; Apply refers to it until StopApply, which returns once nothing is being
	// applied any more and may be called twice. It is in the role's turn, so it does not wait for whoever waits for room.
	StartApply(c *Contents)
	Apply(upTo replication.Position)
	StopApply()

	// Connect ends the follower's connection, and keeps one for l unless that is nil. Two never overlap: both may receive a
	// seed, into the same files.
	Connect(l *Link)
	// ServeSeed sends a snapshot of what is in force. Not called in the role goroutine.
	ServeSeed(ctx context.Context, rw io.ReadWriter) error
}

// State is a state machine as far as a role needs it; *store.Machine is one.
type State interface {
	Applied() replication.Mark
	AppliedTime() int64
	Durable() replication.Mark
	// ApplyUntil applies recs, and waits for room no longer than ctx lives; see store.Machine.
	ApplyUntil(ctx context.Context, recs []replication.Record) error
	Flush(ctx context.Context) (replication.Mark, error)
	Checkpoint(dir string) (replication.Mark, error)
	// Reclaim gives back to the volume what was deleted, if that is worth it; it may take long.
	Reclaim() error
	// GiveUp ends what waits inside, for good: Close follows. Called from anywhere.
	GiveUp()
	Close() error
}

// Sequencer orders a leader's writes, as far as a role needs it; *store.Sequencer is one.
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
