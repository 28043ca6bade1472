package role

import (
	"context"
	"io"
	"time"

	"github.com/go-logr/logr"

	"github.com/replicatedstore/replicatedstore/replication/snapshot"
)

const (
	sweepEvery = time.Minute
	// sayWait is how often a member whose turn has not come is told that its source is there.
	sayWait = 5 * time.Second
)

// seedServer sends snapshots of this member's state machine.
type seedServer struct {
	source *snapshot.Source
	turn   chan struct{} // cap seedsAtOnce
	quit   context.Context
	stop   context.CancelFunc
}

func newSeedServer(m *Member) (*seedServer, error) {
	source, err := snapshot.NewSource(m.SeedOptions())
	if err != nil {
		return nil, err
	}
	s := &seedServer{source: source, turn: make(chan struct{}, seedsAtOnce)}
	s.quit, s.stop = context.WithCancel(context.Background())
	go s.sweep(m.opt.Log)
	return s, nil
}

// sweep removes checkpoints that nobody needs any more.
func (s *seedServer) sweep(log logr.Logger) {
	t := time.NewTicker(sweepEvery)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			if err := s.source.Sweep(); err != nil {
				log.Error(err, "remove old checkpoints")
			}
		case <-s.quit.Done():
			return
		}
	}
}

func (s *seedServer) close() error {
	s.stop()
	for range seedsAtOnce { // those under way end with their connections
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
	return s.source.Serve(ctx, rw)
}

func (s *seedServer) awaitTurn(ctx context.Context, rw io.Writer) error {
	t := time.NewTicker(sayWait)
	defer t.Stop()
	for {
		select {
		case s.turn <- struct{}{}:
			return nil
		case <-t.C:
			if err := snapshot.Wait(rw); err != nil {
				return err
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
