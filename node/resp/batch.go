package resp

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/replicatedstore/replicatedstore/node/store"
)

// runBatch runs the job at i, and the following ones that may share its batch, inside the sequencer. It returns the index of the first
// job that was not executed.
func (r *round) runBatch(i int) int {
	r.from, r.end = i, i+1
	if j := &r.jobs[i]; j.cmd.name == "watch" {
		r.conn.mayWatch(j.args[1:])
	}
	if r.jobs[i].many() {
		r.foresight = r.seq.Foresee()
	}
	defer r.aheadEnd()
	n := r.prefetch(&r.jobs[i])
	if !r.stuck && !r.admit(i, n) {
		return r.from
	}
	size := argBytes(r.jobs[i].args) + n.size
	for r.end < len(r.jobs) && r.end-i < batchCommands && size < batchBytes {
		j := &r.jobs[r.end]
		if class := r.classify(j); class != classBatch && class != classRead || j.many() || j.cmd.name == "watch" {
			break
		}
		n := r.prefetch(j)
		if !r.covers(n) {
			break
		}
		size += argBytes(j.args) + n.size
		r.end++
	}
	if r.stuck {
		return r.from
	}
	r.aheadAgain()
	if !r.sequence(r.step) && r.seq != nil && !r.stuck {
		r.from++
	}
	return r.from
}

// sequence runs step inside the sequencer and makes the round depend on the resulting ticket. It returns false if step did not run. The
// job at r.from is then answered with the reason, with three exceptions: r.seq is nil if the job may run at another member that leads
// now, r.stuck is set if a hasty round would have to wait, and the connection is closing if what came before could not be settled.
func (r *round) sequence(step func(*store.Batch)) bool {
	if r.tarried() && !r.settle() {
		return false
	}
	if r.ctx == nil {
		limit := time.Duration(r.srv.commitTimeout.Load())
		r.ctx = r.srv.terms.take(r.srv.ctx, r.conn.id, limit, r.srv.opt.Now())
	}
	ticket, err := r.evaluate(step)
	if r.stuck {
		return false
	}
	if err != nil {
		if !r.lost(err) {
			r.answer(&r.jobs[r.from], func() { r.reject(notRun(err)) })
		}
		if !r.pending {
			r.release()
		}
		return false
	}
	if r.pending && ticket.Epoch != r.ticket.Epoch {
		// One leadership ended and another began in the middle of the pipeline, so the replies so far have a fate of their own. If they can
		// no longer be sent, this batch's writes are not waited for either.
		if !r.proved && ticket.Wrote {
			r.srv.stats.unknown.Add(1)
			r.replace(unknownOutcome(errOtherLeadership), errMasterDown)
			return true
		}
		if !r.await() {
			return true
		}
	}
	r.pending, r.ticket, r.owner = true, ticket, r.seq
	r.proved = ticket.Wrote || r.srv.backend.ReadGate(noPatience) == nil && r.seq.Leads(ticket)
	return true
}

// tarried reports whether the next batch had to wait, for its reads or for memory, for so long that what is pending should be settled
// first: otherwise both would share a commit timeout of which a part has already passed. Waits of up to 1/termShare of the commit
// timeout are not worth it, as terms shortens timeouts by as much anyway.
func (r *round) tarried() bool {
	return r.pending && !r.hasty && int64(r.srv.opt.Now().Sub(r.lastTick)) > r.srv.commitTimeout.Load()/termShare
}

func (r *round) evaluate(step func(*store.Batch)) (store.Ticket, error) {
	if !r.hasty {
		return r.seq.Run(r.ctx, step)
	}
	ticket, err := r.seq.Evaluate(noPatience, step)
	r.stuck = errors.Is(err, context.Canceled)
	return ticket, err
}

var errOtherLeadership = errors.New("the data read was not confirmed as current before another leadership began")

// noPatience is a canceled context, for calls that must not wait.
var noPatience = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// notRun returns the error reply for a batch that was refused before any of it was evaluated.
func notRun(err error) string {
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return codeTryAgain + " nothing was written: the leader accepted no more writes in time (too many wait for its followers, or it is handing over); try again"
	case errors.Is(err, store.ErrClosed):
		return errLoading
	default:
		return errReadOnly
	}
}

