package resp

import (
	"slices"

	"github.com/replicatedstore/replicatedstore/node/store"
)

// transaction is what a connection queues between MULTI and EXEC.
type transaction struct {
	jobs   []job
	bytes  int
	demand demand
	writes bool
	data   bool // it has commands on data
	sends  bool // it has commands that go to the leader where EXEC does
	broken bool // a command was refused; EXEC will refuse too
	kept
}

func multi(c *call) {
	if c.conn.multi != nil {
		c.w.fail("ERR MULTI calls can not be nested")
		return
	}
	c.conn.multi = &transaction{}
	c.conn.inMulti.Store(1)
	c.w.ok()
}

func discard(c *call) {
	if c.conn.multi == nil {
		c.w.fail("ERR DISCARD without MULTI")
		return
	}
	c.conn.discard()
	c.w.ok()
}

// exec is reached only outside of MULTI; see round.exec.
func exec(c *call) { c.w.fail("ERR EXEC without MULTI") }

func (c *conn) discard() {
	if t := c.multi; t != nil {
		t.give(c)
	}
	c.multi = nil
	c.inMulti.Store(0)
	c.unwatch()
}

// What a queued command takes beside the bytes of its arguments.
const (
	queuedCommand  = 64
	queuedArgument = 24
)

// queue copies a command for EXEC: the buffer it points into is reused before.
func (c *conn) queue(call *call) {
	t := c.multi
	size := argBytes(call.args)
	cost := size + queuedCommand + len(call.args)*queuedArgument
	if t.bytes+cost > c.srv.limits.MaxRequest {
		t.broken = true
		call.w.fail("ERR the transaction is longer than client-query-buffer-limit")
		return
	}
	t.await(c, t.bytes+cost)
	flat := make([]byte, 0, size)
	args := make([][]byte, len(call.args))
	for i, arg := range call.args {
		flat = append(flat, arg...)
		args[i] = flat[len(flat)-len(arg) : len(flat) : len(flat)]
	}
	t.bytes += cost
	q := job{call.cmd, args}
	t.jobs = append(t.jobs, q)
	c.inMulti.Add(1)
	t.demand = t.demand.and(q.demand())
	t.data = t.data || call.cmd.onData()
	t.sends = t.sends || needsLeader(call.cmd)
	t.writes = t.writes || call.cmd.has(flagWrite)
	call.w.simple("QUEUED")
}

// exec runs a transaction: its data commands as one entry of the log on a leader, against one unchanged state on a
// follower. Commands without data ran a moment before, because they must not run under the sequencer's lock; nobody can
// tell the difference, since they touch no data.
//
// False: it has to run at the leader, and nothing was done.
func (r *round) exec(i int) bool {
	j := &r.jobs[i]
	t := r.conn.multi
	at := len(r.out.buf)
	switch {
	case t.broken:
		r.begin(j)
		r.refuse(errExecAbort)
		r.finish(at, markKeep)
	case r.seq != nil && r.conn.watchesUp != nil:
		r.answer(j, func() { r.out.nullArray() }) // this member has become the leader since
	case r.seq != nil:
		r.from = i
		if !r.admit(i, r.prefetchAll(t)) {
			r.aheadEnd()
			return r.from > i
		}
		ready := r.execDirect(t)
		ran := r.sequence(func(b *store.Batch) { r.execBatch(b, j, t, ready) })
		r.aheadEnd()
		if !ran && r.seq == nil {
			return false
		}
	case t.writes:
		r.begin(j)
		r.reject(errReadOnly)
		r.finish(at, markKeep)
	default:
		if !r.execView(j, t) {
			return false
		}
	}
	r.conn.discard()
	return true
}

// execDirect runs the commands of t that need no data and returns their replies, by index; nil for the others.
func (r *round) execDirect(t *transaction) [][]byte {
	ready := make([][]byte, len(t.jobs))
	at, size := len(r.out.buf), 0
	if w := r.conn.watched; w != nil && w.touched.Load() {
		return ready // it will be refused
	}
	r.call.noView = true
	for i := range t.jobs {
		switch q := &t.jobs[i]; {
		case q.cmd.onData():
		case q.cmd.name == "unwatch": // EXEC forgets what is watched, but only after it has looked
			ready[i] = []byte("+OK\r\n")
		default:
			r.begin(q)
			r.call.inExec = true
			q.cmd.run(&r.call)
			ready[i] = slices.Clone(r.out.buf[at:])
			r.out.rewind(at)
			size += len(ready[i])
			r.out.fits(size) // else the others write nothing any more
		}
	}
	r.call.inExec = false
	return ready
}

