package resp

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/replicatedstore/replicatedstore/replication"
)

// conn is one client. Its goroutine owns all fields except the atomics and what mu guards.
//
// While idle it holds no buffer and no round. Measured (TestIdleConnectionMemory): 5.4 KiB, of which 1.3 KiB are heap (this
// struct, the runtime's network descriptor) and 4.1 KiB the goroutine's stack.
type conn struct {
	srv     *Server
	nc      net.Conn
	raw     syscall.RawConn // nil when nc is no socket
	id      int64
	created time.Time
	parser  parser
	readErr error // of the last read
	onReady func(fd uintptr) bool

	closing bool // close once the replies so far are sent
	quiet   replyMode
	multi   *transaction
	watched *watched
	written replication.Position // end of the newest batch with a write of this connection (WAIT)
	noEvict bool
	noTouch bool

	bound     bool // commands on data need the leader; see forward.go
	forwarded bool // another member speaks, for a client of its own
	// wroteElsewhere: the client may have written at another leader, or over a connection of that member's before this one.
	wroteElsewhere bool
	up             *upstream // to the leader; nil: none. Changed under mu, for others look at it
	watchesUp      *upstream // over which keys are watched; nil: over none

	resp3   atomic.Bool
	cut     atomic.Bool             // leadership ended: nothing more may run
	killed  atomic.Bool             // closed by another goroutine
	last    atomic.Pointer[command] // newest command
	active  atomic.Int64            // when a command last began or ended; Server.uptime, like writing
	writing atomic.Int64            // when the write in progress began; 0: none
	busy    atomic.Bool             // a round is in progress

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

// serve works until the client or the server ends the connection.
func (c *conn) serve() {
	defer c.end()
	waited := false // for input, since the last reply
	for !c.cut.Load() && !c.killed.Load() {
		if c.srv.stopping.Load() {
			if !c.fillRest() && !(waited && c.awaitLast()) {
				return
			}
		} else if err := c.fill(); err != nil {
			if isTimeout(err) && c.srv.stopping.Load() {
				waited = true
				continue // what has arrived meanwhile is still answered
			}
			return
		}
		waited = false
		c.busy.Store(true)
		err := c.pipeline(c.touch())
		c.busy.Store(false)
		if err != nil || c.closing {
			return
		}
	}
}

// touch notes that something happens now.
func (c *conn) touch() (now time.Time) {
	now = c.srv.opt.Now()
	c.active.Store(c.srv.sinceStart(now))
	return now
}

// end releases what the connection holds.
func (c *conn) end() {
	c.unwatch()
	c.disconnect()
	c.parser.release()
	c.srv.clients.remove(c)
	_ = c.nc.Close() // nothing more can be done about an error here
}

// pipeline executes everything that is buffered and sends the replies.
func (c *conn) pipeline(now time.Time) error {
	r := c.takeRound(now)
	defer r.give()
	fatal := error(nil)
	for fatal == nil && !c.closing {
		r.jobs, r.arena = r.jobs[:0], r.arena[:0]
		for len(r.jobs) < chunkCommands {
			from := len(r.arena)
			args, err := c.parser.next(r.arena)
			if err != nil || args == nil {
				fatal = err
				break
			}
			r.arena = args
			words := args[from:len(args):len(args)]
			r.jobs = append(r.jobs, job{c.srv.table.find(words), words})
		}
		if len(r.jobs) == 0 {
			break
		}
		if i := slices.IndexFunc(r.jobs, suspicious); i >= 0 {
			r.execute(r.jobs[:i])
			r.settle()
			return errSpeaksHTTP
		}
		r.execute(r.jobs)
		if err := r.flushIfLarge(); err != nil {
			return err
		}
	}
	r.settle()
	if fatal != nil && !c.closing {
		c.srv.stats.protocolErrors.Add(1)
		r.out.fail("ERR " + fatal.Error())
		c.closing = true
	}
	c.parser.compact()
	return r.flush()
}

var errSpeaksHTTP = errors.New("the client speaks HTTP")

// suspicious recognizes a browser that was tricked into sending commands in the body of a request, as Redis does. Nothing
// from there on runs, and nothing is answered.
func suspicious(j job) bool { return is(j.args[0], "POST") || is(j.args[0], "HOST:") }

func (r *round) flushIfLarge() error {
	switch {
	case r.out.over:
		r.settle()
		return r.flush()
	case r.pending && len(r.out.buf) < settleBytes, len(r.out.buf) < flushBytes:
		return nil
	default:
		r.settle()
		return r.flush()
	}
}

// flush sends the replies. It must not be called while pending.
func (r *round) flush() error {
	c := r.conn
	r.srv.stats.round(r)
	now := r.srv.sinceStart(r.started)
	c.active.Store(now)
	if r.out.over {
		r.srv.stats.outputLimit.Add(1)
		r.srv.opt.Log.Info("closing client: its replies exceed client-output-buffer-limit", "client", c.id, "addr", c.remote())
		return ErrOutputLimit
	}
	if len(r.out.buf) == 0 {
		return nil
	}
	c.writing.Store(max(1, now))
	n, err := c.nc.Write(r.out.buf)
	c.writing.Store(0)
	r.srv.stats.sent.Add(uint64(n))
	if cap(r.out.buf) > largeBuffer {
		r.out.buf = takeBuffer(0)
	}
	r.out.buf = r.out.buf[:0]
	return err
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

// interrupt ends the wait for input, and a blocking command, from any goroutine.
func (c *conn) interrupt() {
	_ = c.nc.SetReadDeadline(time.Unix(1, 0)) // fails only on a closed socket, which is as good
	c.mu.Lock()
	wake := c.wake
	c.mu.Unlock()
	if wake != nil {
		wake()
	}
}

func (c *conn) setWake(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wake = f
}

func (c *conn) setName(name []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.name = string(name)
}

func (c *conn) nameOf() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.name
}

func (c *conn) setLibrary(isName bool, value string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if isName {
		c.libName = value
	} else {
		c.libVer = value
	}
}

func (c *conn) remote() string { return c.nc.RemoteAddr().String() }
func (c *conn) local() string  { return c.nc.LocalAddr().String() }

// describe is the connection's line in CLIENT LIST. Fields about what does not exist here (pub/sub, tracking) have the
// values of a client that does not use it; sizes of buffers are left out, because only their owner may look.
func (c *conn) describe() string {
	now := c.srv.opt.Now()
	last := "NULL"
	if cmd := c.last.Load(); cmd != nil {
		last = cmd.name
	}
	resp := 2
	if c.resp3.Load() {
		resp = 3
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var b strings.Builder
	fmt.Fprintf(&b, "id=%d addr=%s laddr=%s %s name=%s age=%d idle=%d flags=N db=0 sub=0 psub=0 ssub=0",
		c.id, c.remote(), c.local(), c.descriptor(), c.name, int64(now.Sub(c.created).Seconds()),
		max(0, c.srv.uptime()-c.active.Load())/1000)
	fmt.Fprintf(&b, " events=r cmd=%s user=default redir=-1 resp=%d lib-name=%s lib-ver=%s", last, resp, c.libName, c.libVer)
	return b.String()
}

// descriptor is "fd=<n>", or empty when there is none.
func (c *conn) descriptor() string {
	text := "fd=-1"
	if c.raw != nil {
		_ = c.raw.Control(func(fd uintptr) { text = fmt.Sprintf("fd=%d", fd) }) // a closed socket has none
	}
	return text
}

// isTimeout reports whether err is a deadline that passed.
func isTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