// inBatch executes jobs[from:end] inside the sequencer. It stops early once enough was done under one hold of the sequencer's lock.
func (r *round) inBatch(b *store.Batch) {
	r.inside = true
	defer func() { r.inside = false }()
	b.Use(r.foresight)
	r.call.now = b.Now()
	first := len(r.out.buf)
	for ; r.from < r.end && len(r.out.buf)-first < batchBytes && b.Bytes() < batchBytes && b.Read() < batchBytes; r.from++ {
		if r.conn.cut.Load() {
			r.conn.closing = true
			return
		}
		if r.out.over {
			return
		}
		j := &r.jobs[r.from]
		at := len(r.out.buf)
		r.begin(j)
		r.call.batch = b
		kind := markRead
		if j.cmd.has(flagWrite) {
			kind = r.write(b, at, j)
		} else {
			j.cmd.run(&r.call)
			r.replaceFault(at)
		}
		b.Forget(0)
		r.finish(at, kind)
	}
}

// write runs j as one transaction, unless the volume no longer has room for what it writes. That is checked again here because j may
// have waited for others since it was classified.
func (r *round) write(b *store.Batch, at int, j *job) markKind {
	if text := r.noRoom(j); text != "" {
		r.reject(text)
		return markKeep
	}
	r.wrote, r.conn.bound = true, true
	return r.transact(b, at, j.cmd.run)
}

// transact runs f as one transaction. If the transaction cannot be kept, the reply since offset at is replaced by an error. If it had no
// effect, its reply only depends on what was read, and is marked as a read's.
func (r *round) transact(b *store.Batch, at int, f func(*call)) markKind {
	before := b.Entries()
	r.call.tx = b.Begin()
	f(&r.call)
	r.call.tx = nil
	if r.replaceFault(at) {
		b.Discard()
		return markRead
	}
	if err := b.End(); err != nil {
		r.out.rewind(at)
		r.out.fail("ERR " + err.Error())
	}
	if b.Entries() == before {
		return markRead
	}
	return markWrite
}

// settle waits until everything that the replies so far depend on is committed and applied, and reports whether the connection goes on.
// If the outcome cannot be learned, it replaces those replies and closes the connection.
func (r *round) settle() bool {
	if !r.pending {
		return !r.conn.closing
	}
	if !r.await() {
		return false
	}
	r.settled()
	return !r.conn.closing
}

// settled records that everything the replies depend on is committed and applied.
func (r *round) settled() {
	r.gated = false // the gate's answer from before the wait no longer counts
	if r.wrote {
		r.conn.written = r.ticket.Position
	}
	r.release()
}

// await waits for the ticket, and makes sure that this member led when the last batch was evaluated. A committed entry of the batch
// proves that. A batch that only read, or whose writes had no effect (SETNX of an existing key), has no entry whose commit would prove
// anything: it must have passed the read gate, in the same leadership. Usually it did so at once; see sequence. If either cannot be
// learned, await replaces the replies, closes the connection, and returns false.
func (r *round) await() bool {
	if err := r.owner.Wait(r.ctx, r.ticket); err != nil {
		r.forget(err)
		return false
	}
	if r.proved {
		return true
	}
	err := r.mayRead()
	if err == nil && r.srv.backend.MustProve() && !r.owner.Leads(r.ticket) {
		err = ErrStale
	}
	if err != nil {
		r.forgetReads(r.refusedRead(gateRefusal(err)))
	}
	return err == nil
}

// forget replaces every reply that depends on the ticket, because its outcome is unknown.
func (r *round) forget(cause error) {
	r.srv.stats.unknown.Add(1)
	r.replace(unknownOutcome(cause), unknownBefore(cause))
}

// forgetReads replaces the replies to reads by the error text. The replies to writes stay: those are known to be committed.
func (r *round) forgetReads(text string) { r.replace("", text) }

// replace replaces the replies that depend on the ticket by errors, and closes the connection. Replies to writes become wrote, unless
// that is "", and replies to reads become read.
func (r *round) replace(wrote, read string) {
	r.conn.closing = true
	defer r.release()
	if len(r.marks) == 0 {
		return
	}
	replies := slices.Clone(r.out.buf[r.marks[0].at:])
	base := r.marks[0].at
	r.out.rewind(base)
	for i, m := range r.marks {
		end := len(replies)
		if i+1 < len(r.marks) {
			end = r.marks[i+1].at - base
		}
		switch {
		case m.kind == markSilent:
		case m.kind == markRead:
			r.out.fail(read)
		case m.kind == markWrite && wrote != "":
			r.out.fail(wrote)
		default:
			r.out.buf = append(r.out.buf, replies[m.at-base:end]...)
		}
	}
}

// release ends the round's dependence on the ticket.
func (r *round) release() {
	r.pending, r.owner = false, nil
	r.marks = r.marks[:0]
	r.ctx = nil
}

func argBytes(args [][]byte) int {
	n := 0
	for _, arg := range args {
		n += len(arg)
	}
	return n
}
