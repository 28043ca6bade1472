package resp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Server serves the client protocol.
type Server struct {
	backend Backend
	opt     Options
	limits  *Limits
	table   *table
	config  map[string]Param
	clients registry
	watches watchList
	terms   terms
	stats   *stats
	started time.Time

	maxClients    atomic.Int64
	maxOutput     atomic.Int64 // bytes
	commitTimeout atomic.Int64 // nanoseconds, like the next five
	idleTimeout   atomic.Int64 // clients that send nothing for this long are closed; 0: never
	keepAlive     atomic.Int64 // TCP keepalive period of new connections; 0: off
	astrayWait    atomic.Int64 // defaultAstrayWait, except in tests
	lastWait      atomic.Int64 // defaultLastWait, except in tests
	upstreamRest  atomic.Int64 // defaultUpstreamRest, except in tests
	mostRead      atomic.Int64 // defaultMostRead, except in tests

	stopping atomic.Bool
	ctx      context.Context // canceled when connections are closed without grace
	stop     context.CancelFunc
	blockCtx context.Context // canceled when stopping begins: from then on nothing blocks
	unblock  context.CancelFunc
	running  sync.WaitGroup
	begun    sync.Once
	loops    []*loop // empty on platforms without a poller
	nextLoop atomic.Uint32
	ration   ration // memory for long requests
	replies  ration // memory for long replies

	mu        sync.Mutex // orders Serve and Shutdown: no listener joins running once stopping is set
	listeners map[net.Listener]struct{}
	port      atomic.Int64
}

// New returns a server that is ready to Serve. It starts no goroutines.
func New(b Backend, o Options) (*Server, error) {
	if o.Now == nil {
		return nil, errors.New("create client protocol server: Options.Now is required")
	}
	s := &Server{backend: b, opt: o.withDefaults(), table: newTable()}
	s.limits = &s.opt.Limits
	s.ration.size, s.ration.most, s.ration.mostAside = s.opt.MaxLarge, s.opt.MaxLarge, s.opt.MaxLarge/4
	s.ration.tooSlow = s.cutOffIfSlow
	s.replies.size, s.replies.most = s.opt.MaxLong, s.opt.MaxLong
	s.stats = newStats(s)
	s.started = s.opt.Now()
	s.clients.byID = map[int64]*conn{}
	s.listeners = map[net.Listener]struct{}{}
	s.maxClients.Store(int64(s.opt.MaxClients))
	s.maxOutput.Store(s.opt.MaxOutput)
	s.commitTimeout.Store(int64(s.opt.CommitTimeout))
	s.keepAlive.Store(int64(defaultKeepAlive))
	s.astrayWait.Store(int64(defaultAstrayWait))
	s.lastWait.Store(int64(defaultLastWait))
	s.upstreamRest.Store(int64(defaultUpstreamRest))
	s.mostRead.Store(defaultMostRead)
	s.ctx, s.stop = context.WithCancel(context.Background())
	s.blockCtx, s.unblock = context.WithCancel(s.ctx)
	s.config = s.params()
	return s, nil
}

// ErrStopped is returned by Serve after Shutdown.
var ErrStopped = errors.New("server stopped")

// Serve accepts connections on l. It returns ErrStopped after Shutdown, or another error if l is closed by somebody else.
func (s *Server) Serve(l net.Listener) error {
	if a, ok := l.Addr().(*net.TCPAddr); ok {
		s.port.Store(int64(a.Port))
	}
	return s.serve(l, false)
}

// ServeByLeader is like Serve, for clients that want the leader, wherever it is: all their commands on data run there. HELLO, ROLE and
// INFO therefore tell them that this member is a leader: some clients (StackExchange.Redis) ask from time to time, and refuse to write
// to anything else.
func (s *Server) ServeByLeader(l net.Listener) error { return s.serve(l, true) }

