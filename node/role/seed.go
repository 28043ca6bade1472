package role

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/snapshot"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// SeedOptions are those of the snapshots that this member sends.
func (m *Member) SeedOptions() snapshot.SourceOptions {
	return snapshot.SourceOptions{
		FS: m.opt.FS, Dir: m.opt.FS.PathJoin(m.opt.Dir, "checkpoints"), Store: m.opt.Store, Now: m.opt.Now, Logf: m.logf,
		Checkpoint: func(dir string) (replication.Mark, replication.EpochTable, error) {
			c := m.Contents()
			mark, err := c.State.Checkpoint(dir)
			return mark, c.Log.Epochs().Truncate(mark.Position), err
		},
		Pin: func(from replication.Position) func() { return m.Contents().Log.Pin(from) },
	}
}

// receiveSeed gets a snapshot over the session's connection and puts it in force.
func (s *Session) receiveSeed(ctx context.Context, rw io.ReadWriter) error {
	m, from := s.m, s.link.target.leader
	defer m.works.Post(func() {
		if m.session == s || m.session == nil {
			m.seeding = nil
		}
	})
	m.opt.Log.Info("being seeded", "leader", from)
	manifest, err := snapshot.Receive(ctx, rw, snapshot.ReceiveOptions{
		FS: m.opt.FS, Meta: m.meta, Store: m.opt.Store, From: from, Now: m.opt.Now,
		Progress: func(p snapshot.Progress) { m.works.Post(func() { m.seeding = seedingOf(from, p) }) },
	})
	var room *snapshot.NoRoomError
	if errors.As(err, &room) {
		return errors.Join(err, m.makeRoom(ctx, s, room))
	}
	if err != nil {
		return err
	}
	var installErr error
	if err := s.own(ctx, func() { installErr = m.install(manifest) }); err != nil {
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
func (m *Member) install(manifest snapshot.Manifest) error {
	if last := m.core.Log().Last(); !m.core.Promises().NeedSeed && manifest.Mark.Compare(last) < 0 {
		return fmt.Errorf("the snapshot ends in %v, this member's log in %v", manifest.Mark, last)
	}
	err := m.replace(func() error {
		err := snapshot.Install(m.opt.FS, m.meta, manifest, m.logOptions())
		if errors.Is(err, snapshot.ErrLeftover) {
			m.opt.Log.Error(err, "install snapshot") // the next start removes it
			return nil
		}
		return err
	})
	if err == nil {
		err = m.core.Seeded(m.Contents().Log, manifest.Mark)
	}
	if m.final(err) != nil {
		return err
	}
	m.problem = ""
	m.opt.Log.Info("seeded", "position", manifest.Mark.String(), "bytes", manifest.Total)
	return nil
}

// makeRoom gives up a state that is of no use any more, where that makes room for the snapshot. A state that still counts
// is kept: then a person must enlarge the volume.
func (m *Member) makeRoom(ctx context.Context, s *Session, room *snapshot.NoRoomError) (err error) {
	ownErr := s.own(ctx, func() {
		m.problem = room.Error()
		if !m.core.Promises().NeedSeed || room.Need > room.Free+room.Held || room.Held == 0 {
			return
		}
		m.opt.Log.Info("giving up the old state to make room for the snapshot", "bytes", room.Held)
		if err = m.replace(m.meta.StartOver); err == nil {
			err = m.core.Emptied(m.Contents().Log)
		}
		if m.final(err) == nil {
			_, err = m.meta.RemoveObsolete()
		}
	})
	return errors.Join(ownErr, err)
}

// replace closes the generation in force, lets change put another in force, and opens that; role goroutine. An error is
// final.
func (m *Member) replace(change func() error) error {
	m.works.StopApply()
	if err := m.settleSync(); err != nil {
		return err
	}
	old := m.Contents()
	if err := old.close(); err != nil {
		return fmt.Errorf("close the state to be replaced: %w", err)
	}
	if err := change(); err != nil {
		return err
	}
	c, err := m.openContents(m.meta.State().Generation)
	if err != nil {
		return err
	}
	m.putInForce(c)
	return nil
}
