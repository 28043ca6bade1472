package resp

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/replicatedstore/replicatedstore/node/store"
)

// loop serves many connections without a goroutine for each: those that wait for input, and those whose replies wait for a commit. What
// has arrived on all of them is read and evaluated one after the other, and so ends up in one record of the log; and when that is
// committed, the replies leave one after the other.
//
// It does only what never waits: commands that the sequencer or the applied state answers from memory, and sending what the socket takes
// at once. A connection that needs more is handed to a goroutine (see conn.work), and comes back with the first pipeline that is simple.
//
// Whoever has noticed something takes the turn and does all that is due: the loop's own goroutine when there is input, and the
// goroutine that has applied a record for the replies that waited for it. Nobody has to be woken for them, and what the clients say next
// is in the record after. (Where there are several loops, each has its goroutine woken: who applies is one for all.) What that brought is
// told in docs/performance.md.
type loop struct {
	srv    *Server
	single bool // there is no other
	poller *poller
	poked  atomic.Bool // something may be due
	// offering is how many are having something put in the log: they may be waiting for the disk, the loop's own goroutine too. It
	// begins in the turn.
	offering atomic.Int32
	awaited  atomic.Int32 // rounds in waiting

	turn    sync.Mutex // guards below; never waited for by who notices something
	conns   map[int64]*conn
	waiting []*round // for their tickets, oldest first
	alarmed bool     // somebody will look after the oldest, and after what comes while somebody offers
	seq     *store.Sequencer
	queued  bool // something was evaluated and not offered
	closed  bool
	now     time.Time

	mu    sync.Mutex // a leaf; guards below
	inbox []*conn    // to be handed to a goroutine: something has happened to them
}

const (
	// warmEnough is for how many pipelines in a row all that a connection asks for must be in memory before the loop takes it again.
	warmEnough = 64
	// longestCommit is how long a loop waits for a commit. Then a goroutine does, which knows what to do when there is none.
	longestCommit = 250 * time.Millisecond
	// simpleArgs and simpleBytes bound a pipeline that a loop executes.
	simpleArgs = 64
	// manyReads in one pipeline are worth a goroutine, which does them beside others' (measured: 0.7 times as many GETs a second without).
	manyReads   = 4
	simpleBytes = 64 << 10
)

// newLoop returns nil where there is none.
func newLoop(s *Server, single bool) *loop {
	l := &loop{srv: s, single: single, conns: map[int64]*conn{}}
	p, err := newPoller()
	if err != nil {
		s.opt.Log.V(1).Info("every connection has a goroutine", "reason", err.Error())
		return nil
	}
	l.poller = p
	go p.run(l.work)
	return l
}

// close ends the loop, which has no connection any more. Somebody may still poke it.
func (l *loop) close() {
	l.turn.Lock()
	defer l.turn.Unlock()
	l.closed = true
	l.poller.close()
}

// work does all that is due until nothing is. It is for the loop's own goroutine.
func (l *loop) work() {
	l.poked.Store(true)
	for l.poked.Load() && l.turn.TryLock() {
		l.once()
	}
}

// settled is told that commits that are waited for may have happened. It sees to that once, unless somebody is at it, who will see then.
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

// once is one pass; it gives the turn back, and only then has what was queued put in the log: a disk that hangs must not keep the turn.
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

// passOn leaves what has come up meanwhile to the loop's own goroutine.
func (l *loop) passOn() {
	if l.poked.Load() {
		l.poller.kick()
	}
}

// pass does what is due; the caller has the turn, like that of everything below that does not say otherwise.
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
	for l.answer() { // what has changed nothing may have nothing to wait for, and nobody tells of it then
	}
}

// adopt takes c in, unless something has happened to it; the caller has not the turn.
func (l *loop) adopt(c *conn) bool {
	defer l.passOn()
	l.turn.Lock()
	defer l.turn.Unlock()
	l.conns[c.id] = c
	c.parked.Store(true)
	if !c.disturbed() && l.poller.add(c) {
		return true
	}
	c.parked.Store(false)
	l.poller.remove(c)
	delete(l.conns, c.id)
	return false
}

// release has c handed to a goroutine; called from anywhere.
func (l *loop) release(c *conn) {
	l.mu.Lock()
	l.inbox = append(l.inbox, c)
	l.mu.Unlock()
	l.poked.Store(true)
	l.poller.kick()
}

// empty hands over those that something has happened to. Who waits for a commit is answered before.
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

// handOver gives c to a goroutine of its own, which goes on with r; nil: with what comes.
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

// serve reads what has arrived on c and does it.
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

// more tells whether there may be something to read, of which nobody will tell.
func (c *conn) more() bool { return c.input || c.ended }

// execute runs what c has sent; false when there is nothing more to do for c now.
func (l *loop) execute(c *conn) bool {
	c.active.Store(c.srv.sinceStart(l.now))
	r := c.takeRound(l.now)
	if !r.parse() && r.malformed == nil {
		r.give()
		c.parser.rest()
		if c.parser.wants() > 0 { // which may have to wait
			l.handOver(c, nil)
			return false
		}
		return true // the rest of a command is to come
	}
	if !r.simple() {
		l.handOver(c, r)
		return false
	}
	r.hasty = true
	return l.proceed(c, r)
}

// proceed goes on with r from wherever it is; false when there is nothing more to do for c now.
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

// await keeps r until its ticket is settled.
func (l *loop) await(c *conn, r *round) {
	l.offer(r)
	c.round = r
	c.busy.Store(true)
	l.waiting = append(l.waiting, r)
	l.awaited.Add(1)
}

// offer has what r has queued put in the log when the pass is over.
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

// overdue is after how long a commit is waited for elsewhere.
func (l *loop) overdue() time.Duration {
	return min(longestCommit, time.Duration(l.srv.commitTimeout.Load()))
}

// answer sends the replies that have waited long enough, and tells whether there were any.
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

// forget drops the oldest that wait.
func (l *loop) forget(n int) {
	l.waiting = slices.Delete(l.waiting, 0, n)
	l.awaited.Add(int32(-n))
}

// send sends the replies of r; false when c is somebody else's then.
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

// alarm hands over whose commit takes too long. It also does what is due: the loop's goroutine may be waiting for the disk, and then
// nobody else does.
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

// simple tells whether a loop may try to execute the round.
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
		case size > simpleBytes, len(j.cmd.keys) == 0 && !j.cmd.isWait(), r.elsewhere(j, class):
			return false
		case class == classBatch && j.cmd.has(flagWrite):
			writes = true
		case class == classRead && j.cmd.has(flagFast) && len(j.args) == 2: // of one key
			views = true
		case j.cmd.isWait() && i == len(r.jobs)-1:
		default:
			return false
		}
	}
	return !(writes && views) && !(views && len(r.jobs) > manyReads)
}
