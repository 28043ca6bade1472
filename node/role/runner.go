package role

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
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
//
// Guarantee: no linearizable read is served any more once ctx has ended, and so none once anything that ends with ctx has ended, as the ports
// do. Where both refuse, others take the leader for dead.
func Start(ctx context.Context, opt Options) (*Runner, error) {
	opt.complete()
	w := newWorks(opt)
	m, err := Open(opt, w)
	if err != nil {
		return nil, err
	}
	m.ending = ctx.Done()
	if err := w.begin(m); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	w.act(func() {})
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

// works runs a Member with goroutines. Whoever has the turn acts in the role: a goroutine that has something to tell takes it and acts
// itself, so that nobody has to be woken for it. Beside that there are the syncer, the applier, the dialler, one goroutine for what
// comes from elsewhere, and one for each seed and round of retention.
type works struct {
	opt Options
	m   *Member

	turn    turn // guards what a Member says is for the role's turn only, and stopped
	stopped bool
	// idle: a batch that is queued may be sealed at once. Written in the turn.
	idle atomic.Bool

	elsewhere chan struct{} // cap 1: there is something to do that nobody else may see to
	fatal     chan error    // cap 1: the first error that ends the process
	sync      *syncer
	apply     *applier
	dialler   *dialler // the newest, also when it was cancelled
	seeds     *seedServer

	mail  sync.Mutex // a leaf; guards below
	posts []func()
}

func newWorks(opt Options) *works {
	w := &works{
		opt: opt, elsewhere: make(chan struct{}, 1), fatal: make(chan error, 1),
	}
	w.sync = newSyncer(w.synced)
	return w
}

// begin ties the works to the member that was opened with them.
func (w *works) begin(m *Member) (err error) {
	w.m = m
	w.seeds, err = newSeedServer(m.SeedOptions(), m.opt.Log)
	return err
}

// act takes the turn for f and what follows from it; false when the member has ended, and f did not run.
func (w *works) act(f func()) bool {
	w.turn.Lock()
	return w.finish(f)
}

// finish ends a turn with f and what follows from it.
func (w *works) finish(f func()) bool {
	var owing *Session
	defer func() {
		w.turn.Unlock()
		if owing != nil {
			owing.pay()
		}
	}()
	if w.stopped {
		return false
	}
	w.catchUp()
	f()
	w.settle()
	owing, w.m.owing = w.m.owing, nil
	return true
}

// catchUp does what was posted before: whoever posts something and then acts relies on that order.
func (w *works) catchUp() {
	w.mail.Lock()
	posts := w.posts
	w.posts = nil
	w.mail.Unlock()
	for _, f := range posts {
		f()
		w.settle()
	}
}

// settle draws the consequences of what was done in this turn.
func (w *works) settle() {
	w.m.Settle()
	for w.sealable() {
		w.m.Seal()
		w.m.Settle()
	}
}

// sealable tells whether something is queued that may be sealed now. If it may and nothing is, whoever queues something next will see to it:
// idle is set before the queue is looked at, and they look at idle after they have queued.
func (w *works) sealable() bool {
	may := w.m.MaySeal()
	w.idle.Store(may)
	if !may {
		return false
	}
	if w.m.Unsealed() {
		return true
	}
	select {
	case <-w.m.Contents().Seq.(*store.Sequencer).Pending():
		return true
	default:
		return false
	}
}

// queued is told that something was; patient: by somebody who may wait for the disk.
func (w *works) queued(patient bool) {
	switch {
	case !w.idle.Load():
	case patient:
		w.look()
	default:
		nudge(w.elsewhere)
	}
}

// look draws the consequences of what was done without the turn, such as applying. It does not wait for the turn: whoever has it may be
// waiting for the applier, which may be who calls.
func (w *works) look() {
	if w.turn.TryLock() {
		w.finish(func() {})
	} else {
		nudge(w.elsewhere)
	}
}

// run does what comes from elsewhere until ctx ends.
func (w *works) run(ctx context.Context) {
	defer close(w.m.ended)
	defer w.close()
	tick := time.NewTicker(peer.Heartbeat)
	defer tick.Stop()
	for {
		select {
		case <-w.elsewhere:
			w.act(func() {})
		case <-tick.C:
			w.act(w.m.Tick)
		case <-ctx.Done():
			return
		}
	}
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

// Do also waits for the consequences of f: a member that says it was fenced has stopped serving as a leader. It waits for the turn as
// long as ctx lives: whoever has it may be waiting for a disk that hangs.
func (w *works) Do(ctx context.Context, f func()) error {
	switch {
	case ctx.Err() != nil || !w.turn.lockWhile(ctx):
		return context.Cause(ctx)
	case !w.finish(f):
		return errStopped
	}
	return nil
}

func (w *works) Post(f func()) {
	w.mail.Lock()
	w.posts = append(w.posts, f)
	w.mail.Unlock()
	nudge(w.elsewhere)
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
	opened := w.opt.Now()
	return machine, store.NewSequencer(machine, store.SequencerOptions{
		Clock: w.opt.Wall, Monotonic: func() time.Duration { return w.opt.Now().Sub(opened) }, WaitTimeout: longestWait, MaxBytes: min(store.DefaultMaxBytes, part), OnQueued: w.queued,
	}), nil
}

// pauseWhileFull keeps the state machine from trying again without a pause what the volume has no room for.
func pauseWhileFull() { time.Sleep(200 * time.Millisecond) }

func (w *works) SpareSeeds(l volume.Level) func() error { return w.seeds.source.Spare(l) }

// longestWait bounds every wait for a commit; connections bound theirs further.
const longestWait = 10 * time.Minute

func (w *works) ServeSeed(ctx context.Context, rw io.ReadWriter) error { return w.seeds.serve(ctx, rw) }

// closePatience is how long what is under way may take as everything ends.
const closePatience = 10 * time.Second

// close ends everything in order; nobody else gets the turn any more.
func (w *works) close() {
	// Whoever applies, or sends a seed, may be waiting for a volume that has no room; and who has the turn, for them.
	late := time.AfterFunc(closePatience, func() { w.m.Contents().State.GiveUp() })
	defer late.Stop()
	w.turn.Lock()
	w.stopped = true
	w.turn.Unlock()
	w.m.Leave()
	w.dialler.wait()
	w.StopApply()
	if err := errors.Join(w.seeds.close(), w.m.Close()); err != nil {
		w.opt.Log.Error(err, "the member did not end in order; its next start recovers it")
	}
	w.sync.close()
}

func (w *works) StartApply(c *Contents) { w.apply = startApplier(c, w.look, w.Fail) }

func (w *works) Apply(upTo replication.Position) { w.apply.raise(upTo) }

func (w *works) StopApply() { w.apply.stop() }

func (w *works) Sync(l *wal.Log) { w.sync.requests <- l }

// AwaitSync does itself what the syncer has not begun: that may be waiting for this turn, to tell of the fsync before.
func (w *works) AwaitSync() error {
	select {
	case l := <-w.sync.requests:
		_, err := l.Sync()
		return err
	case err := <-w.sync.results:
		return err
	}
}

// synced passes on what the fsync has brought, unless somebody waits for it in a turn that began before.
func (w *works) synced() {
	w.act(func() {
		select {
		case err := <-w.sync.results:
			w.m.Synced(err)
		default:
		}
	})
}
