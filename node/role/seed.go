package role

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/meta"
	"github.com/replicatedstore/replicatedstore/replication/snapshot"
	"github.com/replicatedstore/replicatedstore/replication/volume"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// SeedOptions returns the options for the snapshots that this member sends.
func (m *Member) SeedOptions() snapshot.SourceOptions {
	o := snapshot.SourceOptions{
		FS: m.opt.FS, Dir: m.opt.FS.PathJoin(m.opt.Dir, "checkpoints"), Store: m.opt.Store, Now: m.opt.Now, Logf: m.logf,
		Checkpoint: func(dir string) (replication.Mark, replication.EpochTable, error) {
			c := m.Contents()
			mark, err := c.State.Checkpoint(dir)
			return mark, c.Log.Epochs().Truncate(mark.Position), err
		},
		Pin: func(from replication.Position) func() { return m.Contents().Log.Pin(from) },
		Hold: func() func() {
			c := m.Contents()
			return c.Log.Pin(c.State.Applied().Position + 1)
		},
		Holds: m.continues,
	}
	if m.opt.SeedRate > 0 {
		o.Throttle = snapshot.Limit(m.opt.SeedRate)
	}
	return o
}

// hello returns what this follower says of itself, and why it would take no snapshot; role goroutine.
func (m *Member) hello() (h replication.Hello, noSeed problem) {
	h = m.core.Hello()
	h.Address, h.Direct = m.opt.Peer, m.direct
	if seed := m.meta.State().Seed; seed != nil && seed.ID != "" {
		h.Begun = &replication.Begun{From: seed.From, Mark: seed.Mark}
	}
	noSeed = m.noSeed()
	h.NoSeed = noSeed != problem{}
	return h, noSeed
}

// lack records that the volume had no room for a snapshot of need bytes.
type lack struct {
	need  int64
	until time.Time // a snapshot is asked for again then anyway: it may need less by that time
	text  string
}

// lackFor is how long a member that had no room for a snapshot does not ask for another while no space becomes free. Each
// request makes the source create a checkpoint, or keep the one it has.
const lackFor = time.Minute

// noSeed returns why this member would take no snapshot now; the zero value if it would. Role goroutine.
func (m *Member) noSeed() problem {
	switch seed := m.meta.State().Seed; {
	case m.lack.need > m.space.Free && m.opt.Now().Before(m.lack.until):
		return problem{wire.ProblemNoRoom, m.lack.text}
	case (seed == nil || seed.ID == "") && m.seedWait() > 0:
		return m.budgetSpent()
	default:
		return problem{}
	}
}

// Source returns where the leader directs this follower for a snapshot, and the hello to send there. Call it after a
// Reply that returned StepFetch.
func (s *Session) Source() (address string, h replication.Hello) {
	t, self := s.link.target, s.m.meta.State()
	return s.source.Address, replication.Hello{
		Store: self.Store, StoreUID: s.m.opt.StoreUID, Member: self.Member, Incarnation: self.Incarnation, Epoch: t.epoch, Fetch: true,
	}
}

// dropSeed removes the received part of a snapshot that is no longer needed, because the log reaches back far enough
// after all.
func (m *Member) dropSeed() {
	if seed := m.meta.State().Seed; seed == nil || seed.Dropped {
		return
	}
	err := m.meta.Update(func(s *meta.State) { s.Seed = nil })
	if err == nil {
		_, err = m.meta.RemoveObsolete()
	}
	_ = m.final(err)
}

// sourceTries is how often a source that has sent part of a snapshot may fail before that part is discarded and another
// member is asked for a whole one.
const sourceTries = 3

// SourceFailed makes the leader send the next snapshot itself, unless the source has sent a part and may come back.
func (s *Session) SourceFailed(ctx context.Context, err error) {
	s.m.opt.Log.Info("got no snapshot from a follower; the leader will send it", "source", s.source.Member, "error", err.Error())
	_ = s.own(ctx, func() { // a stale session has nothing to ask for
		s.m.sourceFailures++
		seed := s.m.meta.State().Seed
		s.m.direct = seed == nil || seed.ID == "" || seed.From != s.source.Member || s.m.sourceFailures >= sourceTries
	})
}

// leaderFailed makes the next attempt use another source, if there is one: the leader may also be unable to send a
// snapshot, for example while its volume is full.
func (s *Session) leaderFailed(ctx context.Context) {
	_ = s.own(ctx, func() { s.m.direct = false }) // a stale session has nothing to ask for
}

// Seed receives a snapshot over rw and puts it in force.
func (s *Session) Seed(ctx context.Context, rw io.ReadWriter) error {
	began, arrived := int64(-1), false
	err := s.receiveSeed(ctx, rw, func(done int64) {
		arrived = arrived || began >= 0 && done > began
		began = max(began, done)
	})
	var room *snapshot.NoRoomError
	own := errors.As(err, &room) || errors.Is(err, errBudgetSpent) || errors.Is(err, errRetargeted)
	failed := err != nil && ctx.Err() == nil && !own && (!arrived || errors.Is(err, snapshot.ErrCorrupt))
	switch { // a source that sends at least something is asked for the rest
	case failed && s.source != nil:
		s.SourceFailed(ctx, err)
	case failed:
		s.leaderFailed(ctx)
	}
	s.streamed = err == nil // a snapshot that finds no room is not requested again without a pause
	return err
}

