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

// Runner is a running Member: its Works are goroutines.
type Runner struct {
	*Member
	works *works
}

// Generation is a Runner's Contents, with the store's concrete types.
type Generation struct {
	Log     *wal.Log
	Machine *store.Machine
	Seq     *store.Sequencer
}

// errStopped is returned by calls to a Runner that has ended.
var errStopped = errors.New("the member is stopping")

// Start opens the member's directory and runs the member until ctx ends. Fatal errors, after which the caller should end
// ctx, arrive on Failed.
//
// Guarantee: once ctx has ended, no linearizable read is served. That matters because the ports also end with ctx, and
// once they refuse connections, others take this leader for dead.
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

// Generation returns the contents in force. Its Machine may be closed when a snapshot replaces it.
func (r *Runner) Generation() Generation {
	c := r.Contents()
	return Generation{Log: c.Log, Machine: c.State.(*store.Machine), Seq: c.Seq.(*store.Sequencer)}
}

// Fail reports a fatal error from elsewhere, such as the state machine's background work.
func (r *Runner) Fail(err error) { r.works.Fail(err) }

// Failed delivers the first fatal error.
func (r *Runner) Failed() <-chan error { return r.works.fatal }

// Done is closed when the role goroutine has ended and the directory is closed.
func (r *Runner) Done() <-chan struct{} { return r.Member.ended }

// works runs a Member with goroutines. Whoever holds the turn acts in the role: a goroutine with something to report
// takes the turn and acts itself, so that no other goroutine has to be woken. The other goroutines are the syncer, the
// applier, the dialler, one for events from elsewhere (run), and one for each seed and each round of retention.
type works struct {
	opt Options
	m   *Member

	turn    turn // guards stopped, and everything of Member that only the role goroutine may touch
	stopped bool
	// idle is set while a queued batch may be sealed at once. It is written by the holder of the turn.
	idle atomic.Bool

	elsewhere chan struct{} // cap 1: there is work that no other goroutine is sure to do
	fatal     chan error    // cap 1: the first fatal error
	sync      *syncer
	apply     *applier
	dialler   *dialler // the newest, even if it was cancelled
	seeds     *seedServer

	mail  sync.Mutex // a leaf; guards what follows
	posts []func()
}

func newWorks(opt Options) *works {
	w := &works{
		opt: opt, elsewhere: make(chan struct{}, 1), fatal: make(chan error, 1),
	}
	w.sync = newSyncer(w.synced)
	return w
}

// begin attaches the works to the member that was opened with them.
func (w *works) begin(m *Member) (err error) {
	w.m = m
	w.seeds, err = newSeedServer(m.SeedOptions(), m.opt.Log)
	return err
}

// act takes the turn and runs f and its consequences. It returns false, without running f, if the member has ended.
func (w *works) act(f func()) bool {
	w.turn.Lock()
	return w.finish(f)
}

// finish runs f and its consequences, and then gives up the turn, which the caller holds.
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

// catchUp runs the functions posted so far. A goroutine that posts and then acts relies on that order.
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

// settle runs the consequences of what this turn has done.
func (w *works) settle() {
	w.m.Settle()
	for w.sealable() {
		w.m.Seal()
		w.m.Settle()
	}
}

// sealable reports whether something is queued that may be sealed now. If sealing is allowed but nothing is queued,
// whoever queues next will seal it: sealable sets idle before it looks at the queue, and writers look at idle after they
// have queued.
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

// queued is called after entries were queued. patient says that the caller may wait for the disk.
func (w *works) queued(patient bool) {
	switch {
	case !w.idle.Load():
	case patient:
		w.look()
	default:
		nudge(w.elsewhere)
	}
}

// look runs the consequences of something that was done without the turn, such as applying. It does not wait for the
// turn: the holder may be waiting for the applier, and the applier may be the caller.
func (w *works) look() {
	if w.turn.TryLock() {
		w.finish(func() {})
	} else {
		nudge(w.elsewhere)
	}
}

// run handles ticks and events from elsewhere until ctx ends.
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

// Do also waits for the consequences of f: a member that has answered a Fence has stopped serving as a leader. Do waits
// for the turn only as long as ctx lives, because the holder may be waiting for a disk that hangs.
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

// pauseWhileFull delays the state machine's retries on a full volume.
func pauseWhileFull() { time.Sleep(200 * time.Millisecond) }

func (w *works) SpareSeeds(l volume.Level) func() error { return w.seeds.source.Spare(l) }

// longestWait bounds every wait for a commit; connections set tighter bounds.
const longestWait = 10 * time.Minute

func (w *works) ServeSeed(ctx context.Context, rw io.ReadWriter) error { return w.seeds.serve(ctx, rw) }

// closePatience bounds how long close waits for work in progress before it makes the state machine give up.
const closePatience = 10 * time.Second

// close shuts everything down in order. Nobody else gets the turn any more.
func (w *works) close() {
	// The applier or a seed may be waiting for room on a full volume, and the holder of the turn for them.
	late := time.AfterFunc(closePatience, func() { w.m.Contents().State.GiveUp() })
	defer late.Stop()
	w.turn.Lock()
	w.stopped = true
	w.turn.Unlock()
	w.m.Leave()
	w.dialler.wait()
	w.StopApply()
	if err := errors.Join(w.seeds.close(), w.m.Close()); err != nil {
		w.opt.Log.Error(err, "the member did not shut down cleanly; its next start recovers it")
	}
	w.sync.close()
}

func (w *works) StartApply(c *Contents) { w.apply = startApplier(c, w.look, w.Fail) }

func (w *works) Apply(upTo replication.Position) { w.apply.raise(upTo) }

func (w *works) StopApply() { w.apply.stop() }

func (w *works) Sync(l *wal.Log) { w.sync.requests <- l }

// AwaitSync runs the fsync itself if the syncer has not begun it: the syncer may be waiting for this very turn to report
// the previous one.
func (w *works) AwaitSync() error {
	select {
	case l := <-w.sync.requests:
		_, err := l.Sync()
		return err
	case err := <-w.sync.results:
		return err
	}
}

// synced reports the fsync's result to the member, unless AwaitSync took it in an earlier turn.
func (w *works) synced() {
	w.act(func() {
		select {
		case err := <-w.sync.results:
			w.m.Synced(err)
		default:
		}
	})
}
