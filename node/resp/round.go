package resp

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/replicatedstore/replicatedstore/node/store"
	"github.com/replicatedstore/replicatedstore/replication"
)

const (
	chunkCommands = 128      // max commands parsed at once
	batchCommands = 64       // max commands in one sequencer batch; bounds how long the sequencer's lock is held
	batchBytes    = 1 << 20  // once a batch's arguments, replies or effects reach this many bytes, no further command joins it
	flushBytes    = 64 << 10 // reply bytes at which a pipeline sends early, if nothing is pending
	settleBytes   = 1 << 20  // reply bytes at which a pipeline waits for the commit and sends before it continues
)

// round is the state a connection needs while it executes a pipeline. Rounds are pooled: an idle connection has none.
//
// Invariant: while pending is set, every reply from marks[0].at on depends on ticket and must not be sent.
type round struct {
	call
	out   writer
	arena [][]byte
	jobs  []job
	next  int // index of the first job not executed yet
	// malformed is the error that prevents further parsing, if any.
	malformed error
	// stuck is set in a hasty round when the next job would have to wait for something other than the pending commit.
	stuck bool
	// astray means that the connection is to be closed once everything is answered, because a new one may reach another leader.
	astray bool

	seq      *store.Sequencer // nil if this member does not lead
	machine  *store.Machine
	gated    bool     // gateErr holds the read gate's current answer
	gateErr  error    // nil if the gate may be passed
	patience patience // context for the wait at the read gate

	pending bool
	ticket  store.Ticket
	proved  bool             // the commit of the ticket is enough to prove that this member led when the batch was evaluated; see await
	owner   *store.Sequencer // issued the ticket
	marks   []mark
	ctx     context.Context // bounds the wait for ticket; nil before the first batch

	step      func(*store.Batch)   // the method value inBatch, bound once so that a batch allocates no closure
	from, end int                  // jobs[from:end] form the batch; from advances as they are executed
	inside    bool                 // the sequencer is locked for this round
	foresight *store.Foresight     // for the next batch; may be nil
	long      map[string]longValue // the long values that were read ahead for the next batch
	errors    uint64               // number of error replies before the current command
	lastTick  time.Time
	started   time.Time
	executed  int // commands since started
	refused   int // of those, the ones refused without being run
	wrote     bool

	sent        []byte // encoded commands being forwarded; the buffer is reused
	lastRefusal error  // why the last attempt to reach the leader failed
	silent      silence
	leaderless  bool // an earlier command waited for a leader in vain; see gaveUp
}

// job is a parsed command.
type job struct {
	cmd  *command // nil if unknown
	args [][]byte
}

// mark records where the reply to a command begins that ran inside the sequencer or while the round was pending.
type mark struct {
	at   int
	kind markKind
}

type markKind uint8

const (
	markWrite  markKind = iota // a write: its outcome is unknown if the ticket's is
	markRead                   // a read, which may have seen such a write
	markKeep                   // does not depend on the ticket
	markSilent                 // has no reply (CLIENT REPLY OFF or SKIP)
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
		c.disconnect() // this member leads now, so the connection to the former leader is of no use
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

// execute runs the jobs from next on, in order. It stops when a job ends the connection, when a job of a hasty round would have to
// wait, or when so many replies have accumulated that they must be sent first.
func (r *round) execute() {
	r.gated, r.gateErr = false, nil
	for r.next < len(r.jobs) && !r.conn.closing && !r.conn.killed.Load() && !r.out.over && !r.stuck && !r.large() {
		j := &r.jobs[r.next]
		if r.seq != nil && r.conn.shown != (replication.Mark{}) && !r.inherits() {
			continue
		}
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
			return // resumed once the pending batch is committed
		case class == classRead, class == classSettled:
			waits := class == classSettled && r.settle() && j.cmd.isWait() && !r.hasty
			if waits {
				r.tellSoFar()
				r.shed()
			}
			if (class == classRead || !r.conn.closing) && !r.onView(j) {
				continue // run it at the leader, or later
			}
			if waits {
				r.conn.hold(true)
			}
		case class == classExec:
			if !r.exec(r.next) {
				continue
			}
		default:
			if !r.direct(j, class) {
				continue // look at it again: it may run now
			}
		}
		r.next++
	}
}

// direct runs a command that needs no data, queues one for EXEC, or answers one that must not run. It returns false if the job has to be
// looked at again: the reason for rejecting it has disappeared, or the reply had to wait for memory.
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

// onView runs a command on the applied state, or answers with an error if this member may not serve reads. It returns false if nothing
// was done and the job has to be looked at again: it may run at the leader, the round is hasty and the job would have to wait, or the
// reply had to wait for memory.
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
			return false // there is memory for the reply now: run it again
		}
		r.replaceFault(at)
	}
	r.finish(at, markKeep)
	return true
}

// leaderMay reports whether a read that the gate refused here may run at the leader. If so, it binds the connection to the leader.
func (r *round) leaderMay() bool {
	if !errors.Is(r.gateErr, ErrStale) || !r.srv.forwards() || r.srv.backend.Sequencer() != nil {
		return false
	}
	r.seq, r.conn.bound = nil, true
	return true
}

// openView prepares call.view and returns "", or returns the error reply if the command must not run on it.
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
	// Only after the gate: while it waited, the state machine may have been replaced, and time has passed.
	if r.machine = r.srv.backend.Machine(); r.machine == nil {
		return errLoading
	}
	if r.conn.cut.Load() && cmd.has(flagReadonly) { // the machine may be another one than before
		r.conn.closing = true
		return errMasterDown
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

// mayRead asks the read gate whether this member may answer reads now.
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

// begin prepares call for j.
func (r *round) begin(j *job) {
	r.call.cmd, r.call.args = j.cmd, j.args
	r.call.batch, r.call.tx, r.call.fault, r.call.short = nil, nil, nil, 0
	r.errors = r.out.errors
	if j.cmd != nil {
		r.conn.last.Store(j.cmd)
	}
}

// finish does the accounting for the command whose reply starts at offset at, and drops the reply if the client wants none.
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

// reject answers with an error without running the command. A transaction that is being queued can no longer be executed after that.
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

// refuse answers with an error instead of running the command.
func (r *round) refuse(text string) {
	r.refused++
	r.out.fail(text)
}

// replaceFault replaces the reply since offset at with an error if the call has a fault, and reports whether it has one.
func (r *round) replaceFault(at int) bool {
	err := r.call.fault
	if err == nil {
		return false
	}
	r.out.rewind(at)
	switch {
	case errors.Is(err, store.ErrClosed):
		r.out.fail(errLoading)
	case errors.Is(err, errReadMore):
		r.out.fail(execAborted(errReads))
	default:
		r.out.fail("ERR could not read the data: " + err.Error())
	}
	return true
}
