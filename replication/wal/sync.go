package wal

import (
	"fmt"

	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/durable"
)

// Sync writes everything appended before it began, makes it durable, and returns the durable end. Calls wait for each
// other, and a call whose records were synced by the one before it does nothing. An error is final: after a failed fsync
// nobody knows how much of the file is on disk, and a second fsync would lie about it.
func (l *Log) Sync() (replication.Mark, error) {
	l.mu.Lock()
	want := l.last.Position
	l.mu.Unlock()

	l.syncMu.Lock()
	defer l.syncMu.Unlock()
	l.mu.Lock()
	if l.err != nil {
		defer l.mu.Unlock()
		return l.durable, l.err
	}
	if l.durable.Position >= want && !l.unsettled {
		defer l.mu.Unlock()
		return l.durable, nil
	}
	target, s, off, unsettled := l.last, l.active(), l.active().off, l.unsettled
	var before *segment
	if unsettled {
		before = l.segments[len(l.segments)-2]
	}
	l.mu.Unlock()

	if unsettled {
		if err := l.settle(before, s); err != nil {
			return l.Durable(), l.fail(err)
		}
	}
	if err := l.writeOut(s); err != nil {
		return l.Durable(), err
	}
	if err := s.syncFile.SyncData(); err != nil {
		return l.Durable(), l.fail(fmt.Errorf("fsync segment %s: %w", s.path, err))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return l.durable, l.err
	}
	l.durable = target
	s.synced = off
	if unsettled {
		l.unsettled = false
	}
	return target, nil
}

// settle makes durable, in this order: the segment before s, the name of s, the header of s, and then the note that says
// so. Until the note is there, recovery takes damage before s for a torn tail, so nothing in s may be acknowledged before.
// The caller holds syncMu.
func (l *Log) settle(before, s *segment) error {
	if err := l.writeOut(before); err != nil {
		return err
	}
	if err := before.syncFile.SyncData(); err != nil {
		return fmt.Errorf("fsync segment %s: %w", before.path, err)
	}
	if err := durable.SyncDir(l.fs, l.dir); err != nil {
		return err
	}
	if err := s.syncFile.SyncData(); err != nil {
		return fmt.Errorf("fsync segment %s: %w", s.path, err)
	}
	if err := s.settle(); err != nil {
		return err
	}
	if err := before.closeSyncFile(); err != nil {
		return fmt.Errorf("close segment %s: %w", before.path, err)
	}
	return nil
}
