package resp

import (
	"errors"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/replicatedstore/replicatedstore/replication"
)

// conn is one client. Its goroutine, or the turn of its loop, owns all fields except the atomics and what mu guards.
//
// While idle it holds no buffer and no round, and after a second or two no goroutine. Measured (TestIdleConnectionMemory): 1.6 KiB of
// heap (this struct, the runtime's network descriptor), and 4.1 KiB for the goroutine's stack while it has one.
type conn struct {
	srv     *Server
	nc      net.Conn
	raw     syscall.RawConn // nil when nc is no socket
	id      int64
	created time.Time
	parser  parser
	parts   []*part // of Server.ration
	toWrite kept    // for long values that are read to be written; until that is settled
	allow   allowance
	readErr error // of the last read
	onReady func(fd uintptr) bool

	loop *loop // nil: a goroutine serves it always
	// In the loop's turn only, while it is the loop's.
	round   *round // whose replies wait for a commit
	input   bool   // there may be more to read
	ended   bool   // the client's end was seen, behind what there is to read
	leaving bool   // it is handed over once it is answered
	onTake  func(fd uintptr)
	onSend  func(fd uintptr)
	taken   bool   // by onTake: something was
	sending []byte // for onSend, which is the goroutine's as well
	sent    int    // by onSend
	sendErr error  // of onSend

	simple  bool      // what was executed last would have been a loop's
	idle    bool      // for a while
	warm    int       // pipelines in a row that asked only for what was in memory, up to warmEnough
	closing bool      // close once the replies so far are sent
	leaveAt time.Time // close once all that has arrived is answered, and no more arrives or it is later; zero: not yet. See alone.go
	arrived bool      // something has that was not looked at
	quiet   replyMode
	multi   *transaction
	watched *watched
	unsent  *unsent              // nil: it has taken all that it was answered
	written replication.Position // end of the newest batch with a write of this connection (WAIT)

	bound     bool // commands on data need the leader; see forward.go
	byLeader  bool // all it does with data is done at the leader, and it is told what a leader would tell; see Server.ServeByLeader
	forwarded bool // another member speaks, for a client of its own
	// wroteElsewhere: the client may have written at another leader, or over a connection of that member's before this one.
	wroteElsewhere bool
	given          string    // as a password, where none is asked for; see words
	up             *upstream // to the leader; nil: none. Changed under mu, for others look at it
	watchesUp      *upstream // over which keys are watched; nil: over none

	resp3   atomic.Bool
	cut     atomic.Bool             // leadership ended: nothing more may run
	killed  atomic.Bool             // closed by another goroutine
	last    atomic.Pointer[command] // newest command
	active  atomic.Int64            // when a command last began or ended; Server.uptime, like writing
	writing atomic.Int64            // when the write in progress began; 0: none
	busy    atomic.Bool             // a round is in progress
	parked  atomic.Bool             // the loop has it
	queued  atomic.Bool             // it waits for its part of Server.ration
	inMulti atomic.Int64            // commands that are queued for EXEC, and one more; 0: no MULTI

	mu      sync.Mutex // guards below; a leaf
	name    string
	libName string
	libVer  string
	wake    func() // ends a blocking command
}

// replyMode is CLIENT REPLY's state.
type replyMode uint8

const (
	replyOn       replyMode = iota
	replyOff                // no replies
	replySkipNext           // CLIENT REPLY SKIP was just run: the command after it gets no reply
	replySkip               // the current command gets no reply
)

// suppressed reports whether the command that was just executed gets no reply, and moves SKIP on.
func (c *conn) suppressed() bool {
	switch c.quiet {
	case replyOff:
		return true
	case replySkipNext:
		c.quiet = replySkip
		return false
	case replySkip:
		c.quiet = replyOn
		return true
	default:
		return false
	}
}

// serve works until the client or the server ends the connection, or the loop takes it back.
func (c *conn) serve() {
	if !c.work() {
		c.end()
	}
}

