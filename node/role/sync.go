package role

import (
	"github.com/replicatedstore/replicatedstore/replication/wal"
)

// syncer runs one fsync at a time beside the role goroutine, until it is closed.
type syncer struct {
	requests chan *wal.Log // cap 1
	results  chan error    // cap 1
}

func newSyncer() *syncer {
	s := &syncer{requests: make(chan *wal.Log, 1), results: make(chan error, 1)}
	go func() {
		for l := range s.requests {
			_, err := l.Sync()
			s.results <- err
		}
	}()
	return s
}

func (s *syncer) close() { close(s.requests) }
