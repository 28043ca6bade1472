package role

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/replicatedstore/replicatedstore/node/store"
	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/peer"
	"github.com/replicatedstore/replicatedstore/replication/volume"
	"github.com/replicatedstore/replicatedstore/replication/wal"
)

// Runner is one running member.
type Runner struct {
	*Member
	works *works
}

// Generation is a Runner's Contents with the store's own types.
type Generation struct {
	Log     *wal.Log
	Machine *store.Machine
	Seq     *store.Sequencer
}

// errStopped answers calls to a Runner that has ended.
var errStopped = errors.New("the member is stopping")

// Start opens the member's directory and runs it until ctx ends. Failed tells what else should end it.
func Start(ctx context.Context, opt Options) (*Runner, error) {
	opt.complete()
	w := newWorks(opt)
	m, err := Open(opt, w)
	if err != nil {
		return nil, err
	}
	if err := w.begin(m); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	m.Settle()
	go w.run(ctx)
	go m.scrub(ctx)
	return &Runner{Member: m, works: w}, nil
}

// Generation returns what is in force; its machine may be closed when a snapshot replaces it.
func (r *Runner) Generation() Generation {
	c := r.Contents()
	return Generation{Log: c.Log, Machine: c.State.(*store.Machine), Seq: c.Seq.(*store.Sequencer)}
}

// Fail reports a fatal error found elsewhere, such as the state machine's background work.
func (r *Runner) Fail(err error) { r.works.Fail(err) }

// Failed delivers the first fatal error.
func (r *Runner) Failed() <-chan error { return r.works.fatal }

// Done is closed when the role goroutine has ended and the directory is closed.
func (r *Runner) Done() <-chan struct{} { return r.Member.ended }

// works runs a Member with goroutines: the role goroutine, and beside it a syncer, an applier, a dialler, and one
// goroutine for each seed, round of retention and timer.
type works struct {
	opt   Options
	m     *Member
	calls chan call
	// stopping is closed when the role goroutine takes no more calls.
	stopping chan struct{}
	fatal    chan error // cap 1: the first error that ends the process
	sync     *syncer
	apply    *applier
	dialler  *dialler // the newest, also when it was cancelled
	seeds    *seedServer
}

func newWorks(opt Options) *works {
	return &works{
		opt: opt, calls: make(chan call, 256), stopping: make(chan struct{}), fatal: make(chan error, 1), sync: newSyncer(),
	}
}

// begin ties the works to the member that was opened with them.
func (w *works) begin(m *Member) (err error) {
	w.m = m
	w.seeds, err = newSeedServer(m)
	return err
}

// call is what somebody asks of the role goroutine; ran, unless nil, is closed once it was done and settled.
type call struct {
	f   func()
	ran chan struct{}
}

// run is the role goroutine.
func (w *works) run(ctx context.Context) {
	defer close(w.m.ended)
	defer w.close()
	tick := time.NewTicker(peer.Heartbeat)
	defer tick.Stop()
	for {
		var ran chan struct{}
		select {
		case c := <-w.calls:
			c.f()
			ran = c.ran
		case <-w.pending():
			w.m.Seal()
		case err := <-w.sync.results:
			w.m.Synced(err)
		case <-w.apply.progress:
		case <-tick.C:
			w.m.Tick()
		case <-ctx.Done():
			return
		}
		w.m.Settle()
		if ran != nil {
			close(ran)
		}
	}
}

// pending is the sequencer's signal while a batch may be sealed.
func (w *works) pending() <-chan struct{} {
	if !w.m.MaySeal() {
		return nil
	}
	return w.m.Contents().Seq.(*store.Sequencer).Pending()
}

func (w *works) Fail(err error) {
	if err == nil {
		return
	}
	select {
	case w.fatal <- err:
	default:
	}
}

// Do also waits for the consequences of f: a member that says it was fenced has stopped serving as a leader.
func (w *works) Do(ctx context.Context, f func()) error {
	ran := make(chan struct{})
	select {
	case w.calls <- call{f, ran}:
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-w.stopping:
		return errStopped
	}
	select {
	case <-ran:
		return nil
	case <-w.stopping:
		return errStopped
	}
}

func (w *works) Post(f func()) {
	select {
	case w.calls <- call{f: f}:
	case <-w.stopping:
	}
}

func (w *works) After(d time.Duration, f func()) (stop func()) {
	t := time.AfterFunc(d, func() { w.Post(f) })
	return func() { t.Stop() }
}

func (w *works) Background(f func() error, done func(error)) {
	go func() {
		err := f()
		w.Post(func() { done(err) })
	}()
}

func (w *works) OpenState(v *volume.Volume, dir string, part int64) (State, Sequencer, error) {
	machine, err := store.Open(v.ViewBy(StateUse, pauseWhileFull), dir, store.Options{
		Memory: w.opt.Memory, Part: part, Log: w.opt.Log, OnError: func(err error) { w.Fail(stateError(err)) },
	})
	if err != nil {
		return nil, nil, err
	}
	return machine, store.NewSequencer(machine, store.SequencerOptions{
		Clock: w.opt.Wall, WaitTimeout: longestWait, MaxBytes: min(store.DefaultMaxBytes, part),
	}), nil
}

// pauseWhileFull keeps the state machine from trying again without a pause what the volume has no room for.
func pauseWhileFull() { time.Sleep(200 * time.Millisecond) }

func (w *works) SpareSeeds(l volume.Level) { w.seeds.source.Spare(l) }

// longestWait bounds every wait for a commit; connections bound theirs further.
const longestWait = 10 * time.Minute

func (w *works) ServeSeed(ctx context.Context, rw io.ReadWriter) error { return w.seeds.serve(ctx, rw) }

// close ends everything in order; it runs in the role goroutine, last.
func (w *works) close() {
	close(w.stopping)
	w.m.Leave()
	w.dialler.wait()
	w.StopApply()
	if err := errors.Join(w.seeds.close(), w.m.Close()); err != nil {
		w.opt.Log.Error(err, "close")
	}
	w.sync.close()
}

func (w *works) StartApply(c *Contents) { w.apply = startApplier(c, w.Fail) }

func (w *works) Apply(upTo replication.Position) { w.apply.raise(upTo) }

func (w *works) StopApply() { w.apply.stop() }

func (w *works) Sync(l *wal.Log) { w.sync.requests <- l }

func (w *works) AwaitSync() error { return <-w.sync.results }