// work returns true when the loop has taken c. Whoever is not told of the end with the reply before is waited for once more: also who was sent
// that the moment before, and may be saying the next thing.
func (c *conn) work() bool {
	for !c.cut.Load() && !c.killed.Load() {
		c.slim()
		if c.unsent != nil {
			if !c.arrived && !c.exchange() {
				continue
			}
			c.arrived = false
		} else if c.srv.stopping.Load() || !c.leaveAt.IsZero() {
			if !c.arrived && !c.fillRest() && !c.awaitLast() {
				return false
			}
			c.arrived = false
		} else if c.mayPark() && c.loop.adopt(c) {
			return true
		} else if !c.mayFill() {
			continue
		} else if err := c.fill(); err != nil {
			if !isTimeout(err) || c.nc.SetReadDeadline(time.Time{}) != nil {
				return false
			}
			c.idle = true
			continue // who ended the wait has said why before, unless it was a nudge; what has arrived is still answered
		}
		c.idle = false
		c.busy.Store(true)
		c.simple = c.loop != nil
		err := c.pipeline(c.touch())
		c.busy.Store(false)
		if err != nil || c.closing {
			return false
		}
	}
	return false
}

// touch notes that something happens now.
func (c *conn) touch() (now time.Time) {
	now = c.srv.opt.Now()
	c.active.Store(c.srv.sinceStart(now))
	return now
}

// end releases what the connection holds.
func (c *conn) end() {
	_ = c.drain() // nothing more can be done about an error here
	orderly := (c.closing || !c.leaveAt.IsZero()) && c.shut()
	c.discard()
	c.disconnect()
	c.parser.release()
	c.slim()
	c.repay()
	c.srv.clients.remove(c)
	if orderly {
		c.linger()
	}
	_ = c.nc.Close() // nothing more can be done about an error here
	c.srv.running.Done()
}

// pipeline executes everything that is buffered and sends the replies.
func (c *conn) pipeline(now time.Time) error { return c.proceed(c.takeRound(now)) }

// proceed goes on with a round from wherever it is.
func (c *conn) proceed(r *round) error {
	defer r.give()
	for !c.closing && !c.killed.Load() {
		if r.next == len(r.jobs) {
			if !r.parse() {
				break
			}
			c.simple = c.simple && r.simple()
		}
		if i := slices.IndexFunc(r.jobs, suspicious); i >= 0 {
			r.jobs = r.jobs[:max(i, r.next)]
			r.execute()
			r.settle()
			return errSpeaksHTTP
		}
		c.hold(true)
		r.execute()
		if err := r.flushIfLarge(); err != nil {
			return err
		}
	}
	r.settle()
	if r.malformed != nil && !c.closing {
		c.srv.stats.protocolErrors.Add(1)
		if c.quiet != replyOff && c.quiet != replySkip {
			r.out.fail("ERR " + r.malformed.Error())
		}
		c.closing = true
	}
	if r.astray && c.leaveAt.IsZero() {
		c.leaveAt = time.Now().Add(time.Duration(c.srv.astrayWait.Load()))
	}
	if c.warm = min(c.warm+1, warmEnough); r.cold {
		c.warm = 0
	}
	c.parser.compact()
	if !c.closing && c.over() {
		c.arrived = c.fillRest()
		c.closing = !c.arrived && !c.unfinished()
	}
	if c.closing {
		c.cork()
	}
	return r.flush()
}

// over tells whether c is to be closed with the replies that it is sent next, if nothing else has arrived.
func (c *conn) over() bool {
	return c.srv.stopping.Load() || !c.leaveAt.IsZero() && !time.Now().Before(c.leaveAt)
}

// unfinished tells whether a part of a command has arrived, for the rest of which it is worth waiting: its client could not know whether it
// ran, were the connection closed now.
func (c *conn) unfinished() bool {
	return c.parser.pending() > 0 && (c.leaveAt.IsZero() || time.Since(c.leaveAt) < lastWait)
}

