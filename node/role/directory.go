package role

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/meta"
	"github.com/replicatedstore/replicatedstore/replication/volume"
	"github.com/replicatedstore/replicatedstore/replication/wal"
)

// open opens everything the member keeps on disk, and makes its Replica.
func (m *Member) open() (err error) {
	m.meta, err = meta.Open(m.volume.View(volume.Vital), m.opt.Dir, meta.Options{
		Store: m.opt.Store, StoreUID: m.opt.StoreUID, Member: m.opt.Member, Init: m.initContents, NewIncarnation: m.opt.NewIncarnation, Logf: m.logf,
	})
	if err != nil {
		return err
	}
	if err := m.openCurrent(); err != nil {
		return errors.Join(err, m.meta.Close())
	}
	return nil
}

func (m *Member) openCurrent() error {
	state := m.meta.State()
	if removed, err := m.meta.RemoveObsolete(); err != nil {
		return err
	} else if len(removed) > 0 {
		m.opt.Log.Info("removed obsolete files", "directories", removed)
	}
	c, err := m.openContents(state.Generation)
	if err != nil {
		return err
	}
	self := replication.Voter{Member: m.opt.Member, Incarnation: state.Incarnation}
	core, err := replication.NewReplica(replication.ReplicaOptions{Store: m.opt.Store, StoreUID: m.opt.StoreUID, Self: self},
		c.Log, m.meta, state.Promises, c.State.Applied().Position, m.opt.Now())
	if err != nil {
		return errors.Join(err, c.close())
	}
	m.core, m.replay = core, c.Log.Last().Position
	m.lookAtVolume(m.opt.Now())
	m.putInForce(c)
	m.opt.Log.Info("opened", "member", m.opt.Member, "incarnation", state.Incarnation, "role", string(core.Role()),
		"promised", state.Promises.Promised, "position", c.Log.Last().String(), "applied", c.State.Applied().Position)
	return nil
}

func (m *Member) putInForce(c *Contents) {
	m.uncut = nil // it was about the previous log
	m.unreadable.Store(0)
	m.contents.Store(c)
	m.works.StartApply(c)
}

// logOptions returns the log's options; they also apply to a log that a seed puts in force.
func (m *Member) logOptions() wal.Options {
	o := m.opt.Segments
	o.Logf, o.Wrote = m.logf, m.wrote
	o.Growth, o.Vital = m.volume.View(volume.Growth), m.volume.View(volume.Vital)
	if o.SegmentBytes == 0 {
		o.SegmentBytes = min(wal.DefaultSegmentBytes, m.part()/2)
	}
	if m.meta != nil { // nil while a new member's first log is created
		o.QuarantineDir = m.meta.QuarantineDir()
	}
	return o
}

// initContents creates the empty log and state of a new member.
func (m *Member) initContents(logDir, stateDir string) error {
	o := m.logOptions()
	o.Create = true
	log, _, err := wal.Open(m.volume.View(volume.Vital), logDir, o)
	if err != nil {
		return err
	}
	state, _, err := m.works.OpenState(m.volume, stateDir, m.part())
	if err != nil {
		return errors.Join(err, log.Close())
	}
	return errors.Join(state.Close(), log.Close())
}

// openContents opens the log and state of generation n.
func (m *Member) openContents(n uint64) (*Contents, error) {
	log, rec, err := wal.Open(m.volume.View(volume.Bulk), m.meta.LogDir(n), m.logOptions())
	if err != nil {
		return nil, err
	}
	if rec.TornBytes > 0 {
		m.opt.Log.Info("cut a torn tail, never acknowledged by this member", "bytes", rec.TornBytes, "copy", rec.TornCopy)
	}
	state, seq, err := m.works.OpenState(m.volume, m.meta.StateDir(n), m.part())
	if err != nil {
		return nil, errors.Join(err, log.Close())
	}
	return &Contents{Log: log, State: state, Seq: seq}, nil
}

func stateError(err error) error { return fmt.Errorf("state machine: %w", err) }

func (c *Contents) close() error { return errors.Join(c.State.Close(), c.Log.Close()) }

func (m *Member) logf(format string, args ...any) { m.opt.Log.Info(fmt.Sprintf(format, args...)) }

// Leave ends the leadership and the connection to a leader.
func (m *Member) Leave() {
	m.endLeadership(errStopped)
	m.connect(target{})
}

// Close flushes and closes the directory. Nothing else may be running, except a last Sync.
func (m *Member) Close() error {
	err := m.settleSync()
	m.flush()
	return errors.Join(err, m.Contents().close(), m.meta.Close())
}

// flushGrace bounds the final flush, which spares the next start from replaying the log.
const flushGrace = 5 * time.Second

func (m *Member) flush() {
	ctx, cancel := context.WithTimeout(context.Background(), flushGrace)
	defer cancel()
	if _, err := m.Contents().State.Flush(ctx); err != nil {
		m.opt.Log.Info("could not flush the state; the next start replays the log instead", "error", err.Error())
	}
}
