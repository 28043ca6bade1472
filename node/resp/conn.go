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

// conn is a client connection. Its goroutine, or whoever has the turn of its loop, owns all fields except the atomics and those that mu
// guards.
//
// An idle connection holds no buffer and no round, and after a second or two no goroutine. Measured (TestIdleConnectionMemory): 1.6 KiB
// of heap (this struct and the runtime's network descriptor), plus 4.1 KiB for the goroutine's stack while it has one.
type conn struct {
	srv     *Server
	nc      net.Conn
	raw     syscall.RawConn // nil if nc is not a socket
	id      int64
	created time.Time
	parser  parser
	parts   []*part // parts of Server.ration for the request being read or executed
	toWrite kept    // for long values that a write reads; given back once the write is settled
	allow   allowance
	readErr error // error of the last read, set by ready
	onReady func(fd uintptr) bool

	loop *loop // nil if a goroutine always serves the connection
	// While the loop has the connection, the fields of this group are used only in the loop's turn.
	round   *round // the round whose replies wait for a commit
	input   bool   // there may be more to read
	ended   bool   // the client has closed its side; there may still be input before that
	leaving bool   // hand the connection over once its round is answered
	onTake  func(fd uintptr)
	onSend  func(fd uintptr)
	taken   bool   // result of onTake
	sending []byte // argument of onSend, which the goroutine uses as well
	sent    int    // result of onSend
	sendErr error  // error of onSend

	simple  bool      // the loop could have executed the last pipeline
	idle    bool      // the last wait for input was ended by a deadline
	warm    int       // number of consecutive pipelines that needed only what was in memory, up to warmEnough
	closing bool      // close once the replies so far are sent
	leaveAt time.Time // if set: close once all input is answered and either no more arrives or this time has passed; see alone.go
	arrived bool      // input was read that has not been looked at
	quiet   replyMode
	multi   *transaction
	watched *watched
	unsent  *unsent              // nil if the client has taken all its replies
	written replication.Position // end of the newest batch with a write of this connection (WAIT)

	bound     bool // commands on data need the leader; see forward.go
	byLeader  bool // all commands on data run at the leader, and the client is told that this is one; see Server.ServeByLeader
	forwarded bool // the peer is another member, which forwards for a client of its own
	// wroteElsewhere means that the client may have written at another leader, or over an earlier connection of the forwarding member.
	wroteElsewhere bool
	shown          replication.Mark // the end of what leaders elsewhere can have shown to the client; zero: nothing; see history.go
	untold         bool             // a leader elsewhere has shown more than that
	given          string           // the password that the client gave although none is required; see words
	up             *upstream        // connection to the leader; may be nil. Changed under mu, because other goroutines read it
	watchesUp      *upstream        // the upstream over which keys are watched; may be nil

	resp3     atomic.Bool
	cut       atomic.Bool             // see Server.Cut: nothing more may run
	killed    atomic.Bool             // closed by another goroutine
	last      atomic.Pointer[command] // newest command
	active    atomic.Int64            // Server.uptime when a command last began or ended
	writing   atomic.Int64            // Server.uptime when the write in progress began; 0: none
	busy      atomic.Bool             // a round is in progress
	parked    atomic.Bool             // the loop has the connection
	dismissed atomic.Bool             // up is to be closed; see dismiss
	queued    atomic.Bool             // waiting for a part of Server.ration or Server.replies
	inMulti   atomic.Int64            // 1 + the number of commands queued for EXEC; 0: no MULTI

	mu      sync.Mutex // guards the fields below; a leaf lock
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
	replySkipNext           // CLIENT REPLY SKIP was just run: the next command gets no reply
	replySkip               // the current command gets no reply
)

// suppressed reports whether the command just executed gets no reply. It advances the state of CLIENT REPLY SKIP.
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

// serve serves the connection until the client or the server ends it, or the loop takes it back.
func (c *conn) serve() {
	if !c.work() {
		c.end()
	}
}

