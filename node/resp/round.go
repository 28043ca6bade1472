package resp

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/replicatedstore/replicatedstore/node/store"
)

const (
	chunkCommands = 128      // commands parsed and classified at once
	batchCommands = 64       // commands of one sequencer batch: bounds how long its lock is held
	batchBytes    = 1 << 20  // arguments, replies or effects of one batch, after which no further command joins it
	flushBytes    = 64 << 10 // replies that are sent before the pipeline is through, when nothing keeps them back
	settleBytes   = 1 << 20  // replies for which a pipeline waits and sends before it goes on
)

// round is what a connection needs while it works on a pipeline. Rounds are pooled: an idle connection has none.
//
// Invariant: while pending, every reply from marks[0].at on depends on ticket and must not leave.
type round struct {
	call
	out   writer
	arena [][]byte
	jobs  []job
	next  int // the first of jobs that was not executed yet
	// malformed is why nothing more can be parsed.
	malformed error
	// stuck: a hasty round's next job would have to wait, and not just for what is pending.
	stuck bool
	// astray: the connection is closed once all is answered, for a new one may lead to another leader.
	astray bool

	seq      *store.Sequencer // nil: this member does not lead
	machine  *store.Machine
	gated    bool     // a read gate was passed in this chunk
	gateErr  error    // or not
	patience patience // of the gate

	pending bool
	ticket  store.Ticket
	proved  bool             // this member led when the ticket's batch was evaluated, if its own entries are committed
	owner   *store.Sequencer // who gave the ticket
	marks   []mark
	ctx     context.Context // bounds the wait for ticket; nil before the first batch

	step      func(*store.Batch) // inBatch, bound once so that a batch allocates no closure
	from, end int                // jobs of the batch; from moves on as they are executed
	inside    bool               // the sequencer is locked for this round
	foresight *store.Foresight   // of the next batch; nil: none
	errors    uint64             // error replies before the current command
	lastTick  time.Time
	started   time.Time
	executed  int // since started
	refused   int // of those, without having been run
	wrote     bool

	sent        []byte // what is forwarded; reused
	lastRefusal error  // why the leader was not reached the last time
	silent      silence
	leaderless  bool // one was waited for in vain; see gaveUp
}

// job is a parsed command.
type job struct {
	cmd  *command // nil when unknown
	args [][]byte
}

// mark is where the reply of a command that ran while pending begins.
type mark struct {
	at   int
	kind markKind
}

type markKind uint8

const (
	markWrite  markKind = iota // its outcome is unknown if the ticket's is
	markRead                   // it may have seen such a write
	markKeep                   // it stands by itself
	markSilent                 // it has no reply (CLIENT REPLY OFF or SKIP)
)

var rounds = sync.Pool{New: func() any {
	r := new(round)
	r.call.w = &r.out
	r.step = r.inBatch
	return r
}}

func (c *conn) takeRound(now time.Time) *round {
	r := rounds.Get().(*round)
	r.call.srv, r.call.conn = c.srv, c
	r.out.buf = takeBuffer(0)
	r.out.resp3 = c.resp3.Load()
	r.out.limit = int(c.srv.maxOutput.Load())
	r.out.over = false
	r.seq, r.machine = c.srv.backend.Sequencer(), c.srv.backend.Machine()
	r.started, r.lastTick = now, now
	r.executed, r.refused, r.wrote = 0, 0, false
	r.lastRefusal, r.silent, r.malformed, r.leaderless = nil, silence{}, nil, false
	r.jobs, r.next, r.stuck, r.astray = r.jobs[:0], 0, false, false
	if r.seq != nil && c.up != nil && c.watchesUp == nil {
		c.disconnect() // this member leads now
	}
	return r
}

func (r *round) give() {
	giveBuffer(r.out.buf)
	r.out.buf = nil
	clear(r.arena)
	clear(r.jobs)
	if cap(r.sent) > 2*burstBytes {
		r.sent = nil
	}
	if cap(r.call.scratch) > smallBuffer {
		r.call.scratch = nil
	}
	r.release()
	scratch, step := r.call.scratch, r.step
	r.call = call{w: &r.out, scratch: scratch}
	r.seq, r.machine, r.step = nil, nil, step
	if cap(r.arena) > 4*chunkCommands {
		r.arena = nil
	}
	rounds.Put(r)
}

// execute runs the jobs from next on in order, until one of them ends the connection, or would have to wait and must not, or there are
// replies to be sent first.
func (r *round) execute() {
	r.gated, r.gateErr = false, nil
	for r.next < len(r.jobs) && !r.conn.closing && !r.conn.killed.Load() && !r.out.over && !r.stuck && !r.large() {
		j := &r.jobs[r.next]
		class := r.classify(j)
		switch {
		case r.elsewhere(j, class):
			if r.stuck = r.hasty; !r.stuck {
				r.next = r.forward(r.next)
			}
			continue
		case class == classBatch || (class == classRead && r.pending):
			r.next = r.runBatch(r.next)
			continue
		case class == classSettled && r.hasty && r.pending:
			return // it goes on once that is committed
		case class == classRead, class == classSettled:
			if class == classSettled && r.settle() && j.cmd.isWait() && !r.hasty {
				r.tellSoFar()
			}
			if (class == classRead || !r.conn.closing) && !r.onView(j) {
				continue // at the leader, or later
			}
		case class == classExec:
			if !r.exec(r.next) {
				continue
			}
		default:
			if !r.direct(j, class) {
				continue // it may run after all
			}
		}
		r.next++
	}
}

