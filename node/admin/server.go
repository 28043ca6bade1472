package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// Limits of the port. A caller that follows the protocol never hits them.
const (
	maxBody    = 64 << 10 // bytes of one order; the largest, with two rules of every possible voter, is below 4 KiB
	maxHeader  = 16 << 10 // bytes
	maxWatches = 32       // concurrent streams

	readTimeout  = 10 * time.Second // for the header, and again for the body, of one request
	writeTimeout = 60 * time.Second // an answer may wait for a handover, which the member bounds to 10 s
	lineTimeout  = 10 * time.Second // one line of a stream; a slower reader asks again
	idleTimeout  = 2 * time.Minute
	closeTimeout = time.Second
)

// Options of a Server.
type Options struct {
	// Registry is what /metrics serves; nil leaves the path out.
	Registry *prometheus.Registry
	// StoreUID and Member identify the owner of this control port; see wire.HeaderStoreUID. "" is not checked.
	StoreUID, Member string
	// Log receives every order and its outcome.
	Log logr.Logger
	// Now is the clock for socket deadlines; nil means the machine's.
	Now func() time.Time
}

// Server is the control port of one member.
type Server struct {
	node    Node
	opt     Options
	log     logr.Logger
	now     func() time.Time
	watches chan struct{} // one token per open stream
}

// New returns a server in front of node.
func New(node Node, opt Options) *Server {
	now := opt.Now
	if now == nil {
		now = time.Now
	}
	return &Server{node: node, opt: opt, log: opt.Log, now: now, watches: make(chan struct{}, maxWatches)}
}

// Serve answers on l until ctx ends. Then it ends the streams, gives other requests a second, closes l, and returns nil.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	return s.serve(ctx, l, "control", s.addressed(s.handler(isLoopback(l.Addr()))))
}

// ServeMetrics is Serve for a port that serves only metrics and takes no orders, so that monitoring needs no access to
// the control port.
func (s *Server) ServeMetrics(ctx context.Context, l net.Listener) error {
	mux := http.NewServeMux()
	mux.Handle("GET "+wire.PathMetrics, s.metrics())
	return s.serve(ctx, l, "metrics", mux)
}

func (s *Server) serve(ctx context.Context, l net.Listener, port string, h http.Handler) error {
	streams, endStreams := context.WithCancel(context.WithoutCancel(ctx))
	defer endStreams()
	srv := &http.Server{
		Handler:           h,
		BaseContext:       func(net.Listener) context.Context { return streams },
		ReadHeaderTimeout: readTimeout,
		// No ReadTimeout: it would cancel the context of a request that is still being answered. decode bounds reading
		// the body.
		WriteTimeout:   writeTimeout,
		IdleTimeout:    idleTimeout,
		MaxHeaderBytes: maxHeader,
		ErrorLog:       slog.NewLogLogger(logr.ToSlogHandler(s.log), slog.LevelDebug),
	}
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		endStreams()
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
		defer cancel()
		if srv.Shutdown(grace) != nil {
			srv.Close()
		}
	})
	err := srv.Serve(l)
	if stop() { // ctx has not ended: the listener itself failed
		return fmt.Errorf("serve the %s port on %s: %w", port, l.Addr(), err)
	}
	<-stopped
	return nil
}

func (s *Server) handler(profiling bool) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+wire.PathStatus, s.status)
	mux.HandleFunc("GET "+wire.PathWatch, s.watch)
	mux.HandleFunc("POST "+wire.PathFence, order(s, "fence", checkFence, s.node.Fence))
	mux.HandleFunc("POST "+wire.PathPromote, order(s, "promote", checkPromote, thenStatus(s, s.node.Promote)))
	mux.HandleFunc("POST "+wire.PathFollow, order(s, "follow", checkFollow, thenStatus(s, s.node.Follow)))
	mux.HandleFunc("POST "+wire.PathConfigure, order(s, "configure", checkConfigure, thenStatus(s, s.node.Configure)))
	mux.HandleFunc("POST "+wire.PathHandover, order(s, "handover", checkHandover, s.node.Handover))
	mux.HandleFunc("GET "+wire.PathLive, probe(s.node.Live))
	mux.HandleFunc("GET "+wire.PathReady, probe(s.node.Ready))
	if s.opt.Registry != nil {
		mux.Handle("GET "+wire.PathMetrics, s.metrics())
	}
	if profiling {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
	return mux
}

func (s *Server) metrics() http.Handler {
	return promhttp.HandlerFor(s.opt.Registry, promhttp.HandlerOpts{
		ErrorLog: slog.NewLogLogger(logr.ToSlogHandler(s.log), slog.LevelWarn), MaxRequestsInFlight: 4,
		ErrorHandling: promhttp.ContinueOnError, // a member that waits for its disk still reports on its disk
	})
}

// addressed rejects requests meant for somebody else: the previous owner of this address, or the member of another store
// of the same name.
func (s *Server) addressed(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		uid, member := r.Header.Get(wire.HeaderStoreUID), r.Header.Get(wire.HeaderMember)
		other := uid != "" && s.opt.StoreUID != "" && uid != s.opt.StoreUID
		if other || member != "" && s.opt.Member != "" && member != s.opt.Member {
			s.log.Info("rejected a request meant for another member", "path", r.URL.Path, "member", member, "storeUID", uid, "remote", r.RemoteAddr)
			writeJSON(w, http.StatusMisdirectedRequest, &wire.Error{
				Reason:  wire.ReasonNotAddressed,
				Message: fmt.Sprintf("this is %s of the store with UID %s, not %s of %s", s.opt.Member, s.opt.StoreUID, member, uid),
			})
			return
		}
		next.ServeHTTP(w, r)
	})
}

// probe returns a handler for kubelet's probes. The body is one sentence either way.
func probe(check func() error) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		if err := check(); err != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprintln(w, err)
			return
		}
		fmt.Fprintln(w, "ok")
	}
}

func isLoopback(a net.Addr) bool {
	tcp, ok := a.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

var errTooManyWatches = errors.New("too many status streams are open")
