package role

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/go-logr/logr"

	"github.com/replicatedstore/replicatedstore/node/store"
	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/meta"
	"github.com/replicatedstore/replicatedstore/replication/peer"
	"github.com/replicatedstore/replicatedstore/replication/wal"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// Options are fixed for a Runner's life.
type Options struct {
	FS    vfs.FS
	Dir   string
	Store string
	// Member is this member's name; Version the build that runs.
	Member, Version string
	Log             logr.Logger
	// Now is the clock; nil means time.Now. Its monotonic reading is what decides.
	Now func() time.Time
	// Dial reaches a peer port.
	Dial Dialer
	// Memory for the state machine, in bytes; LogRetain is how much log is kept for followers that come back.
	Memory, LogRetain int64
	// WriteTimeout is told how long writes may wait for their voters, when the operator says so; nil: nobody.
	WriteTimeout func(time.Duration)
	// Lease is held while leading; nil: none.
	Lease Lease
	// CutClients closes client connections; called when a leadership ends.
	CutClients func(reason string)
}

// Lease is the leader's claim in the cluster's API, as far as this room needs it.
type Lease interface {
	// Hold renews until Release. deposed is called once when the record there names a higher epoch.
	Hold(epoch replication.Epoch, duration time.Duration, deposed func(replication.Epoch))
	Release()
	// Valid reports whether the last renewal still protects an asynchronous leader. It may be called from any goroutine.
	Valid(now time.Time) bool
}

// Runner is one running member.
type Runner struct {
	opt   Options
	start time.Time
	calls chan call
	// stopping is closed when the role goroutine takes no more calls, done when everything is closed.
	stopping, done chan struct{}
	fatal          chan error // cap 1: the first error that ends the process

	gen atomic.Pointer[Generation]

	// Published by the role goroutine for readers that must not wait for it.
	role          atomic.Uint32 // index into roles
	last, commit  atomic.Uint64 // the log's end and the commit position
	beat          atomic.Int64  // when the role goroutine last came round, in nanoseconds since start
	readUntil     atomic.Int64  // nanoseconds since start; see readDeadline
	writable      atomic.Bool   // the sequencer takes writes
	following     atomic.Bool   // the leader is heard
	readable      atomic.Bool   // the state is a prefix of the store's log (it may be old)
	leaderAddress atomic.Pointer[string]
	changed       broadcast // something the operator cares for
	acks          broadcast // acknowledgements, commit, durability

	// Role goroutine only.
	core      *replication.Replica
	meta      *meta.Store
	sync      *syncer
	apply     *applier
	leader    *leaderState
	dialler   *dialler // set while there is a leader to follow
	lastDial  *dialler // the newest, also when it was cancelled
	session   *session // the connection to it
	contact   contact
	hold      *hold
	seeding   *wire.Seeding
	seeds     *seedServer
	retention retention
	problem   string
	stamp     int64  // the newest record's wall clock, in unix milliseconds; never goes back
	caughtUp  uint64 // which followers keep up, as of the last tick
	digest    digest // what the last change was about
}

// Generation is one complete state of the member: log, state machine and sequencer. Installing a snapshot replaces it.
type Generation struct {
	Log     *wal.Log
	Machine *store.Machine
	Seq     *store.Sequencer
}

// errStopped answers calls to a Runner that has ended.
var errStopped = errors.New("the member is stopping")

// Start opens the member's directory and runs it until ctx ends. Wait tells why it ended.
func Start(ctx context.Context, opt Options) (*Runner, error) {
	if opt.Now == nil {
		opt.Now = time.Now
	}
	if opt.CutClients == nil {
		opt.CutClients = func(string) {}
	}
	r := &Runner{
		opt: opt, start: opt.Now(), calls: make(chan call, 256), stopping: make(chan struct{}), done: make(chan struct{}),
		fatal: make(chan error, 1),
	}
	if err := r.open(); err != nil {
		return nil, err
	}
	r.settle()
	go r.run(ctx)
	return r, nil
}

// call is what somebody asks of the role goroutine; ran, unless nil, is closed once it was done and settled.
type call struct {
	f   func()
	ran chan struct{}
}

// run is the role goroutine.
func (r *Runner) run(ctx context.Context) {
	defer close(r.done)
	defer r.close()
	tick := time.NewTicker(peer.Heartbeat)
	defer tick.Stop()
	for {
		var ran chan struct{}
		select {
		case c := <-r.calls:
			c.f()
			ran = c.ran
		case <-r.pending():
			r.seal()
		case res := <-r.sync.results:
			r.synced(res)
		case <-r.apply.progress:
		case <-tick.C:
			r.tick()
		case <-ctx.Done():
			return
		}
		r.settle()
		if ran != nil {
			close(ran)
		}
	}
}

// pending is the sequencer's signal while a batch may be sealed: one at a time is being synced, and meanwhile the next
// gathers.
func (r *Runner) pending() <-chan struct{} {
	if r.leader == nil || !r.leader.open || r.sync.busy {
		return nil
	}
	return r.gen.Load().Seq.Pending()
}

// fail ends the process: err is final.
func (r *Runner) fail(err error) {
	if err == nil {
		return
	}
	select {
	case r.fatal <- err:
	default:
	}
}

// Fail reports a fatal error found elsewhere, such as the state machine's background work.
func (r *Runner) Fail(err error) { r.fail(err) }

// Failed delivers the first fatal error.
func (r *Runner) Failed() <-chan error { return r.fatal }

// Done is closed when the role goroutine has ended and the directory is closed.
func (r *Runner) Done() <-chan struct{} { return r.done }

// do runs f in the role goroutine and waits for it, and for its consequences: a member that says it was fenced has stopped
// serving as a leader.
func (r *Runner) do(ctx context.Context, f func()) error {
	ran := make(chan struct{})
	select {
	case r.calls <- call{f, ran}:
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-r.stopping:
		return errStopped
	}
	select {
	case <-ran:
		return nil
	case <-r.stopping:
		return errStopped
	}
}

// post runs f in the role goroutine without waiting for it.
func (r *Runner) post(f func()) {
	select {
	case r.calls <- call{f: f}:
	case <-r.stopping:
	}
}

// settle draws the consequences of whatever just happened; it is idempotent and runs after every event.
func (r *Runner) settle() {
	now := r.opt.Now()
	r.beat.Store(int64(now.Sub(r.start)))
	g := r.gen.Load()
	r.followLeadership(now)
	r.openOrClose(now, g) // before anything is acknowledged: an asynchronous leader whose Lease ran out must not
	r.sync.kick(g.Log)
	r.apply.raise(min(r.core.Commit(), g.Log.Durable().Position))
	r.publish(now, g)
}

// tick is the heartbeat's share of the work.
func (r *Runner) tick() {
	now := r.opt.Now()
	r.core.Tick(now)
	r.caughtUp = r.core.CaughtUpDigest()
	r.retain(now)
}

// final passes on err unless it is an orderly refusal; a fatal one also ends the process.
func (r *Runner) final(err error) error {
	if err != nil && !replication.IsRefusal(err) {
		r.fail(fmt.Errorf("member %s: %w", r.opt.Member, err))
	}
	return err
}

// stampMilli is the wall clock for a record, in unix milliseconds: never before that of an earlier record.
func (r *Runner) stampMilli(now time.Time) int64 {
	r.stamp = max(r.stamp, now.UnixMilli(), r.gen.Load().Machine.AppliedTime())
	return r.stamp
}
