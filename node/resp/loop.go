package resp

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/replicatedstore/replicatedstore/node/store"
)

// loop serves many connections without a goroutine for each: those that wait for input, and those whose replies wait for a commit. It
// reads and evaluates the input of all of them, one connection after the other, so that their writes end up in one record of the log. Once
// that record is committed, it sends the replies, again one after the other.
//
// A loop does only what never waits: it runs commands that the sequencer or the applied state answers from memory, and sends what the
// socket takes at once. A connection that needs more is handed to a goroutine (see conn.work). It comes back to the loop once its last
// pipeline was simple and it is warm (see warmEnough), or once it is idle.
//
// Whoever notices an event takes the turn and does everything that is due: the loop's own goroutine when there is input, and the goroutine
// that has applied a record for the replies that waited for it. Nobody has to be woken to send those replies, and what the clients send
// next is part of the following record. If there are several loops, the applying goroutine wakes the goroutine of each instead, because
// there is only one that applies. For what this gained, see docs/performance.md.
type loop struct {
	srv    *Server
	single bool // this is the only loop
	poller *poller
	poked  atomic.Bool // something may be due
	// offering is the number of goroutines inside Sequencer.Offer. They may be waiting for the disk, and the loop's own goroutine may be one
	// of them. It is incremented in the turn.
	offering atomic.Int32
	awaited  atomic.Int32 // len(waiting)

	turn    sync.Mutex // guards the fields below, up to now; whoever notices an event only tries to lock it
	conns   map[int64]*conn
	waiting []*round // rounds that wait for their tickets, oldest first
	alarmed bool     // a timer is set that runs alarm
	seq     *store.Sequencer
	queued  bool // something was evaluated but not yet offered
	closed  bool
	now     time.Time

	mu    sync.Mutex // guards inbox; a leaf lock
	inbox []*conn    // to be handed to a goroutine, because something has happened to them
}

const (
	// warmEnough is the number of consecutive pipelines of a connection that must find everything in memory before the loop takes it again.
	warmEnough = 64
	// longestCommit is how long a loop waits for a commit. After that a goroutine waits, which can deal with a commit that does not happen.
	longestCommit = 250 * time.Millisecond
	// simpleArgs bounds the arguments of each command, and simpleBytes the bytes of all, in a pipeline that a loop executes.
	simpleArgs = 64
	// A pipeline with more than manyReads reads is worth a goroutine, which runs in parallel with others (measured: without one, 0.7 times
	// as many GETs per second).
	manyReads   = 4
	simpleBytes = 64 << 10
)

// newLoop returns a running loop, or nil if this platform has no poller.
func newLoop(s *Server, single bool) *loop {
	l := &loop{srv: s, single: single, conns: map[int64]*conn{}}
	p, err := newPoller()
	if err != nil {
		s.opt.Log.V(1).Info("no poller: each connection gets its own goroutine", "error", err.Error())
		return nil
	}
	l.poller = p
	go p.run(l.work)
	return l
}

// close ends the loop, which must not have any connections left. Poking it is still allowed.
func (l *loop) close() {
	l.turn.Lock()
	defer l.turn.Unlock()
	l.closed = true
	l.poller.close()
}

// work does what is due until nothing is left. Only the loop's own goroutine calls it.
func (l *loop) work() {
	l.poked.Store(true)
	for l.poked.Load() && l.turn.TryLock() {
		l.once()
	}
}

// settled is called when commits that rounds wait for may have happened; see Sequencer.OnSettled. It takes the turn for one pass. If somebody
// else has the turn, they notice it themselves.
func (l *loop) settled() {
	if l.awaited.Load() == 0 {
		return
	}
	l.poked.Store(true)
	switch {
	case !l.single:
		l.poller.kick()
	case l.turn.TryLock():
		l.once()
		l.passOn()
	}
}

