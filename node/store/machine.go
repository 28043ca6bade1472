package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/replicatedstore/replicatedstore/replication"
)

// ErrClosed is returned by every use of a Machine, and of a View of it, after Close.
var ErrClosed = errors.New("state machine is closed")

// applied is what the system key holds: which prefix of the log the state is, and when its last record was sealed.
type applied struct {
	mark      replication.Mark
	unixMilli int64
}

// Machine is the applied state of one member.
//
// Apply, Flush and Checkpoint may run beside each other and beside any number of readers; Apply is called by one
// goroutine at a time.
//
// Guarantees:
//  1. The state is exactly the prefix of the log that Applied names, also after a crash, and in a checkpoint.
//  2. Readers never see half of a record.
//  3. Applied never falls while the Machine is open.
type Machine struct {
	db  *pebble.DB
	fs  vfs.FS
	dir string
	opt Options

	gate gate // held by every use of db

	applyMu sync.Mutex // one Apply at a time; taken before all others
	queueMu sync.Mutex // held from admit until what was admitted waits to be flushed
	applied atomic.Pointer[applied]
	ceiling atomic.Pointer[applied]
	clock   atomic.Int64 // leader time: the highest that any batch here was evaluated at
	durable atomic.Pointer[applied]

	recent   *recent
	pourMu   sync.Mutex              // held while pouring; taken before recent.mu and queueMu
	poured   atomic.Pointer[applied] // what the database holds; changed under pourMu
	settling settling
	filled   chan struct{} // cap 1: a generation of recent is full
	// The constants of these names, except in tests.
	settleWithin  time.Duration
	mostSublevels int32
	pieceTime     time.Duration
	// pouringEnded is closed when pourLoop has ended.
	pouringEnded chan struct{}

	rows      *rows
	foresight purse

	closing context.Context // ends when Close begins, with ErrClosed
	stop    context.CancelCauseFunc

	queueBytes uint64        // see admit
	drained    chan struct{} // cap 1: a flush or a compaction ended; admit looks again
	flushed    chan struct{} // cap 1: a flush ended; durableLoop looks how far it reached
	done       chan struct{} // closed when durableLoop has ended

	reclaiming *flushing // Reclaim's caller only: the flush that it began last

	count    counter
	estimate estimator
}

// Open opens the state in dir, creating it when dir is empty or absent; then Applied is the zero Mark. What was only in memory
// at the last crash or Close without Flush is gone, and Applied names what is there: replay the log after it.
func Open(fs vfs.FS, dir string, o Options) (*Machine, error) {
	m := &Machine{
		fs: fs, dir: dir, opt: o.withDefaults(),
		drained: make(chan struct{}, 1), flushed: make(chan struct{}, 1), done: make(chan struct{}), filled: make(chan struct{}, 1), pouringEnded: make(chan struct{}),
		count: counter{turn: make(chan struct{}, 1)},
	}
	m.recent, m.settleWithin, m.mostSublevels, m.pieceTime = newRecent(recentBytes(m.opt)), settleWithin, mostSublevels, pieceTime
	m.rows = newRows(rowBytes(m.opt.Memory))
	m.foresight.give(foresightBytes(m.opt.Memory))
	m.queueBytes = queueBytes(m.opt)
	m.closing, m.stop = context.WithCancelCause(context.Background())
	m.gate.init()
	p := pebbleOptions(fs, m.opt)
	p.EventListener.FlushEnd = func(pebble.FlushInfo) {
		signal(m.drained)
		signal(m.flushed)
	}
	p.EventListener.CompactionEnd = func(pebble.CompactionInfo) { signal(m.drained) }
	db, a, err := openDB(dir, p)
	if err != nil {
		m.stop(err)
		return nil, err
	}
	m.db = db
	m.applied.Store(&a)
	m.ceiling.Store(&a)
	m.durable.Store(&a)
	m.poured.Store(&a)
	go m.durableLoop()
	go m.pourLoop()
	return m, nil
}

// openDB opens the database in dir and reads what prefix of the log it is.
func openDB(dir string, p *pebble.Options) (*pebble.DB, applied, error) {
	manifest, data, err := checkManifest(p.FS, dir)
	if err == nil && manifest != "" && !p.ReadOnly {
		err = settleManifest(p.FS, dir, manifest, data)
	}
	if err != nil {
		return nil, applied{}, explainOpen(dir, err)
	}
	db, err := pebble.Open(dir, p)
	if err != nil {
		return nil, applied{}, explainOpen(dir, err)
	}
	a, err := readApplied(db, nil)
	if err != nil {
		return nil, applied{}, errors.Join(explainOpen(dir, err), db.Close())
	}
	return db, a, nil
}

