package resp

import (
	"cmp"
	"slices"

	"github.com/replicatedstore/replicatedstore/node/store"
)

// transaction holds the commands that a connection queues between MULTI and EXEC.
type transaction struct {
	jobs   []job
	bytes  int // memory that jobs take
	demand demand
	writes bool // contains a write
	data   bool // contains a command on data
	sends  bool // contains a command that goes to the leader if EXEC does
	broken bool // a command was refused, so EXEC will be refused too
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

// exec runs EXEC outside of MULTI only; see round.exec.
func exec(c *call) { c.w.fail("ERR EXEC without MULTI") }

// discard drops the transaction, if there is one, and all watches.
func (c *conn) discard() {
	if t := c.multi; t != nil {
		t.give(c)
	}
	c.multi = nil
	c.inMulti.Store(0)
	c.unwatch()
}

// Memory that a queued command and each of its arguments take besides the bytes of the arguments, in bytes.
const (
	queuedCommand  = 64
	queuedArgument = 24
)

// queue copies the command of call for EXEC. The arguments have to be copied because the buffer that they point into is reused before EXEC.
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

// exec runs the transaction of the EXEC at i. On a leader, its commands on data become one entry of the log; on a follower, they read one
// unchanged state. Commands without data run a moment earlier, because they must not run under the sequencer's lock. Nobody can tell the
// difference, since they touch no data.
//
// It returns false if the job has to be looked at again: it has to run at the leader, and nothing was done; or admit returned false
// without answering it.
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
		r.answer(j, func() { r.out.nullArray() }) // keys were watched at another leader before this member became one
	case r.seq != nil:
		r.from = i
		n := r.prefetchAll(t)
		if r.readsTooMuch(n) {
			r.aheadEnd()
			r.answer(j, r.tooMuch)
			break
		}
		if !r.admit(i, n) {
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

// tooMuch answers an EXEC whose commands would read too much. A broken watch is told all the same, because the client then reads anew and tries
// again.
func (r *round) tooMuch() {
	if w := r.conn.watched; w != nil && w.touched.Load() {
		r.out.nullArray()
	} else {
		r.reject(errReads)
	}
}

// prepared is the result of a queued command that needs no data, and so was run before the others.
type prepared struct {
	reply []byte // nil for commands on data
	resp3 bool   // the version of the protocol after it, which HELLO changes
}

// execDirect runs the commands of t that need no data, and returns the results by index. The version of the protocol stays as it was.
func (r *round) execDirect(t *transaction) []prepared {
	ready := make([]prepared, len(t.jobs))
	at, size := len(r.out.buf), 0
	if w := r.conn.watched; w != nil && w.touched.Load() {
		return ready // EXEC will answer null
	}
	r.call.noView = true
	defer r.speak(r.out.resp3)
	for i := range t.jobs {
		switch q := &t.jobs[i]; {
		case q.cmd.onData():
		case q.cmd.name == "unwatch": // EXEC ends all watches itself, but only after it has checked them
			ready[i] = prepared{[]byte("+OK\r\n"), r.out.resp3}
		default:
			r.begin(q)
			r.call.inExec = true
			q.cmd.run(&r.call)
			ready[i] = prepared{slices.Clone(r.out.buf[at:]), r.out.resp3}
			r.out.rewind(at)
			size += len(ready[i].reply)
			r.out.fits(size) // sets over once the replies are too long together; the remaining commands then write nothing
		}
	}
	r.call.inExec = false
	return ready
}

// execBatch runs t inside the sequencer, as one transaction.
func (r *round) execBatch(b *store.Batch, j *job, t *transaction, ready []prepared) {
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
	} else if text := r.noRoom(j); text != "" { // checked again: j may have waited for others since it was classified
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

// execQueued runs the commands of t on the data source that is set in call, and writes the array of replies. It ends early on a fault, and
// once the store is going to refuse the transaction as a whole: further commands would only occupy the sequencer. Having read too much is a
// fault, too. Replies that are too long do not end it, because the transaction is written as a whole all the same. But then it skips
// commands that only read, because nobody will see their replies. As in Redis, a HELLO counts for the replies after its own. If
// execQueued ends early, none has counted.
func (r *round) execQueued(t *transaction, ready []prepared) {
	before := r.out.resp3
	r.out.array(len(t.jobs))
	for i := range t.jobs {
		if reply := ready[i].reply; reply != nil {
			if r.speak(ready[i].resp3); r.out.fits(len(reply)) {
				r.out.buf = append(r.out.buf, reply...)
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
		if b := r.call.batch; b != nil && b.Read() > r.srv.mostRead.Load() {
			r.call.fault = cmp.Or(r.call.fault, errReadMore)
		}
		if r.call.fault != nil || r.call.tx != nil && r.call.tx.Refused() {
			r.speak(before)
			return
		}
	}
}

// execView runs a transaction of reads on a follower. It returns false if the leader may run the transaction, and nothing was done.
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
	for r.execFrozen(t, ready); r.short > 0 && r.out.fits(r.short) && !r.conn.killed.Load(); r.execFrozen(t, ready) {
		r.earn(at, spent)
		if r.conn.closing {
			return true
		}
		at, spent = len(r.out.buf), r.conn.allow.spent
		r.call.fault, r.call.short = nil, 0
	}
	r.replaceFault(at)
	r.begin(j)
	r.finish(at, markKeep)
	return true
}

// execFrozen runs t on the state that is applied now, which does not change for it while entries are applied. The state is given up before
// the transaction waits for memory for its replies.
func (r *round) execFrozen(t *transaction, ready []prepared) {
	view, position, done, err := r.call.view.Freeze()
	if err != nil {
		r.call.fault = err
		return
	}
	if r.conn.watchMoved(r.machine, position) {
		r.out.nullArray()
	} else {
		before := r.call.view
		r.call.view = view
		r.execQueued(t, ready)
		r.call.view = before
	}
	r.call.fault = cmp.Or(r.call.fault, done())
}

// execReads stands for a transaction of reads when openView asks the read gate.
var execReads = &command{spec: &spec{name: "exec"}, flags: flagReadonly}
