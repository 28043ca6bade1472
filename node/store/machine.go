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

// ErrClosed is returned by every use of a Machine, or of a View of it, after Close.
var ErrClosed = errors.New("state machine is closed")

// applied is the content of the system key: which prefix of the log the state is, and when the last record of that prefix
// was sealed.
type applied struct {
	mark      replication.Mark
	unixMilli int64
}

// Machine is the applied state of one member.
//
// Apply, Flush and Checkpoint may run concurrently with each other and with any number of readers. Only one goroutine at
// a time may call Apply.
//
// Guarantees:
//  1. The state is exactly the prefix of the log that Applied names, also after a crash and in a checkpoint.
//  2. Readers never see part of a record.
//  3. Applied never decreases while the Machine is open.
type Machine struct {
	db  *pebble.DB
	fs  vfs.FS
	dir string
	opt Options

	gate gate // held during every use of db

	applyMu sync.Mutex // one Apply at a time; taken before all others
	queueMu sync.Mutex // held from admit until what was admitted is queued for flushing
	applied atomic.Pointer[applied]
	ceiling atomic.Pointer[applied]
	clock   atomic.Int64 // leader time: the highest at which any batch was evaluated here
	durable atomic.Pointer[applied]

	recent   *recent
	pourMu   sync.Mutex              // held while pouring; taken before recent.mu and queueMu
	poured   atomic.Pointer[applied] // what the database holds; changed under pourMu
	settling settling
	filled   chan struct{} // cap 1: signals that a generation of recent is full
	// The constants of the same names, except in tests.
	settleWithin  time.Duration
	mostSublevels int32
	pieceTime     time.Duration
	// pouringEnded is closed once pourLoop has ended.
	pouringEnded chan struct{}

	rows      *rows
	foresight purse

	closing context.Context // ends when Close or GiveUp begins, with cause ErrClosed
	stop    context.CancelCauseFunc

	queueBytes uint64        // see admit
	drained    chan struct{} // cap 1: signals the end of a flush or compaction to admit
	flushed    chan struct{} // cap 1: signals the end of a flush to durableLoop
	done       chan struct{} // closed once durableLoop has ended

	reclaiming *flushing // the flush that Reclaim last began; only for Reclaim's caller

	count    counter
	estimate estimator
}

// Open opens the state in dir. If dir is empty or absent, it creates the state, and Applied is the zero Mark. Whatever
// was only in memory at the last crash, or at a Close without a Flush, is gone. Applied names what is there: replay the
// log after it.
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

// openDB opens the database in dir and reads which prefix of the log it holds.
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

// GiveUp makes everyone who waits inside the Machine return ErrClosed, as Close does. Nothing is applied any more, and
// Close must follow.
func (m *Machine) GiveUp() {
	m.recent.fail(ErrClosed) // for those that wait for room
	m.stop(ErrClosed)        // for those that wait for a flush
}

// Close closes the database once the readers inside it have left; later ones get ErrClosed. It does not flush, so call
// Flush first for a fast restart.
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

// AppliedTime returns the latest time at which any applied record was sealed, by the leader's clock in unix milliseconds;
// 0 before the first record. It never decreases, although record times may: the barrier of a leader that had not applied
// its whole log may have an earlier time than the records before it.
func (m *Machine) AppliedTime() int64 { return m.applied.Load().unixMilli }

// ReadTime returns the time, in unix milliseconds, by which a follower judges expiry. That is AppliedTime, except that
// keys which were read here as expired while this member led stay expired.
func (m *Machine) ReadTime() int64 { return max(m.AppliedTime(), m.clock.Load()) }

// Ceiling returns a mark at or above everything that a read which ended before this call can have seen. That is Applied
// or, while a batch is being committed, the end of that batch. It is the mark to put into a session token after a read,
// because the read may have seen the batch a moment before Applied says so.
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

// readApplied reads the applied mark through an iterator with options o. A state without a mark must be empty, because
// keys without a mark are not a prefix of any log.
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
