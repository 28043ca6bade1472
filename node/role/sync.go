package role

import (
	"github.com/replicatedstore/replicatedstore/replication/wal"
)

// syncer runs one fsync at a time beside the role goroutine, until requests is closed.
type syncer struct {
	requests chan *wal.Log   // cap 1
	results  chan syncResult // cap 1
	busy     bool            // role goroutine only
}

type syncResult struct {
	log *wal.Log
	err error
}

func newSyncer() *syncer {
	s := &syncer{requests: make(chan *wal.Log, 1), results: make(chan syncResult, 1)}
	go func() {
		for l := range s.requests {
			_, err := l.Sync()
			s.results <- syncResult{l, err}
		}
	}()
	return s
}

// kick starts an fsync if one is due and none runs.
func (s *syncer) kick(l *wal.Log) {
	if s.busy || l.Durable() == l.Last() {
		return
	}
	s.busy = true
	s.requests <- l
}

// settle waits until no fsync runs; for the rare moments when the log itself is replaced.
func (s *syncer) settle() error {
	if !s.busy {
		return nil
	}
	res := <-s.results
	s.busy = false
	return res.err
}

func (r *Runner) synced(res syncResult) {
	r.sync.busy = false
	if r.final(res.err) != nil {
		return
	}
	r.core.OnDurable(r.opt.Now())
	if r.session != nil {
		r.session.owe()
	}
}
