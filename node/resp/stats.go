package resp

import (
	"maps"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"
)

// stats are the server's counters. All are safe for concurrent use and cost one atomic addition each.
type stats struct {
	srv *Server

	accepted       atomic.Uint64
	refused        atomic.Uint64 // over maxclients
	received       atomic.Uint64 // bytes
	sent           atomic.Uint64
	hits           atomic.Uint64
	misses         atomic.Uint64
	unknown        atomic.Uint64 // pipelines whose outcome was reported as unknown
	protocolErrors atomic.Uint64
	outputLimit    atomic.Uint64
	forwarded      atomic.Uint64 // commands sent on to the leader
	forwarding     atomic.Int64  // connections that have one to the leader now

	reads  latency // of pipelines that only read
	writes latency // of pipelines with a write: up to the commit

	mu       sync.Mutex // guards below; a leaf
	byCode   map[string]uint64
	failures uint64
	samples  [16]opsSample // ring: commands executed, once a second
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

// maxErrorCodes bounds the codes told apart: a code is the first word of a reply, never of what a client sent.
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

// round notes how long the commands took that are about to be answered.
func (s *stats) round(r *round) {
	if r.executed == 0 {
		return
	}
	h := &s.reads
	if r.wrote {
		h = &s.writes
	}
	now := s.srv.opt.Now()
	h.observe(now.Sub(r.started), r.executed)
	r.started, r.executed, r.wrote = now, 0, false
}

// reset zeroes what CONFIG RESETSTAT zeroes in Redis. The metrics for Prometheus are counted from the same sources; a
// reset looks like a restart to it, which it knows how to handle.
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

// commands is the number of commands executed.
func (s *stats) commands() uint64 {
	n := uint64(0)
	s.srv.table.each(func(c *command) { n += c.calls.Load() })
	return n
}

// sample is called about once a second.
func (s *stats) sample() {
	now := opsSample{s.srv.uptime(), s.commands()}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.newest = (s.newest + 1) % len(s.samples)
	s.samples[s.newest] = now
}

// opsPerSecond is the mean over the last seconds for which there are samples.
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

// latency is a histogram with a bucket for each power of two of microseconds, from 16 µs up to 16 s.
type latency struct {
	buckets [latencyBuckets + 1]atomic.Uint64 // the last: above all bounds
	sum     atomic.Uint64                     // microseconds
}

const (
	latencyFirst   = 4  // 2^4 µs
	latencyBuckets = 21 // 2^4 ... 2^24 µs
)

func (l *latency) observe(d time.Duration, n int) {
	us := uint64(max(0, d.Microseconds()))
	i := 0
	if us > 1<<latencyFirst {
		i = min(bits.Len64(us-1)-latencyFirst, latencyBuckets)
	}
	l.buckets[i].Add(uint64(n))
	l.sum.Add(us * uint64(n))
}

// cumulative returns the histogram in Prometheus's form: counts at or below each bound in seconds.
func (l *latency) cumulative() (count uint64, sum float64, buckets map[float64]uint64) {
	buckets = make(map[float64]uint64, latencyBuckets)
	for i := range latencyBuckets {
		count += l.buckets[i].Load()
		buckets[float64(uint64(1)<<(i+latencyFirst))/1e6] = count
	}
	return count + l.buckets[latencyBuckets].Load(), float64(l.sum.Load()) / 1e6, buckets
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