func (s *Server) serve(l net.Listener, byLeader bool) error {
	if !s.join(l) {
		return errors.Join(ErrStopped, l.Close())
	}
	defer s.leave(l)
	s.begun.Do(s.begin)
	for pause := time.Duration(0); ; {
		nc, err := l.Accept()
		switch {
		case err == nil:
			pause = 0
			s.welcome(nc, byLeader)
		case s.stopping.Load():
			return ErrStopped
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("accept client: %w", err)
		default: // out of file descriptors, or the client disconnected before it was accepted
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			s.opt.Log.Error(err, "could not accept a client connection (too many open files?); retrying", "retryIn", pause.String())
			s.sleep(pause)
		}
	}
}

// begin starts the goroutines that all listeners share.
func (s *Server) begin() {
	s.running.Go(func() { s.patrol(s.blockCtx) })
	n := max(1, runtime.GOMAXPROCS(0)/2)
	for range n {
		if l := newLoop(s, n == 1); l != nil {
			s.loops = append(s.loops, l)
		}
	}
}

func (s *Server) join(l net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping.Load() {
		return false
	}
	s.listeners[l] = struct{}{}
	s.running.Add(1)
	return true
}

func (s *Server) leave(l net.Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.listeners, l)
	s.running.Done()
}

// SetCommitTimeout changes the commit timeout (see Options.CommitTimeout), as CONFIG SET commit-timeout-ms does.
func (s *Server) SetCommitTimeout(d time.Duration) { s.commitTimeout.Store(int64(d)) }

// uptime is the age of the server in milliseconds, by the monotonic clock.
func (s *Server) uptime() int64 { return s.sinceStart(s.opt.Now()) }

func (s *Server) sinceStart(t time.Time) int64 { return t.Sub(s.started).Milliseconds() }

func (s *Server) sleep(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-s.blockCtx.Done():
	}
}

// welcome starts serving nc, or refuses it.
func (s *Server) welcome(nc net.Conn, byLeader bool) {
	c := &conn{srv: s, nc: nc, created: s.opt.Now(), parser: newParser(s.limits), warm: warmEnough}
	c.byLeader = s.forwards() && byLeader
	c.bound = c.byLeader || s.forwards() && s.backend.Sequencer() != nil
	c.onReady = c.ready
	c.lock()
	c.touch()
	if sc, ok := nc.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			c.raw, c.onSend = raw, c.sendNow
		}
	}
	if c.raw != nil && len(s.loops) > 0 {
		c.onTake = func(fd uintptr) { c.taken = c.ready(fd) }
		c.loop = s.loops[s.nextLoop.Add(1)%uint32(len(s.loops))]
	}
	if tcp, ok := nc.(*net.TCPConn); ok {
		s.tune(tcp)
	}
	if !s.clients.add(c, s.maxClients.Load()) {
		s.stats.refused.Add(1)
		_ = nc.SetWriteDeadline(s.opt.Now().Add(time.Second)) // never reached: the reply fits the empty socket buffer
		_, _ = nc.Write([]byte("-" + errMaxClients + "\r\n")) // a courtesy
		_ = nc.Close()
		return
	}
	s.stats.accepted.Add(1)
	s.running.Add(1)
	if c.loop == nil || !c.loop.adopt(c) {
		go c.serve()
	}
	if s.stopping.Load() { // Shutdown may have gone through the list before c was added
		c.interrupt()
	}
}

// tune configures TCP keepalive. It ignores errors: they mean that the client is gone, which the first read reports.
func (s *Server) tune(tcp *net.TCPConn) {
	period := time.Duration(s.keepAlive.Load())
	if period <= 0 {
		_ = tcp.SetKeepAlive(false)
		return
	}
	// As in Redis, probes start after one period without traffic, and three of them unanswered within another period end the connection.
	_ = tcp.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: period, Interval: max(period/3, time.Second), Count: 3})
}

// Cut ends every connection because this member no longer leads, or because what it has shown to clients was lost. Idle connections are closed at
// once. The others first answer what is in progress, with an unknown outcome where it cannot be learned.
func (s *Server) Cut(reason string) {
	all := s.clients.all()
	for _, c := range all {
		c.cut.Store(true)
		c.interrupt()
	}
	s.opt.Log.Info("cutting client connections", "reason", reason, "clients", len(all))
}