func (r *round) execBatch(b *store.Batch, j *job, t *transaction, ready [][]byte) {
	r.inside = true
	defer func() { r.inside = false }()
	b.Use(r.foresight)
	at := len(r.out.buf)
	r.call.now = b.Now()
	if r.conn.cut.Load() {
		r.conn.closing = true
		return
	}
	r.begin(j)
	kind := markRead
	if r.conn.watchBroken(b.Now()) {
		r.out.nullArray()
	} else if text := r.noRoom(j); text != "" { // it may have waited for others since it was looked at
		r.reject(text)
	} else {
		if t.writes {
			r.wrote, r.conn.bound = true, true
		}
		r.call.batch = b
		kind = r.transact(b, at, func(*call) { r.execQueued(t, ready) })
	}
	r.begin(j)
	r.finish(at, kind)
}

// execQueued writes the array of replies. call has its data source already. A fault ends it early, and so does what makes the transaction be
// refused: all of it, so what comes after would only keep the sequencer. Replies that are too long do not, for what is written happens as a
// whole all the same; but nobody will see what is only read then.
func (r *round) execQueued(t *transaction, ready [][]byte) {
	r.out.array(len(t.jobs))
	for i := range t.jobs {
		if ready[i] != nil {
			if r.out.fits(len(ready[i])) {
				r.out.buf = append(r.out.buf, ready[i]...)
			}
			continue
		}
		q := &t.jobs[i]
		if r.out.over && !q.cmd.has(flagWrite) {
			continue
		}
		r.call.cmd, r.call.args = q.cmd, q.args
		q.cmd.calls.Add(1)
		copies := r.call.copies()
		q.cmd.run(&r.call)
		r.call.forget(copies)
		if r.call.fault != nil || r.call.tx != nil && r.call.tx.Refused() {
			return
		}
	}
}

// execTries is how often a follower looks for a moment without applying; each try reads everything again.
const execTries = 32

// execView runs a transaction of reads on a follower. The state moves on while it reads; so it notes the applied position,
// reads, and keeps the result only if nothing was applied meanwhile. False: the leader may run it, and nothing was done.
func (r *round) execView(j *job, t *transaction) bool {
	at, spent := len(r.out.buf), r.conn.allow.spent
	if !t.data && r.conn.watched == nil {
		r.execQueued(t, r.execDirect(t))
		r.begin(j)
		r.finish(at, markKeep)
		return true
	}
	r.begin(j)
	if text := r.openView(execReads); text != "" {
		if t.data && r.leaderMay() {
			return false
		}
		r.reject(text)
		r.finish(at, markKeep)
		return true
	}
	ready := r.execDirect(t)
	r.call.noView = false
	r.begin(j)
	done := false
	for tries := 0; tries < execTries; tries++ {
		before := r.machine.Applied()
		if r.conn.watchMoved(r.machine, before.Position) {
			r.out.nullArray()
			done = true
			break
		}
		if r.machine.Ceiling() != before {
			continue
		}
		r.execQueued(t, ready)
		if r.short > 0 && !r.conn.killed.Load() {
			r.earn(at, spent)
			if r.conn.closing {
				return true
			}
			at, spent = len(r.out.buf), r.conn.allow.spent
			r.call.fault, r.call.short = nil, 0
			tries--
			continue
		}
		if r.replaceFault(at) || r.machine.Ceiling() == before {
			done = true
			break
		}
		r.out.rewind(at)
		r.conn.allow.spent = spent
	}
	if !done {
		r.out.fail(codeTryAgain + " the state changed too often while the transaction was read")
	}
	r.begin(j)
	r.finish(at, markKeep)
	return true
}

// execReads stands for a transaction of reads where the read gate is asked.
var execReads = &command{spec: &spec{name: "exec"}, flags: flagReadonly}
