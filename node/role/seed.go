package role

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/snapshot"
	"github.com/replicatedstore/replicatedstore/replication/wal"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

const (
	// seedsAtOnce bounds how many followers are seeded side by side; others wait their turn.
	seedsAtOnce = 2
	sweepEvery  = time.Minute
)

// seedServer sends snapshots of this member's state machine.
type seedServer struct {
	source *snapshot.Source
	turn   chan struct{} // cap seedsAtOnce
	quit   context.Context
	stop   context.CancelFunc
}

func newSeedServer(r *Runner) (*seedServer, error) {
	source, err := snapshot.NewSource(snapshot.SourceOptions{
		FS: r.opt.FS, Dir: r.opt.FS.PathJoin(r.opt.Dir, "checkpoints"), Store: r.opt.Store, Now: r.opt.Now, Logf: r.logf,
		Checkpoint: func(dir string) (replication.Mark, replication.EpochTable, error) {
			g := r.gen.Load()
			mark, err := g.Machine.Checkpoint(dir)
			return mark, g.Log.Epochs().Truncate(mark.Position), err
		},
		Pin: func(from replication.Position) func() { return r.gen.Load().Log.Pin(from) },
	})
	if err != nil {
		return nil, err
	}
	s := &seedServer{source: source, turn: make(chan struct{}, seedsAtOnce)}
	s.quit, s.stop = context.WithCancel(context.Background())
	go s.sweep(r)
	return s, nil
}

// sweep removes checkpoints that nobody needs any more.
func (s *seedServer) sweep(r *Runner) {
	t := time.NewTicker(sweepEvery)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			if err := s.source.Sweep(); err != nil {
				r.opt.Log.Error(err, "remove old checkpoints")
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
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-s.turn }()
	return s.source.Serve(ctx, rw)
}

// receiveSeed gets a snapshot over the session's connection and puts it in force.
func (r *Runner) receiveSeed(ctx context.Context, s *session, rw io.ReadWriter) error {
	defer r.post(func() {
		if r.session == s || r.session == nil {
			r.seeding = nil
		}
	})
	r.opt.Log.Info("being seeded", "leader", s.d.target.leader)
	m, err := snapshot.Receive(ctx, rw, snapshot.ReceiveOptions{
		FS: r.opt.FS, Meta: r.meta, Store: r.opt.Store, From: s.d.target.leader, Now: r.opt.Now,
		Progress: func(p snapshot.Progress) { r.post(func() { r.seeding = seedingOf(s.d.target.leader, p) }) },
	})
	var room *snapshot.NoRoomError
	if errors.As(err, &room) {
		return errors.Join(err, r.makeRoom(ctx, s, room))
	}
	if err != nil {
		return err
	}
	var installErr error
	if err := s.own(ctx, func() { installErr = r.install(m) }); err != nil {
		return err
	}
	return installErr
}

func seedingOf(from string, p snapshot.Progress) *wire.Seeding {
	s := &wire.Seeding{From: from, Position: p.Mark.Position, DoneBytes: p.Done, TotalBytes: p.Total, BytesPerSecond: p.Rate, SecondsLeft: -1}
	if p.Left >= 0 {
		s.SecondsLeft = int64(p.Left.Seconds() + 0.5)
	}
	return s
}

// install replaces log and state machine by the received ones; role goroutine. What a voter acknowledged is not given up
// for a snapshot that does not reach as far.
func (r *Runner) install(m snapshot.Manifest) error {
	if last := r.core.Log().Last(); !r.core.Promises().NeedSeed && m.Mark.Compare(last) < 0 {
		return fmt.Errorf("the snapshot ends in %v, this member's log in %v", m.Mark, last)
	}
	err := r.replace(func() error {
		err := snapshot.Install(r.opt.FS, r.meta, m, wal.Options{QuarantineDir: r.meta.QuarantineDir(), Logf: r.logf})
		if errors.Is(err, snapshot.ErrLeftover) {
			r.opt.Log.Error(err, "install snapshot") // the next start removes it
			return nil
		}
		return err
	})
	if err == nil {
		err = r.core.Seeded(r.gen.Load().Log, m.Mark)
	}
	if r.final(err) != nil {
		return err
	}
	r.problem = ""
	r.opt.Log.Info("seeded", "position", m.Mark.String(), "bytes", m.Total)
	return nil
}

// makeRoom gives up a state that is of no use any more, where that makes room for the snapshot. A state that still counts
// is kept: then a person must enlarge the volume.
func (r *Runner) makeRoom(ctx context.Context, s *session, room *snapshot.NoRoomError) (err error) {
	ownErr := s.own(ctx, func() {
		r.problem = room.Error()
		if !r.core.Promises().NeedSeed || room.Need > room.Free+room.Held || room.Held == 0 {
			return
		}
		r.opt.Log.Info("giving up the old state to make room for the snapshot", "bytes", room.Held)
		if err = r.replace(r.meta.StartOver); err == nil {
			err = r.core.Emptied(r.gen.Load().Log)
		}
		if r.final(err) == nil {
			_, err = r.meta.RemoveObsolete()
		}
	})
	return errors.Join(ownErr, err)
}

// replace closes the generation in force, lets change put another in force, and opens that; role goroutine. An error is
// final.
func (r *Runner) replace(change func() error) error {
	r.apply.stop()
	if err := r.sync.settle(); err != nil {
		return err
	}
	old := r.gen.Load()
	if err := old.close(); err != nil {
		return fmt.Errorf("close the state to be replaced: %w", err)
	}
	if err := change(); err != nil {
		return err
	}
	g, err := r.openGeneration(r.meta.State().Generation)
	if err != nil {
		return err
	}
	r.gen.Store(g)
	r.apply = startApplier(g, r.fail)
	return nil
}