// direct runs a command that needs no data, or answers one that must not run; false when the reason for that has gone meanwhile, or
// when it is to be run once more.
func (r *round) direct(j *job, class class) bool {
	why := ""
	if class == classReject {
		if why = r.rejection(j); why == "" {
			return false
		}
		if strings.HasPrefix(why, codeNoReplicas) {
			r.goAstray()
		}
	}
	at, spent := len(r.out.buf), r.conn.allow.spent
	r.begin(j)
	switch class {
	case classQueue:
		r.conn.queue(&r.call)
	case classReject:
		r.reject(why)
	default:
		j.cmd.run(&r.call)
		if errors.Is(r.call.fault, errShort) && r.out.fits(r.call.short) {
			r.earn(at, spent)
			return false
		}
	}
	r.finish(at, markKeep)
	return true
}

// onView runs a command on the applied state, if this member may serve reads. False: the leader may, and nothing was done.
func (r *round) onView(j *job) bool {
	at, spent := len(r.out.buf), r.conn.allow.spent
	r.begin(j)
	if text := r.openView(j.cmd); text != "" {
		if r.stuck = r.hasty; r.stuck || r.leaderMay() {
			return false
		}
		r.reject(r.refusedRead(text))
	} else {
		j.cmd.run(&r.call)
		switch fault := r.call.fault; {
		case r.hasty && (errors.Is(fault, store.ErrNotResident) || errors.Is(fault, errWouldWait) || errors.Is(fault, errShort)):
			r.out.rewind(at)
			r.conn.allow.spent = spent
			r.stuck, r.cold = true, true
			return false
		case errors.Is(fault, errShort) && r.out.fits(r.call.short):
			r.earn(at, spent)
			return false // and now once more
		}
		r.replaceFault(at)
	}
	r.finish(at, markKeep)
	return true
}

// leaderMay reports whether a read that the gate refused here may run at the leader, and makes the connection's commands go there.
func (r *round) leaderMay() bool {
	if !errors.Is(r.gateErr, ErrStale) || !r.srv.forwards() || r.srv.backend.Sequencer() != nil {
		return false
	}
	r.seq, r.conn.bound = nil, true
	return true
}

// openView makes call.view ready; otherwise it returns the error reply.
func (r *round) openView(cmd *command) string {
	if r.call.noView = r.srv.backend.Machine() == nil; r.call.noView {
		if cmd.has(flagLoading) {
			return ""
		}
		return errLoading
	}
	if cmd.has(flagReadonly) && !r.gated {
		r.gateErr = r.mayRead()
		r.gated = true
	}
	if cmd.has(flagReadonly) && r.gateErr != nil {
		return gateRefusal(r.gateErr)
	}
	// After the gate: what it waited for may be another state, and a later time.
	if r.machine = r.srv.backend.Machine(); r.machine == nil {
		return errLoading
	}
	r.call.now = r.machine.ReadTime()
	if r.seq != nil {
		r.call.now = r.seq.Now()
	}
	r.call.view = r.machine.View(r.call.now)
	if r.hasty {
		r.call.view = r.call.view.Resident()
	} else {
		r.call.view = r.call.view.Noting(&r.cold)
	}
	return ""
}

// mayRead asks whether this member may answer reads now.
func (r *round) mayRead() error {
	if r.hasty || r.seq != nil && r.gaveUp() {
		return r.srv.backend.ReadGate(noPatience)
	}
	r.patience = patience{Context: r.srv.blockCtx, limit: r.srv.opt.ReadTimeout}
	defer r.patience.end()
	return r.srv.backend.ReadGate(&r.patience)
}

func gateRefusal(err error) string {
	switch {
	case errors.Is(err, ErrLoading):
		return errLoading
	case errors.Is(err, ErrStale):
		return errMasterDown
	default:
		return codeMasterDown + " " + err.Error()
	}
}

// begin sets up call for j.
func (r *round) begin(j *job) {
	r.call.cmd, r.call.args = j.cmd, j.args
	r.call.batch, r.call.tx, r.call.fault, r.call.short = nil, nil, nil, 0
	r.errors = r.out.errors
	if j.cmd != nil {
		r.conn.last.Store(j.cmd)
	}
}

// finish accounts for the command whose reply began at at, and drops that reply when the client wants none.
func (r *round) finish(at int, kind markKind) {
	r.executed++
	now := r.srv.opt.Now()
	if cmd := r.call.cmd; cmd != nil {
		cmd.calls.Add(1)
		cmd.micros.Add(uint64(max(0, now.Sub(r.lastTick).Microseconds())))
		if r.out.errors > r.errors {
			cmd.failed.Add(1)
		}
	}
	if r.out.errors > r.errors {
		r.srv.stats.failure(r.out.last)
	}
	r.lastTick = now
	if r.conn.suppressed() {
		r.out.rewind(at)
		kind = markSilent
	}
	if r.pending || r.inside {
		r.marks = append(r.marks, mark{at, kind})
	}
}

// reject answers with an error without running the command; a transaction being queued cannot be executed any more.
func (r *round) reject(text string) {
	cmd := r.call.cmd
	if cmd != nil {
		cmd.rejected.Add(1)
	}
	switch {
	case cmd != nil && cmd.name == "exec":
		r.conn.discard()
		text = execAborted(text)
	case r.conn.multi != nil:
		r.conn.multi.broken = true
	}
	r.refuse(text)
}

// refuse answers with an error in place of running the command.
func (r *round) refuse(text string) {
	r.refused++
	r.out.fail(text)
}

// replaceFault turns a storage fault into the reply, and reports whether there was one.
func (r *round) replaceFault(at int) bool {
	err := r.call.fault
	if err == nil {
		return false
	}
	r.out.rewind(at)
	if errors.Is(err, store.ErrClosed) {
		r.out.fail(errLoading)
	} else {
		r.out.fail("ERR the data could not be read: " + err.Error())
	}
	return true
}
