package sim

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/replicatedstore/replicatedstore/node/role"
	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/volume"
	"github.com/replicatedstore/replicatedstore/replication/wal"
)

var (
	errClosed = errors.New("this member does not lead")
	errDead   = errors.New("the process is gone")
)

// works implements role.Works with events. Everything that it schedules dies with its process, and waits while the process is
// frozen or its disk hangs.
type works struct {
	p       *process
	sync    *Timer // the fsync in progress
	log     *wal.Log
	written bool // its data has reached the disk
	syncErr error
	apply   *Timer
	c       *role.Contents
	upTo    replication.Position
	link    *Proc
}

// Do runs f immediately, since there is only one thread. Where the role goroutine would be busy, the caller waits first; see
// ready.
func (w *works) Do(_ context.Context, f func()) error {
	if w.p.os.Dead() {
		return errDead
	}
	f()
	w.p.settle()
	return nil
}

func (w *works) Post(f func()) { w.p.after(0, f) }

func (w *works) After(d time.Duration, f func()) (stop func()) {
	t := w.p.after(d, f)
	return func() { t.Stop() }
}

func (w *works) Background(f func() error, done func(error)) {
	w.p.after(w.p.w.latency(time.Millisecond, 50*time.Millisecond), func() { done(f()) })
}

func (w *works) Fail(err error) { w.p.fail(err) }

func (w *works) OpenState(v *volume.Volume, dir string, _ int64) (role.State, role.Sequencer, error) {
	s, err := openRegisters(v.ViewBy(role.StateUse, nil), dir)
	if err != nil {
		return nil, nil, err
	}
	return s, newSequencer(s, w.p.wall, w.p.w.pad), nil
}

// Sync writes what is in the log at some later moment, and reports completion a while after that. What is appended in between is
// not durable.
func (w *works) Sync(l *wal.Log) {
	w.log, w.written = l, false
	d := w.p.syncTime()
	early := time.Duration(float64(d) * w.p.w.loop.Rand.Float64())
	w.sync = w.p.after(early, func() {
		w.write()
		w.sync = w.p.after(d-early, func() {
			w.sync = nil
			w.p.m.Synced(w.syncErr)
		})
	})
}

func (w *works) write() {
	if !w.written {
		_, w.syncErr = w.log.Sync()
		w.written = true
	}
}

func (w *works) AwaitSync() error {
	w.sync.Stop()
	w.sync = nil
	w.write()
	return w.syncErr
}

func (w *works) StartApply(c *role.Contents) { w.c, w.upTo = c, 0 }

func (w *works) StopApply() {
	if w.apply != nil {
		w.apply.Stop()
	}
	w.apply, w.c = nil, nil
}

func (w *works) Apply(upTo replication.Position) {
	if w.c == nil || upTo <= w.upTo {
		return
	}
	w.upTo = upTo
	if w.apply == nil {
		w.apply = w.p.after(w.p.w.latency(0, 3*time.Millisecond), w.applyNow)
	}
}

func (w *works) applyNow() {
	w.apply = nil
	for from := w.c.State.Applied().Position + 1; from <= w.upTo; from = w.c.State.Applied().Position + 1 {
		recs, err := w.c.Log.Read(from, 16<<10, nil)
		for len(recs) > 0 && recs[len(recs)-1].Last() > w.upTo {
			recs = recs[:len(recs)-1]
		}
		if err == nil && len(recs) == 0 {
			return // the entries reach into a record whose rest is not committed yet
		}
		if err == nil {
			w.p.w.applied(recs)
			err = w.c.State.ApplyUntil(context.Background(), recs)
		}
		if err != nil {
			w.Fail(err)
			return
		}
		w.c.Seq.(*sequencer).applied(w.c.State.Applied().Position)
	}
}

func (w *works) Connect(l *role.Link) {
	if w.link != nil {
		w.link.Kill()
	}
	w.link = nil
	if l != nil {
		w.link = w.p.os.Go("follow", func(c *Proc) { w.p.follow(c, l) })
	}
}

func (w *works) SpareSeeds(l volume.Level) func() error { return w.p.source.Spare(l) }

func (w *works) ServeSeed(ctx context.Context, rw io.ReadWriter) error {
	return w.p.source.Serve(ctx, rw)
}