// once does one pass and then releases the turn, which the caller holds. Only after that does it offer what was queued to the log: a disk
// that hangs must not block the turn.
func (l *loop) once() {
	l.poked.Store(false)
	l.pass()
	queued, seq := l.queued, l.seq
	l.queued = false
	if queued {
		l.offering.Add(1)
	}
	l.turn.Unlock()
	if queued {
		seq.Offer()
		l.offering.Add(-1)
	}
}

// passOn leaves whatever has become due in the meantime to the loop's own goroutine.
func (l *loop) passOn() {
	if l.poked.Load() {
		l.poller.kick()
	}
}

// pass does what is due. The caller holds the turn, as for all functions below unless they say otherwise.
func (l *loop) pass() {
	if l.closed {
		return
	}
	l.now = l.srv.opt.Now()
	l.empty()
	if l.answer() {
		l.now = l.srv.opt.Now()
	}
	more := l.poller.events(func(id int64, ended bool) {
		if c := l.conns[id]; c != nil {
			c.ended = c.ended || ended
			if c.input = c.round != nil; !c.input {
				l.serve(c)
			}
		}
	})
	if more {
		l.poked.Store(true)
	}
	for l.answer() { // a batch without effects may have nothing to wait for, and then nobody calls settled for it
	}
}

// adopt makes the loop serve c, and reports whether it does: it does not if something has happened to c. The caller must not hold the
// turn.
func (l *loop) adopt(c *conn) bool {
	defer l.passOn()
	l.turn.Lock()
	defer l.turn.Unlock()
	l.conns[c.id] = c
	c.parked.Store(true)
	if !c.disturbed() && !c.retires() && l.poller.add(c) {
		return true
	}
	c.parked.Store(false)
	l.poller.remove(c)
	delete(l.conns, c.id)
	return false
}

// release makes the loop hand c to a goroutine. Any goroutine may call it.
func (l *loop) release(c *conn) {
	l.mu.Lock()
	l.inbox = append(l.inbox, c)
	l.mu.Unlock()
	l.poked.Store(true)
	l.poller.kick()
}

// empty hands over the connections in the inbox. Those that wait for a commit are answered first.
func (l *loop) empty() {
	l.mu.Lock()
	inbox := l.inbox
	l.inbox = nil
	l.mu.Unlock()
	for _, c := range inbox {
		switch {
		case l.conns[c.id] != c:
		case c.round != nil:
			c.leaving = true
		default:
			l.handOver(c, nil)
		}
	}
}

// handOver gives c to a goroutine of its own, which continues with r, or with the next input if r is nil.
func (l *loop) handOver(c *conn, r *round) {
	delete(l.conns, c.id)
	l.poller.remove(c)
	c.parked.Store(false)
	c.input, c.leaving, c.round = false, false, nil
	if r != nil {
		r.hasty, r.stuck = false, false
	}
	go c.resume(r)
}

// serve reads what has arrived on c and executes it.
func (l *loop) serve(c *conn) {
	for {
		c.input = false
		switch c.take() {
		case tookNothing:
			return
		case tookEnd:
			l.handOver(c, nil)
			return
		case tookInput:
		}
		if !l.execute(c) || !c.more() {
			return
		}
	}
}

// more reports whether there may be something to read that the poller will not report.
func (c *conn) more() bool { return c.input || c.ended }

// execute runs what c has sent. It returns false if there is nothing more to do for c now.
func (l *loop) execute(c *conn) bool {
	c.active.Store(c.srv.sinceStart(l.now))
	r := c.takeRound(l.now)
	if !r.parse() && r.malformed == nil {
		r.give()
		c.parser.rest()
		if c.parser.wants() > 0 { // memory for a long request may have to be waited for
			l.handOver(c, nil)
			return false
		}
		return true // the command is incomplete so far
	}
	if !r.simple() {
		l.handOver(c, r)
		return false
	}
	r.hasty = true
	return l.proceed(c, r)
}