// work executes pipelines until the connection has to end or the loop has taken it, and reports whether the loop has. If the client could
// not learn of the end together with its last reply, work first waits for input once more (see awaitLast): the client may just be sending
// its next command.
func (c *conn) work() bool {
	for !c.cut.Load() && !c.killed.Load() {
		c.slim()
		c.retire()
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
			// The flag that tells why the wait was ended is set already, unless it was a nudge. What has arrived is still answered.
			continue
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

// touch records that the connection is active now.
func (c *conn) touch() (now time.Time) {
	now = c.srv.opt.Now()
	c.active.Store(c.srv.sinceStart(now))
	return now
}

// end closes the connection and releases everything it holds.
func (c *conn) end() {
	_ = c.drain() // nothing more can be done about an error here
	orderly := (c.closing || !c.leaveAt.IsZero()) && c.shut()
	c.disconnect()
	c.discard()
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

// pipeline executes everything buffered and sends the replies.
func (c *conn) pipeline(now time.Time) error { return c.proceed(c.takeRound(now)) }

// proceed continues r from wherever it is, and gives it back.
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

// over reports whether c is to be closed together with the next replies, if nothing else has arrived.
func (c *conn) over() bool {
	return c.srv.stopping.Load() || !c.leaveAt.IsZero() && !time.Now().Before(c.leaveAt)
}

// unfinished reports whether a part of a command has arrived whose rest is worth waiting for: if the connection were closed now, the
// client could not know whether the command ran.
func (c *conn) unfinished() bool {
	return c.parser.pending() > 0 && (c.leaveAt.IsZero() || time.Since(c.leaveAt) < time.Duration(c.srv.lastWait.Load()))
}

// parse takes the next chunk of commands out of the buffer, and reports whether there are any.
func (r *round) parse() bool {
	c := r.conn
	clear(r.jobs) // stale jobs would refer to a buffer that was given back
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
			break // RESET locks the connection, and other bounds hold for what comes next
		}
	}
	return len(r.jobs) > 0
}

var errSpeaksHTTP = errors.New("the client speaks HTTP")

// suspicious reports whether j is part of an HTTP request: as in Redis, this catches a browser that was tricked into sending commands in
// the body of a request. Nothing from there on is run or answered.
func suspicious(j job) bool { return is(j.args[0], "POST") || is(j.args[0], "HOST:") }

func (r *round) flushIfLarge() error {
	if !r.out.over && !r.large() {
		return nil
	}
	r.settle()
	return r.flush()
}

// large reports whether so many replies have accumulated that they have to be sent before more is executed.
func (r *round) large() bool {
	if r.pending {
		return len(r.out.buf) >= settleBytes || r.conn.toWrite.have >= settleBytes
	}
	return len(r.out.buf) >= flushBytes
}

// keptReplies is the largest reply buffer, in bytes, that a round keeps after a flush.
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
		r.srv.opt.Log.Info("closing client: its replies exceed client-output-buffer-limit", "client", c.id, "remote", c.remote())
		c.forgetUnsent()
		return ErrOutputLimit
	}
	if len(r.out.buf) == 0 {
		return nil
	}
	c.hold(false) // a client that is slow to take its replies must not hold up others
	took, err := c.deliver(r.out.buf)
	if c.parts != nil || c.multi != nil || c.watched != nil {
		c.touch() // it was not silent while it took its replies
	}
	if took || cap(r.out.buf) > keptReplies {
		r.out.buf = takeBuffer(0)
	}
	r.out.buf = r.out.buf[:0]
	return err
}

// sentAtOnce is how many bytes a client must take within Options.StallTimeout. A client that is slow but keeps up with that gets everything.
const sentAtOnce = 4 << 20

// send writes b in pieces of sentAtOnce. It blocks until all is written.
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
	c.srv.opt.Log.V(1).Info("closing client", "client", c.id, "remote", c.remote(), "reason", reason)
	_ = c.nc.Close() // the connection's goroutine fails on the closed socket
	c.interrupt()    // only after the close: a command woken earlier could still answer
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.up != nil {
		_ = c.up.nc.Close()
	}
}

// longAgo is a deadline in the past; setting it ends a wait.
var longAgo = time.Unix(1, 0)

// interrupt ends the wait for input and a blocking command. Any goroutine may call it.
func (c *conn) interrupt() {
	_ = c.nc.SetReadDeadline(longAgo) // fails only on a closed socket, which ends the wait as well
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

// isTimeout reports whether err means that a deadline has passed.
func isTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