// receiveSeed receives a snapshot over rw and puts it in force. It reports to done how many bytes have arrived.
func (s *Session) receiveSeed(ctx context.Context, rw io.ReadWriter, done func(int64)) error {
	m, from, least := s.m, s.link.target.leader, replication.Position(0)
	if s.source != nil {
		from, least = s.source.Member, s.source.Least
	}
	if err := s.own(ctx, func() {
		if !m.core.Promises().NeedSeed { // install rejects a snapshot that does not reach as far
			least = max(least, m.core.Log().Last().Position)
		}
	}); err != nil {
		return err
	}
	defer m.works.Post(func() {
		if m.session == s || m.session == nil {
			m.seeding = nil
		}
	})
	m.opt.Log.Info("being seeded", "source", from)
	manifest, err := snapshot.Receive(ctx, rw, snapshot.ReceiveOptions{
		FS: m.opt.FS, Meta: m.meta, Store: m.opt.Store, From: from, Least: least, Now: m.opt.Now,
		Fresh: func(snapshot.Manifest) (err error) {
			ownErr := s.own(ctx, func() { err = m.spendSeed() })
			return errors.Join(ownErr, err)
		},
		Progress: func(p snapshot.Progress) {
			done(p.Done)
			m.works.Post(func() { m.seeding = seedingOf(from, p) })
		},
	})
	var room *snapshot.NoRoomError
	if errors.As(err, &room) {
		return errors.Join(err, m.makeRoom(ctx, s, room))
	}
	if errors.Is(err, meta.ErrFailed) {
		m.works.Post(func() { _ = m.fatal(err) })
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
	s := &wire.Seeding{ID: p.ID, From: from, Position: p.Mark.Position, DoneBytes: p.Done, TotalBytes: p.Total, BytesPerSecond: p.Rate, SecondsLeft: -1}
	if p.Left >= 0 {
		s.SecondsLeft = int64(p.Left.Seconds() + 0.5)
	}
	return s
}

// install replaces log and state machine by the received ones; role goroutine. A voter does not give up entries it has
// acknowledged for a snapshot that does not reach as far.
func (m *Member) install(manifest snapshot.Manifest) error {
	if last := m.core.Log().Last(); !m.core.Promises().NeedSeed && manifest.Mark.Compare(last) < 0 {
		m.dropSeed()
		return fmt.Errorf("the snapshot ends at %v, but this member's log at %v", manifest.Mark, last)
	}
	err := m.replace(func() error {
		err := snapshot.Install(m.volume.View(volume.Vital), m.meta, manifest, m.logOptions())
		if errors.Is(err, snapshot.ErrLeftover) {
			m.opt.Log.Error(err, "installed a snapshot but could not remove what it replaced; the next start removes it")
			return nil
		}
		return err
	})
	if err == nil {
		err = m.core.Seeded(m.Contents().Log, manifest.Mark, m.meta.State().Incarnation)
	}
	if m.fatal(err) != nil {
		return err
	}
	m.problem, m.direct, m.sourceFailures = problem{}, false, 0
	m.opt.Log.Info("seeded", "position", manifest.Mark.String(), "bytes", manifest.Total)
	return nil
}

// makeRoom discards a state that is no longer of use, if that makes room for the snapshot. A state that still counts is
// kept; a person must then enlarge the volume.
func (m *Member) makeRoom(ctx context.Context, s *Session, room *snapshot.NoRoomError) (err error) {
	ownErr := s.own(ctx, func() {
		m.problem = problem{wire.ProblemNoRoom, room.Error()}
		seed := m.meta.State().Seed
		dropped := seed != nil && seed.Dropped // the state is already an empty one
		if !m.core.Promises().NeedSeed || dropped || room.Need > room.Free+room.Held {
			m.lack = lack{room.Need, m.opt.Now().Add(lackFor), room.Error()}
			return
		}
		m.opt.Log.Info("discarding the old state to make room for the snapshot", "bytes", room.Held)
		if err = m.replace(m.meta.StartOver); err == nil {
			err = m.core.Emptied(m.Contents().Log)
		}
		if m.fatal(err) == nil {
			_, err = m.meta.RemoveObsolete()
		}
	})
	return errors.Join(ownErr, err)
}

// replace closes the generation in force, calls change to put another in force, and opens that one; role goroutine. An
// error is fatal.
func (m *Member) replace(change func() error) error {
	old := m.Contents()
	old.State.GiveUp() // the applier may be waiting for room
	m.works.StopApply()
	m.stopSending()
	if err := m.settleSync(); err != nil {
		return err
	}
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