// parse takes the next chunk of commands out of the buffer, and tells whether there are any.
func (r *round) parse() bool {
	c := r.conn
	clear(r.jobs) // or they would keep a buffer that was given back
	clear(r.arena)
	r.jobs, r.arena, r.next = r.jobs[:0], r.arena[:0], 0
	for len(r.jobs) < c.parser.chunk() && r.malformed == nil {
		from := len(r.arena)
		args, err := c.parser.next(r.arena)
		if r.malformed = err; err != nil || args == nil {
			break
		}
		r.arena = args
		words := args[from:len(args):len(args)]
		cmd := c.srv.table.find(words)
		if r.jobs = append(r.jobs, job{cmd, words}); cmd != nil && cmd.name == "reset" && c.srv.opt.Passwords != nil {
			break // other bounds may hold for what comes next
		}
	}
	return len(r.jobs) > 0
}

var errSpeaksHTTP = errors.New("the client speaks HTTP")

// suspicious recognizes a browser that was tricked into sending commands in the body of a request, as Redis does. Nothing
// from there on runs, and nothing is answered.
func suspicious(j job) bool { return is(j.args[0], "POST") || is(j.args[0], "HOST:") }

func (r *round) flushIfLarge() error {
	if !r.out.over && !r.large() {
		return nil
	}
	r.settle()
	return r.flush()
}

// large reports whether there are so many replies that they are sent before more is executed.
func (r *round) large() bool {
	if r.pending {
		return len(r.out.buf) >= settleBytes || r.conn.toWrite.have >= settleBytes
	}
	return len(r.out.buf) >= flushBytes
}

// keptReplies is how long a buffer of replies, in bytes, is kept for the next ones.
const keptReplies = 1 << 20

// flush sends the replies. It must not be called while pending.
func (r *round) flush() error {
	c := r.conn
	r.srv.stats.round(r)
	now := r.srv.sinceStart(r.started)
	c.active.Store(now)
	defer c.repay()
	c.toWrite.give(c)
	if r.out.over {
		r.srv.stats.outputLimit.Add(1)
		r.srv.opt.Log.Info("closing client: its replies exceed client-output-buffer-limit", "client", c.id, "addr", c.remote())
		c.forgetUnsent()
		return ErrOutputLimit
	}
	if len(r.out.buf) == 0 {
		return nil
	}
	c.hold(false) // who is slow to take the replies is not to hold up others
	took, err := c.deliver(r.out.buf)
	if took || cap(r.out.buf) > keptReplies {
		r.out.buf = takeBuffer(0)
	}
	r.out.buf = r.out.buf[:0]
	return err
}

// sentAtOnce is what a client has Options.StallTimeout for, in bytes: who is slow, and takes more than that in this time, gets all of it.
const sentAtOnce = 4 << 20

// send writes replies, in pieces.
func (c *conn) send(b []byte) error {
	defer c.writing.Store(0)
	for len(b) > 0 {
		c.writing.Store(max(1, c.srv.uptime()))
		n, err := c.nc.Write(b[:min(len(b), sentAtOnce)])
		c.srv.stats.sent.Add(uint64(n))
		if err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// kill closes the connection at once, from any goroutine.
func (c *conn) kill(reason string) {
	if c.killed.Swap(true) {
		return
	}
	c.srv.opt.Log.V(1).Info("closing client", "client", c.id, "addr", c.remote(), "reason", reason)
	_ = c.nc.Close() // its goroutine meets the closed socket
	c.interrupt()    // only now: a command that is woken earlier could still answer
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.up != nil {
		_ = c.up.nc.Close()
	}
}

// longAgo, as a deadline, ends a wait.
var longAgo = time.Unix(1, 0)

// interrupt ends the wait for input, and a blocking command, from any goroutine.
func (c *conn) interrupt() {
	_ = c.nc.SetReadDeadline(longAgo) // fails only on a closed socket, which is as good
	c.mu.Lock()
	wake := c.wake
	c.mu.Unlock()
	if wake != nil {
		wake()
	}
	if c.loop != nil {
		c.loop.release(c)
	}
}

func (c *conn) setWake(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wake = f
}

// isTimeout reports whether err is a deadline that passed.
func isTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
