package role

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/replicatedstore/replicatedstore/node/store"
	"github.com/replicatedstore/replicatedstore/replication"
)

// applyBatch bounds one call of Apply, in bytes of log.
const applyBatch = 4 << 20

// applier applies committed, durable records on a goroutine of its own, so that a stalled state machine delays replies
// but never heartbeats.
type applier struct {
	c       *Contents
	target  atomic.Uint64 // apply up to here
	wake    chan struct{} // cap 1
	applied func()        // called after each batch
	quit    context.Context
	end     context.CancelFunc // of quit
	ended   chan struct{}
	fail    func(error)
}

func startApplier(c *Contents, applied func(), fail func(error)) *applier {
	a := &applier{c: c, wake: make(chan struct{}, 1), applied: applied, ended: make(chan struct{}), fail: fail}
	a.quit, a.end = context.WithCancel(context.Background())
	go a.run()
	return a
}

// raise lets the applier advance up to p.
func (a *applier) raise(p replication.Position) {
	if uint64(p) <= a.target.Load() {
		return
	}
	a.target.Store(uint64(p))
	nudge(a.wake)
}

// stop returns once nothing is being applied any more. It does not wait for room: another applier may continue where this
// one stopped. It may be called again, as close does after a failed replacement.
func (a *applier) stop() {
	a.end()
	<-a.ended
}

func (a *applier) run() {
	defer close(a.ended)
	var buf []replication.Record
	for {
		select {
		case <-a.wake:
		case <-a.quit.Done():
			return
		}
		for more := true; more && a.quit.Err() == nil; {
			var err error
			more, err = a.once(&buf)
			switch {
			case err == nil:
			case errors.Is(err, context.Canceled):
				return
			case errors.Is(err, store.ErrClosed):
				<-a.quit.Done() // whoever made the state give up also stops this applier
				return
			default:
				a.fail(err)
				return
			}
		}
	}
}

// once applies one batch. more is false once the target is reached.
func (a *applier) once(buf *[]replication.Record) (more bool, err error) {
	from, target := a.c.State.Applied().Position+1, replication.Position(a.target.Load())
	if from > target {
		return false, nil
	}
	recs, err := a.c.Log.Read(from, applyBatch, (*buf)[:0])
	if err != nil {
		return false, fmt.Errorf("read the log at %d to apply it: %w", from, err)
	}
	*buf = recs
	for len(recs) > 0 && recs[len(recs)-1].Last() > target {
		recs = recs[:len(recs)-1]
	}
	if len(recs) == 0 {
		return false, nil
	}
	if err := a.c.State.ApplyUntil(a.quit, recs); err != nil {
		return false, fmt.Errorf("apply at %d: %w", from, err)
	}
	a.c.Seq.(*store.Sequencer).Applied(recs[len(recs)-1].Last())
	a.applied()
	return true, nil
}

// nudge puts a token into c, which has capacity 1, unless there is one already.
func nudge(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