// proceed continues r from wherever it is. It returns false if there is nothing more to do for c now.
func (l *loop) proceed(c *conn, r *round) bool {
	r.execute()
	if r.lastTick.After(l.now) {
		l.now = r.lastTick
	}
	if r.stuck || r.next < len(r.jobs) && !r.pending || c.closing || r.astray || r.out.over {
		if r.pending {
			l.offer(r)
		}
		l.handOver(c, r)
		return false
	}
	if r.next == len(r.jobs) {
		c.parser.rest()
	}
	if !r.pending {
		return l.send(c, r)
	}
	l.await(c, r)
	return false
}

// await keeps r in waiting until its ticket is settled.
func (l *loop) await(c *conn, r *round) {
	l.offer(r)
	c.round = r
	c.busy.Store(true)
	l.waiting = append(l.waiting, r)
	l.awaited.Add(1)
}

// offer arranges that what r has queued is offered to the log at the end of the pass, and that alarm looks after late commits.
func (l *loop) offer(r *round) {
	if l.seq != r.owner {
		l.seq = r.owner
		l.seq.OnSettled(l.settled)
	}
	l.queued = true
	if !l.alarmed {
		l.alarmed = true
		time.AfterFunc(l.overdue(), l.alarm)
	}
}

// overdue returns how long a loop waits for a commit before a goroutine does.
func (l *loop) overdue() time.Duration {
	return min(longestCommit, time.Duration(l.srv.commitTimeout.Load()))
}

// answer sends the replies whose tickets are settled, and reports whether there were any.
func (l *loop) answer() bool {
	done := 0
	for _, r := range l.waiting {
		settled, err := r.owner.Settled(r.ticket)
		if !settled {
			break
		}
		done++
		c := r.conn
		c.busy.Store(false)
		c.round = nil
		if err != nil || !r.proved {
			l.handOver(c, r)
			continue
		}
		r.settled()
		if l.proceed(c, r) && c.more() {
			l.serve(c)
		}
	}
	l.forget(done)
	return done > 0
}

// forget drops the n oldest waiting rounds.
func (l *loop) forget(n int) {
	l.waiting = slices.Delete(l.waiting, 0, n)
	l.awaited.Add(int32(-n))
}

// send sends the replies of r. It returns false if c was handed over.
func (l *loop) send(c *conn, r *round) bool {
	if !c.trySend(r) {
		l.handOver(c, r)
		return false
	}
	r.give()
	if c.leaving {
		l.handOver(c, nil)
		return false
	}
	return true
}

// alarm hands over the connections whose commit takes too long. It also does what is due, because nobody else does if the loop's goroutine
// is waiting for the disk. It takes the turn itself.
func (l *loop) alarm() {
	l.turn.Lock()
	l.handOverLate()
	l.once()
	l.passOn()
}

func (l *loop) handOverLate() {
	l.now = l.srv.opt.Now()
	late := 0
	for _, r := range l.waiting {
		if l.now.Sub(r.started) < l.overdue() {
			break
		}
		late++
		l.handOver(r.conn, r)
	}
	l.forget(late)
	if l.alarmed = len(l.waiting) > 0 || l.offering.Load() > 0; l.alarmed {
		time.AfterFunc(l.overdue(), l.alarm)
	}
}

// simple reports whether a loop may try to execute the round.
func (r *round) simple() bool {
	c := r.conn
	if c.parser.locked || r.malformed != nil || c.multi != nil || c.watched != nil || len(r.jobs) > batchCommands {
		return false
	}
	size, writes, views := 0, false, false
	for i := range r.jobs {
		j := &r.jobs[i]
		if j.cmd == nil || len(j.args) > simpleArgs {
			return false
		}
		size += argBytes(j.args)
		class := r.classify(j)
		switch {
		case size > simpleBytes, len(j.cmd.keys) == 0 && !j.cmd.isLast(), r.elsewhere(j, class):
			return false
		case class == classBatch && j.cmd.has(flagWrite):
			writes = true
		case class == classRead && j.cmd.has(flagFast) && len(j.args) == 2: // reads a single key
			views = true
		case j.cmd.isLast() && i == len(r.jobs)-1:
		default:
			return false
		}
	}
	return !(writes && views) && !(views && len(r.jobs) > manyReads)
}