// GiveUp has everybody who waits inside it get ErrClosed, as Close does, which must follow: nothing is applied any more.
func (m *Machine) GiveUp() {
	m.recent.fail(ErrClosed) // they may wait for room,
	m.stop(ErrClosed)        // or for a flush
}

// Close closes the database once the readers that are inside it have left; later ones get ErrClosed. It does not flush:
// a fast restart needs a Flush before.
func (m *Machine) Close() error {
	m.GiveUp()
	if !m.gate.close() {
		return ErrClosed
	}
	signal(m.flushed)
	<-m.done
	signal(m.filled)
	<-m.pouringEnded
	if err := m.db.Close(); err != nil {
		return fmt.Errorf("close state %s: %w", m.dir, err)
	}
	return nil
}

// Applied returns the prefix of the log that readers see at least. It costs one atomic load.
func (m *Machine) Applied() replication.Mark { return m.applied.Load().mark }

// AppliedTime returns the latest time at which an applied record was sealed, by the leader's clock (unix ms); 0 before the first
// record. It never falls: the barrier of a leader that had not applied its whole log may be of an earlier time than what is before it.
func (m *Machine) AppliedTime() int64 { return m.applied.Load().unixMilli }

// ReadTime is the time by which a follower judges expiry (unix ms): AppliedTime, but what was read here as expired while this member led
// stays so.
func (m *Machine) ReadTime() int64 { return max(m.AppliedTime(), m.clock.Load()) }

// Ceiling returns a mark at or above everything that a read which ended before this call can have seen. It is Applied or,
// while a batch is being committed, that batch's end: the mark to put into a session token after a read, which may have
// seen the batch a moment before Applied says so.
func (m *Machine) Ceiling() replication.Mark { return m.ceiling.Load().mark }

const (
	stateFormat = 1
	appliedSize = 2 + 8 + 8 + 4 + 8
)

func (a applied) append(dst []byte) []byte {
	le := binary.LittleEndian
	dst = le.AppendUint16(dst, stateFormat)
	dst = le.AppendUint64(dst, uint64(a.mark.Epoch))
	dst = le.AppendUint64(dst, uint64(a.mark.Position))
	dst = le.AppendUint32(dst, uint32(a.mark.Chain))
	return le.AppendUint64(dst, uint64(a.unixMilli))
}

func decodeApplied(b []byte) (applied, error) {
	le := binary.LittleEndian
	if len(b) < 2 {
		return applied{}, fmt.Errorf("applied mark has %d bytes", len(b))
	}
	if f := le.Uint16(b); f != stateFormat {
		return applied{}, fmt.Errorf("state has format %d, this build knows %d", f, stateFormat)
	}
	if len(b) != appliedSize {
		return applied{}, fmt.Errorf("applied mark has %d bytes, want %d", len(b), appliedSize)
	}
	return applied{
		mark: replication.Mark{
			Epoch:    replication.Epoch(le.Uint64(b[2:])),
			Position: replication.Position(le.Uint64(b[10:])),
			Chain:    replication.Chain(le.Uint32(b[18:])),
		},
		unixMilli: int64(le.Uint64(b[22:])),
	}, nil
}

// readApplied reads the applied mark through an iterator with options o. A state without one must be empty: keys without
// a mark are no prefix of any log.
func readApplied(db *pebble.DB, o *pebble.IterOptions) (_ applied, err error) {
	it, err := db.NewIter(o)
	if err != nil {
		return applied{}, fmt.Errorf("read applied mark: %w", err)
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	if it.SeekGE(appliedKey) && string(it.Key()) == string(appliedKey) {
		raw, err := it.ValueAndErr()
		if err != nil {
			return applied{}, fmt.Errorf("read applied mark: %w", err)
		}
		return decodeApplied(raw)
	}
	if it.First() {
		return applied{}, fmt.Errorf("state holds key %x but no applied mark", it.Key())
	}
	if err := it.Error(); err != nil {
		return applied{}, fmt.Errorf("read applied mark: %w", err)
	}
	return applied{}, nil
}
