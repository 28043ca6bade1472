package role

import (
	"time"

	"github.com/replicatedstore/replicatedstore/replication/wal"
)

// syncer runs one fsync at a time, until it is closed.
type syncer struct {
	requests chan *wal.Log // cap 1
	results  chan error    // cap 1
}

// newSyncer starts one; ended is called after each fsync, when its result is there.
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

// syncEnded counts an fsync of the log that runs no more; role goroutine.
func (m *Member) syncEnded() {
	m.syncing = false
	m.syncs.Add(1)
	m.syncTime.Add(m.stopwatch() - m.syncBegan.Swap(0))
}

// Syncs tells how often the log was fsynced since the process began, and how long that took, from asking for it to hearing of
// its end. Called from anywhere; the two may be of different moments.
func (m *Member) Syncs() (n uint64, took time.Duration) {
	return m.syncs.Load(), time.Duration(m.syncTime.Load())
}
