package role

import (
	"context"
	"errors"
	"fmt"

	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/wal"
)

// keepCut copies the entries that are about to be cut from the log to quarantine. It does so ahead of the cut and without
// the role's turn, because there may be gigabytes of them and the member must answer meanwhile. drop removes the copy if
// the cut did not happen.
func (s *Session) keepCut(ctx context.Context) (drop func(), err error) {
	var cut *replication.Cut
	var log *wal.Log
	release := func() {}
	defer func() { release() }()
	if s.own(ctx, func() {
		if cut = s.m.core.CutDue(); cut != nil {
			log = s.m.Contents().Log
			release = log.Pin(cut.After + 1)
		}
	}) != nil || cut == nil {
		return func() {}, nil // a stale session will not get as far as the cut
	}
	drop = func() {
		if err := log.DropKept(); err != nil {
			s.m.opt.Log.Error(err, "could not remove the copy of what was not cut; the next start removes it")
		}
	}
	return drop, log.Keep(ctx, cut.After, cut.Reason)
}

// finishCut carries out the cut that is due; kept is keepCut's result. Role goroutine.
func (m *Member) finishCut(kept error) error {
	// The applier must neither read what is being cut, nor wait for it afterwards.
	m.works.StopApply()
	defer func() { m.works.StartApply(m.Contents()) }()
	defer m.keepUncut()
	cut, err := uint64(0), kept
	if err == nil {
		cut, err = m.core.FinishCut()
	}
	for _, lost := range []error{wal.ErrDamaged, wal.ErrPruned, wal.ErrBoundary} {
		if m.core.Promises().Uncut && errors.Is(err, lost) && !errors.Is(err, wal.ErrFailed) {
			m.opt.Log.Error(err, "cannot keep what this member's log holds beyond the leader's; a snapshot will replace it")
			return m.core.ForgoCut()
		}
	}
	if errors.Is(err, wal.ErrUnreadable) { // perhaps only for now
		return fmt.Errorf("%w; what only this member holds cannot be kept: if it matters, copy the data directory, then reseed the member", err)
	}
	if cut > 0 {
		m.opt.Log.Info("cut the log; the cut entries are in quarantine", "entries", cut, "position", m.core.Log().Last().String())
		m.quarantine(cut)
	}
	return err
}

// keepUncut keeps entries that are to be cut from being pruned before they are in quarantine: like everything that is
// pruned, they may have been applied. Role goroutine.
func (m *Member) keepUncut() {
	switch due := m.core.CutDue(); {
	case due != nil && m.uncut == nil:
		m.uncut = m.Contents().Log.Pin(due.After + 1)
	case due == nil && m.uncut != nil:
		m.uncut()
		m.uncut = nil
	default:
	}
}
