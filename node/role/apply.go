package role

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/replicatedstore/replicatedstore/node/store"
	"github.com/replicatedstore/replicatedstore/replication"
)

// applyBatch bounds what one Apply takes, in bytes of log.
const applyBatch = 4 << 20

// applier applies committed, durable records in its own goroutine, so that a stall of the state machine delays replies
// and never heartbeats.
type applier struct {
	c        *Contents
	target   atomic.Uint64 // apply up to here
	wake     chan struct{} // cap 1
	applied  func()        // told that something was
	stopping sync.Once
	quit     chan struct{} // closed by stopping
	ended    chan struct{}
	fail     func(error)
}

func startApplier(c *Contents, applied func(), fail func(error)) *applier {
	a := &applier{
		c: c, wake: make(chan struct{}, 1), applied: applied, quit: make(chan struct{}), ended: make(chan struct{}), fail: fail,
	}
	go a.run()
	return a
}

// raise lets the applier go on up to p.
func (a *applier) raise(p replication.Position) {
	if uint64(p) <= a.target.Load() {
		return
	}
	a.target.Store(uint64(p))
	nudge(a.wake)
}

// stop returns once nothing is being applied. It may be called again: by close, after a replacement that failed.
func (a *applier) stop() {
	a.stopping.Do(func() { close(a.quit) })
	<-a.ended
}

func (a *applier) run() {
	defer close(a.ended)
	var buf []replication.Record
	for {
		select {
		case <-a.wake:
		case <-a.quit:
			return
		}
		for {
			select {
			case <-a.quit:
				return
			default:
			}
			more, err := a.once(&buf)
			if err != nil {
				if errors.Is(err, store.ErrClosed) {
					<-a.quit // who had the state give up stops this, too
				} else {
					a.fail(err)
				}
				return
			}
			if !more {
				break
			}
		}
	}
}

// once applies one batch; more is false when the target is reached.
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
	if err := a.c.State.Apply(recs); err != nil {
		return false, fmt.Errorf("apply at %d: %w", from, err)
	}
	a.c.Seq.(*store.Sequencer).Applied(recs[len(recs)-1].Last())
	a.applied()
	return true, nil
}

// nudge leaves a token in c, which has room for one.
func nudge(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