// Shutdown stops accepting connections, lets every connection finish what has arrived, sends the replies, and closes them. If ctx
// ends first, it closes the remaining connections and returns an error that wraps ctx's cause.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.stopping.Store(true)
	for l := range s.listeners {
		_ = l.Close() // Serve returns even if this fails
	}
	s.mu.Unlock()
	s.unblock()
	for _, c := range s.clients.all() {
		c.interrupt()
	}
	done := make(chan struct{})
	go func() {
		s.running.Wait()
		for _, l := range s.loops {
			l.close()
		}
		close(done)
	}()
	select {
	case <-done:
		s.stop()
		return nil
	case <-ctx.Done():
	}
	s.stop()
	for _, c := range s.clients.all() {
		c.kill("shutdown")
	}
	<-done
	return fmt.Errorf("stop client protocol server gracefully: %w", context.Cause(ctx))
}

const (
	// restAfter is how long a connection has to be silent before its goroutine hands it to the loop.
	restAfter = time.Second
	// At most mostNudged connections are handed over per second, and at most nudgedAtOnce per millisecond, because each handover takes the
	// loop's turn for a moment. Measured: when 6,000 were handed over at once, other connections waited 29 to 79 ms.
	mostNudged   = 1024
	nudgedAtOnce = 32
)

// pace does something for each of conns that makes it change between its goroutine and its loop, a few at a time, unless the server
// stops.
func (s *Server) pace(conns []*conn, do func(*conn)) {
	for some := range slices.Chunk(conns, nudgedAtOnce) {
		for _, c := range some {
			if !s.stopping.Load() {
				do(c)
			}
		}
		s.sleep(time.Millisecond)
	}
}

// patrol runs once a second until ctx ends. It closes clients that do not take their replies or are idle for too long, and connections to
// the leader that are idle, hands silent connections to their loops, and samples the command rate.
func (s *Server) patrol(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := s.uptime()
		idle := time.Duration(s.idleTimeout.Load()).Milliseconds()
		var rest, forLong []*conn
		for _, c := range s.clients.all() {
			if since := c.writing.Load(); since != 0 && now-since > s.opt.StallTimeout.Milliseconds() {
				c.kill("the client does not read its replies")
			}
			if c.busy.Load() || c.queued.Load() {
				continue
			}
			quiet := now - c.active.Load()
			if quiet > time.Duration(s.upstreamRest.Load()).Milliseconds() && len(forLong) < mostNudged && c.dismissible() {
				forLong = append(forLong, c)
			}
			if idle > 0 && quiet > idle {
				c.kill("idle timeout")
			} else if quiet > restAfter.Milliseconds() && c.loop != nil && !c.parked.Load() && len(rest) < mostNudged {
				rest = append(rest, c)
			}
		}
		s.pace(forLong, (*conn).dismiss)
		s.pace(rest, (*conn).nudge)
		s.stats.sample()
	}
}

// registry is the set of connections.
type registry struct {
	mu   sync.Mutex // a leaf lock
	next int64
	byID map[int64]*conn
}

// add assigns an ID to c and adds it. It returns false if there are limit connections already.
func (g *registry) add(c *conn, limit int64) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if int64(len(g.byID)) >= limit {
		return false
	}
	g.next++
	c.id = g.next
	g.byID[c.id] = c
	return true
}

func (g *registry) remove(c *conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.byID, c.id)
}

func (g *registry) get(id int64) *conn {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.byID[id]
}

func (g *registry) count() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.byID)
}

// blocked returns the number of connections that are inside a blocking command (WAIT, WAITAOF, DEBUG SLEEP).
func (g *registry) blocked() int {
	n := 0
	for _, c := range g.all() {
		if c.blocked() {
			n++
		}
	}
	return n
}

// blocked reports whether c is inside a blocking command.
func (c *conn) blocked() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.wake != nil && !c.queued.Load()
}

func (g *registry) all() []*conn {
	g.mu.Lock()
	defer g.mu.Unlock()
	out := make([]*conn, 0, len(g.byID))
	for _, c := range g.byID {
		out = append(out, c)
	}
	return out
}
