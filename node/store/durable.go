package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/replicatedstore/replicatedstore/replication"
)

// Durable returns the prefix of the log that the state directory holds on disk. A crash loses nothing of it, so the log
// may be pruned up to there. It follows the database's own flushes with a short delay.
func (m *Machine) Durable() replication.Mark { return m.durable.Load().mark }

// Flush writes what is only in memory to disk and returns the mark that is durable then, at least Applied at the time of
// the call. If ctx ends, it returns early and the flush continues.
func (m *Machine) Flush(ctx context.Context) (replication.Mark, error) {
	if !m.gate.enter() {
		return replication.Mark{}, ErrClosed
	}
	defer m.gate.leave()
	want := m.Applied()
	if have := m.Durable(); have.Compare(want) >= 0 {
		return have, nil
	}
	if err := m.flush(ctx); err != nil {
		return replication.Mark{}, fmt.Errorf("flush state at %v: %w", want, err)
	}
	if err := m.refreshDurable(); err != nil {
		return replication.Mark{}, fmt.Errorf("flush state at %v: %w", want, err)
	}
	have := m.Durable()
	if have.Compare(want) < 0 {
		return have, fmt.Errorf("flush state at %v: only %v became durable", want, have)
	}
	return have, nil
}

// bounded returns a copy of ctx that also ends with the Machine.
func (m *Machine) bounded(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(m.closing, func() { cancel(ErrClosed) })
	return ctx, func() { stop(); cancel(nil) }
}

// flush writes out what is applied now.
func (m *Machine) flush(ctx context.Context) error {
	ctx, cancel := m.bounded(ctx)
	defer cancel()
	return m.beginFlush().wait(ctx)
}

// flushing is a flush on its own goroutine, because it may stall as writes do (on a full disk, for as long as it is
// full).
type flushing struct {
	done chan struct{}
	err  error // once done is closed
}

// beginFlush starts to write out what is applied now.
func (m *Machine) beginFlush() *flushing {
	f := &flushing{done: make(chan struct{})}
	go func() {
		defer close(f.done)
		flushed, err := m.startFlush()
		if err != nil {
			f.err = err
			return
		}
		select {
		case <-flushed:
		case <-m.closing.Done():
			f.err = ErrClosed
		}
	}()
	return f
}

// wait returns when the flush is over or ctx ends; in the latter case the flush continues.
func (f *flushing) wait(ctx context.Context) error {
	select {
	case <-f.done:
		return f.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// over reports whether the flush has ended.
func (f *flushing) over() bool {
	select {
	case <-f.done:
		return true
	default:
		return false
	}
}

// startFlush makes the database start a flush of what is applied now.
func (m *Machine) startFlush() (flushed <-chan struct{}, err error) {
	if !m.gate.enter() {
		return nil, ErrClosed
	}
	defer m.gate.leave()
	if err := m.pour(); err != nil {
		return nil, err
	}
	m.queueMu.Lock()
	defer m.queueMu.Unlock()
	if err := m.admit(); err != nil {
		return nil, err
	}
	return m.db.AsyncFlush()
}

// refreshDurable reads the applied mark from the tables on disk, bypassing the memtables. Flushes install memtables in
// order, so the tables always hold a prefix of the batches; commit ensures that readers see all of it.
func (m *Machine) refreshDurable() error {
	a, err := readApplied(m.db, &pebble.IterOptions{OnlyReadGuaranteedDurable: true})
	if err != nil {
		return err
	}
	for {
		old := m.durable.Load()
		if old.mark.Compare(a.mark) >= 0 || m.durable.CompareAndSwap(old, &a) {
			return nil
		}
	}
}

// signal fills a channel of capacity 1.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// durableLoop checks after every flush of the database how far it reached. It is a separate goroutine because Pebble's
// event listeners must not call the database.
func (m *Machine) durableLoop() {
	defer close(m.done)
	for range m.flushed {
		if !m.gate.enter() {
			return
		}
		err := m.refreshDurable()
		m.gate.leave()
		if err != nil {
			m.opt.OnError(err)
		}
	}
}

// Checkpoint makes a copy of the state in dir, which must not exist, on the same file system (tables are hard-linked),
// and returns the mark that the copy holds: at least Applied at the time of the call. Applying continues meanwhile.
//
// A Pebble checkpoint without a WAL omits the memtable, so that is flushed first. And because flushes also happen on
// their own, the mark is read from the copy.
func (m *Machine) Checkpoint(dir string) (_ replication.Mark, err error) {
	if !m.gate.enter() {
		return replication.Mark{}, ErrClosed
	}
	defer m.gate.leave()
	want, err := m.Flush(context.Background())
	if err != nil {
		return replication.Mark{}, fmt.Errorf("checkpoint state to %s: %w", dir, err)
	}
	if err := m.db.Checkpoint(dir); err != nil {
		return replication.Mark{}, fmt.Errorf("checkpoint state to %s: %w", dir, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, m.fs.RemoveAll(dir))
		}
	}()
	have, err := ReadMark(m.fs, dir)
	if err != nil {
		return replication.Mark{}, fmt.Errorf("checkpoint state to %s: %w", dir, err)
	}
	if have.Compare(want) < 0 {
		return replication.Mark{}, fmt.Errorf("checkpoint state to %s: it holds %v, flushed was %v", dir, have, want)
	}
	return have, nil
}

// ReadMark returns the mark of the state in dir, such as that of a received seed, without changing the state.
func ReadMark(fs vfs.FS, dir string) (_ replication.Mark, err error) {
	p := pebbleOptions(fs, Options{Memory: minMemory}.withDefaults())
	p.ReadOnly, p.ErrorIfNotExists = true, true
	db, a, err := openDB(dir, p)
	if err != nil {
		return replication.Mark{}, fmt.Errorf("read the mark of a state: %w", err)
	}
	return a.mark, db.Close()
}
