package resp

import (
	"maps"
	"sync"
	"sync/atomic"

	"github.com/replicatedstore/replicatedstore/node/latency"
)

// stats holds the server's counters. All are safe for concurrent use. Most cost one atomic addition.
type stats struct {
	srv *Server

	accepted       atomic.Uint64
	refused        atomic.Uint64 // connections over maxclients
	received       atomic.Uint64 // bytes
	sent           atomic.Uint64 // bytes
	hits           atomic.Uint64
	misses         atomic.Uint64
	unknown        atomic.Uint64 // pipelines whose outcome was reported as unknown
	protocolErrors atomic.Uint64
	outputLimit    atomic.Uint64
	forwarded      atomic.Uint64 // commands forwarded to the leader
	forwarding     atomic.Int64  // connections that have an upstream now

	reads  latency.Histogram // latency of pipelines that only read
	writes latency.Histogram // latency of pipelines with a write, including the commit

	mu       sync.Mutex // guards the fields below; a leaf lock
	byCode   map[string]uint64
	failures uint64
	samples  [16]opsSample // ring buffer of the number of commands executed, sampled once a second
	newest   int
}

type opsSample struct {
	at       int64 // Server.uptime
	commands uint64
}

func newStats(s *Server) *stats {
	return &stats{srv: s, byCode: map[string]uint64{}}
}

func (s *stats) lookup(found bool) {
	if found {
		s.hits.Add(1)
	} else {
		s.misses.Add(1)
	}
}

// maxErrorCodes bounds the number of codes that are counted separately. A code is the first word of an error reply, and never comes from
// what a client sent.
const maxErrorCodes = 64

func (s *stats) failure(code string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failures++
	if _, known := s.byCode[code]; known || len(s.byCode) < maxErrorCodes {
		s.byCode[code]++
	}
}

func (s *stats) errorCodes() (map[string]uint64, uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.byCode), s.failures
}

// round records the latency of the commands that are about to be answered, and starts counting anew.
func (s *stats) round(r *round) {
	if r.executed == 0 {
		return
	}
	h := &s.reads
	if r.wrote {
		h = &s.writes
	}
	now := s.srv.opt.Now()
	h.Observe(now.Sub(r.started), r.executed-r.refused)
	r.started, r.executed, r.refused, r.wrote = now, 0, 0, false
}

// reset zeroes what CONFIG RESETSTAT zeroes in Redis. The Prometheus metrics come from the same counters. To Prometheus a reset looks like a
// restart, which it can handle.
func (s *stats) reset() {
	for _, c := range []*atomic.Uint64{&s.accepted, &s.refused, &s.received, &s.sent, &s.hits, &s.misses, &s.unknown,
		&s.protocolErrors, &s.outputLimit, &s.forwarded} {
		c.Store(0)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.byCode)
	s.failures = 0
	s.samples = [16]opsSample{}
}

func (c *command) resetStats() {
	c.calls.Store(0)
	c.micros.Store(0)
	c.rejected.Store(0)
	c.failed.Store(0)
	for _, sub := range c.order {
		sub.resetStats()
	}
}

// commands returns the number of commands executed.
func (s *stats) commands() uint64 {
	n := uint64(0)
	s.srv.table.each(func(c *command) { n += c.calls.Load() })
	return n
}

// sample records the number of commands executed. It is called about once a second.
func (s *stats) sample() {
	now := opsSample{s.srv.uptime(), s.commands()}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.newest = (s.newest + 1) % len(s.samples)
	s.samples[s.newest] = now
}

// opsPerSecond returns the mean command rate between the newest sample and the fourth one before it.
func (s *stats) opsPerSecond() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := s.samples[s.newest]
	first := s.samples[(s.newest+len(s.samples)-4)%len(s.samples)]
	if last.at <= first.at || last.commands < first.commands {
		return 0
	}
	return int64(last.commands-first.commands) * 1000 / (last.at - first.at)
}

// each calls f for every command and subcommand.
func (t *table) each(f func(*command)) {
	for _, c := range t.order {
		f(c)
		for _, sub := range c.order {
			f(sub)
		}
	}
}
