package role

import (
	"time"

	"github.com/replicatedstore/replicatedstore/replication/wal"
)

// syncer runs one fsync at a time until it is closed.
type syncer struct {
	requests chan *wal.Log // cap 1
	results  chan error    // cap 1
}

// newSyncer starts a syncer. ended is called after each fsync, when its result is available.
func newSyncer(ended func()) *syncer {
	s := &syncer{requests: make(chan *wal.Log, 1), results: make(chan error, 1)}
	go func() {
		for l := range s.requests {
			_, err := l.Sync()
			s.results <- err
			ended()
		}
	}()
	return s
}

func (s *syncer) close() { close(s.requests) }

// slowSync is how long an fsync may take before it is logged, because clients waited for it. etcd uses the same
// threshold.
const slowSync = time.Second

// syncEnded records that the running fsync of the log has ended; role goroutine.
func (m *Member) syncEnded() {
	m.syncing = false
	took := time.Duration(m.stopwatch() - m.syncBegan.Swap(0))
	m.syncTimes.Observe(took, 1)
	if took >= slowSync {
		m.opt.Log.Info("the disk is slow: an fsync of the log took long and delayed the writes that waited for it",
			"took", took.Round(time.Millisecond).String(), "position", m.Contents().Log.Last().String())
	}
}

// Syncs returns how often the log was fsynced since the process began, and how long that took, from the request until the
// member heard of its end; see latency.Histogram. It may be called by any goroutine.
func (m *Member) Syncs() (count uint64, seconds float64, buckets map[float64]uint64) {
	return m.syncTimes.Cumulative()
}
