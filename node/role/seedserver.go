package role

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"

	"github.com/replicatedstore/replicatedstore/replication/snapshot"
)

const (
	sweepEvery = time.Minute
	// sayWait is how often a member that waits for its turn is told that its source is alive.
	sayWait = 5 * time.Second
	// turnPatience is how long the members whose turn it is may make no progress before the others stop waiting for
	// theirs: the disk may hang here, and another source may work.
	turnPatience = 30 * time.Second
)

var errNoTurn = errors.New("seed: the members being seeded make no progress here")

// seedServer sends snapshots of this member's state machine.
type seedServer struct {
	source *snapshot.Source
	turn   chan struct{} // cap seedsAtOnce
	moved  atomic.Int64  // when a member whose turn it is last made progress, in nanoseconds since began
	began  time.Time
	say    time.Duration // sayWait, turnPatience
	enough time.Duration
	quit   context.Context
	stop   context.CancelFunc
}

// newSeedServer returns a server of a source made with o. Only calls of its throttle count as progress: telling a member
// to wait does not.
func newSeedServer(o snapshot.SourceOptions, log logr.Logger) (_ *seedServer, err error) {
	s := &seedServer{turn: make(chan struct{}, seedsAtOnce), began: time.Now(), say: sayWait, enough: turnPatience}
	limit := o.Throttle
	o.Throttle = func(ctx context.Context, n int) error {
		s.move()
		if limit == nil {
			return nil
		}
		return limit(ctx, n)
	}
	if s.source, err = snapshot.NewSource(o); err != nil {
		return nil, err
	}
	s.quit, s.stop = context.WithCancel(context.Background())
	go s.sweep(log)
	return s, nil
}

// sweep periodically removes checkpoints that nobody needs any more.
func (s *seedServer) sweep(log logr.Logger) {
	t := time.NewTicker(sweepEvery)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			if err := s.source.Sweep(); err != nil {
				log.Error(err, "could not remove old checkpoints; retrying")
			}
		case <-s.quit.Done():
			return
		}
	}
}

func (s *seedServer) close() error {
	s.stop()
	for range seedsAtOnce { // seeds under way end with their connections
		s.turn <- struct{}{}
	}
	return s.source.Close()
}

func (s *seedServer) serve(ctx context.Context, rw io.ReadWriter) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.quit, cancel)()
	if err := s.awaitTurn(ctx, rw); err != nil {
		return err
	}
	defer func() { <-s.turn }()
	s.move()
	return s.source.Serve(ctx, rw)
}

func (s *seedServer) move() { s.moved.Store(int64(time.Since(s.began))) }

func (s *seedServer) awaitTurn(ctx context.Context, rw io.Writer) error {
	t := time.NewTicker(s.say)
	defer t.Stop()
	for {
		select {
		case s.turn <- struct{}{}:
			return nil
		case <-t.C:
			if time.Since(s.began)-time.Duration(s.moved.Load()) > s.enough {
				return errNoTurn
			}
			if err := snapshot.Wait(rw); err != nil {
				return err
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
