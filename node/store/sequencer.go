package store

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/replicatedstore/replicatedstore/replication"
)

var (
	// ErrOutcomeUnknown means that the write may or may not survive; only a later leader can tell. It must never be
	// reported as a failure. All errors of Wait wrap it.
	ErrOutcomeUnknown = errors.New("outcome unknown")
	// ErrNotOpen is why a Sequencer takes no batches before its first Open.
	ErrNotOpen = errors.New("this member does not lead")
	// ErrEntryTooLarge means that one transaction's effects exceed SequencerOptions.MaxEntryBytes. None of them was
	// written.
	ErrEntryTooLarge = errors.New("write is too large")
	// ErrKeyTooLong means that a key to be written is longer than a quarter of SequencerOptions.MaxEntryBytes. Nothing of
	// the transaction was written.
	ErrKeyTooLong = errors.New("key is too long")
)

// SequencerOptions are fixed for a Sequencer's life.
type SequencerOptions struct {
	// Clock returns the wall clock in unix milliseconds. Required. It may jump; leader time never goes back.
	Clock func() int64
	// Monotonic returns the time since some fixed moment, by a clock that does not jump. Leader time follows it while
	// leader time is ahead of Clock. Default: the process's monotonic clock.
	Monotonic func() time.Duration
	// MaxBytes and MaxEntries bound what is queued or in flight; above either, Run blocks. MaxBytes may be exceeded by
	// one batch. Defaults DefaultMaxBytes and 262144.
	MaxBytes   int64
	MaxEntries int
	// MaxEntryBytes bounds one entry. Default and upper bound MaxEntryBytes.
	MaxEntryBytes int
	// OnQueued, unless nil, is called without a lock after a batch has queued entries, by the caller of Run or Offer. It
	// must not wait for whoever calls Applied. Unless patient, it must not wait for anything, not even the disk. Offer's
	// caller is patient; Run's is not.
	OnQueued func(patient bool)
	// WaitTimeout is after how long Wait returns ErrOutcomeUnknown if its context has no deadline. Default 10 s.
	WaitTimeout time.Duration
}

// DefaultMaxBytes is SequencerOptions.MaxBytes when it is 0.
const DefaultMaxBytes = 64 << 20

// MaxEntryBytes is the largest entry that fits a record, as its only entry.
const MaxEntryBytes = replication.MaxPayloadBytes - binary.MaxVarintLen32

func (o SequencerOptions) withDefaults() SequencerOptions {
	if o.Monotonic == nil {
		began := time.Now()
		o.Monotonic = func() time.Duration { return time.Since(began) }
	}
	o.MaxBytes = cmp.Or(o.MaxBytes, DefaultMaxBytes)
	o.MaxEntries = cmp.Or(o.MaxEntries, 1<<18)
	if o.MaxEntryBytes == 0 || o.MaxEntryBytes > MaxEntryBytes {
		o.MaxEntryBytes = MaxEntryBytes
	}
	o.WaitTimeout = cmp.Or(o.WaitTimeout, 10*time.Second)
	return o
}

// Ticket identifies the tail of one leadership's log at some moment, which is what a reply depends on. A position alone
// would not do: after a change of leaders, the same position may name another write.
type Ticket struct {
	Epoch    replication.Epoch
	Position replication.Position
	// Wrote says that the batch added entries of its own. Their commit proves that this member led when the batch was
	// evaluated; the commit of entries that were there before proves nothing.
	Wrote bool
}

// Sequencer orders a leader's writes. It turns commands into entries one after another, and evaluates each against
// everything before it, although most of that is not committed yet.
//
// Outline of a write:
//
//	connection     Run: evaluate under mu against overlay + applied state; each Tx becomes one entry at the tail
//	role goroutine Pending -> Take: the queued entries become one record; append, ship, fsync, commit
//	role goroutine Machine.Apply, then Applied: wakes the waiters, forgets what is applied
//	connection     Wait(ticket) returns; only now is anything answered
//
// Why one lock instead of one goroutine: handing each pipeline to a goroutine and back costs two scheduler round trips,
// more than most commands take to evaluate. The lock is held for the evaluation only, never for the log, the network or
// (with Prefetch) the disk.
//
// Invariants, under mu:
//  1. Entries base..tail are in flight; those from taken on have not been taken. flight holds them in order.
//  2. For every key that base..tail touch, overlay holds what the last of those entries made of it.
//  3. Applied state includes at least everything below base. The overlay hides whatever else it may include.
//  4. Replies computed in Run may depend on any entry up to tail, so each waits for tail.
type Sequencer struct {
	m       *Machine
	opt     SequencerOptions
	pending chan struct{}
	clock   leaderClock

	mu       sync.Mutex // guards all below; never held together with waits.mu
	err      error      // why closed; nil while open
	held     bool
	epoch    replication.Epoch
	base     replication.Position
	taken    replication.Position
	tail     replication.Position
	bytes    int64 // of entries in flight, with entryOverhead each
	flight   flight
	overlay  overlay
	arena    []byte // the entries' bytes; append-only, and left to the garbage collector when full
	batch    Batch
	foreseen *Foresight // of the current batch; nil: none
	entrance entrance

	waits    commitWaits
	watchers atomic.Pointer[[]func()] // see OnSettled

	expiry expireScan // Expire's caller only

	// Role goroutine only, in Take.
	took    [][]byte
	payload []byte
}

// entryOverhead is what an entry in flight costs besides its bytes: a queue slot and an overlay entry.
const entryOverhead = 160

// NewSequencer returns a closed Sequencer on m.
func NewSequencer(m *Machine, o SequencerOptions) *Sequencer {
	s := &Sequencer{m: m, opt: o.withDefaults(), pending: make(chan struct{}, 1), err: ErrNotOpen}
	s.clock.wall, s.clock.mono, s.clock.newest = s.opt.Clock, s.opt.Monotonic, &m.clock
	s.overlay.reset()
	s.batch.tx.s = s
	s.waits.err = ErrNotOpen
	return s
}

// Open starts leading epoch e: the next entry gets position next. Everything below next must be applied already, because
// evaluation starts from applied state; otherwise Open fails. (A leader opens once its own barrier is committed and
// applied.) Open also fails if the Sequencer is open, or if e is not above every epoch that it was opened in. Nothing of
// an earlier leadership survives. Called by the role goroutine.
func (s *Sequencer) Open(e replication.Epoch, next replication.Position) error {
	if at := s.m.Applied().Position; at+1 != next {
		return fmt.Errorf("open sequencer in epoch %d at position %d: applied is %d", e, next, at)
	}
	s.mu.Lock()
	open, last := s.err == nil, s.epoch
	s.mu.Unlock()
	if open || e <= last {
		return fmt.Errorf("open sequencer in epoch %d: epoch %d was opened before (still open: %t)", e, last, open)
	}
	s.waits.open(e, next-1) // before the first ticket can be given out
	s.clock.raise(s.m.AppliedTime())
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err, s.held, s.epoch = nil, false, e
	s.base, s.taken, s.tail = next, next, next-1
	return nil
}

// Close ends the leadership. From now on Run fails with err. Entries that were queued but not taken are dropped. Waiters
// get ErrOutcomeUnknown, except those whose position Applied has covered: they get nil. Closing again replaces err. When
// Close returns, no batch is being evaluated. Called by the role goroutine.
func (s *Sequencer) Close(err error) {
	if err == nil {
		err = ErrNotOpen
	}
	s.mu.Lock()
	s.err, s.held = err, false
	s.overlay.reset()
	s.flight, s.bytes, s.arena = flight{}, 0, nil
	s.taken = s.tail + 1
	s.base = s.taken
	s.entrance.refuseAll(err)
	s.mu.Unlock()
	s.waits.close(err)
	s.tellSettled()
}

// Hold makes new batches wait until Release or Close, and returns the position after which nothing is added until then.
// It serves a handover: once that position is committed everywhere, a successor can take over with no write lost or
// unknown.
func (s *Sequencer) Hold() replication.Position {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = s.err == nil
	return s.tail
}

// Release ends Hold.
func (s *Sequencer) Release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = false
	s.admitNext()
}

// Now returns leader time in unix milliseconds. It follows Clock but never goes back (see leaderClock), and it is never
// before the time at which any finished batch was evaluated. Records must be sealed with it, so that no record is older
// than what was decided for it.
func (s *Sequencer) Now() int64 { return s.clock.now() }

// Prefetch reads a key from disk into memory, so that the following Run finds it there and does not hold mu over a disk
// read, which every other connection would wait for. It costs about as much as one Get per key. Use it for commands that
// read before they write, on keys that may be cold. It drops errors, because Run will meet them again.
//
// It returns the length of the value in bytes, and whether the key was in memory already.
func (s *Sequencer) Prefetch(key []byte) (size int, resident bool) {
	if !s.m.gate.enter() {
		return 0, false
	}
	defer s.m.gate.leave()
	measure := func(v Value) { size = len(v.Data) }
	_, known, err := s.m.remembered(key, measure)
	if !known && err == nil {
		_, _ = s.m.fetch(key, measure)
	}
	return size, known
}

// Resident reports whether Prefetch of key would find it in memory, so that Run needs no Prefetch. It does not wait.
func (s *Sequencer) Resident(key []byte) (size int, resident bool) {
	if !s.m.gate.enter() {
		return 0, false
	}
	defer s.m.gate.leave()
	_, known, _ := s.m.remembered(key, func(v Value) { size = len(v.Data) })
	return size, known
}

// Leads reports whether the leadership that issued t is still in office.
func (s *Sequencer) Leads(t Ticket) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err == nil && s.epoch == t.Epoch
}

// Settled returns what Wait would return, if Wait would not block.
func (s *Sequencer) Settled(t Ticket) (done bool, err error) {
	s.waits.mu.Lock()
	defer s.waits.mu.Unlock()
	return s.waits.settled(t)
}

// OnSettled registers f to be called whenever Settled may have changed, by the goroutine that has changed it. f must not
// block.
func (s *Sequencer) OnSettled(f func()) {
	for {
		before := s.watchers.Load()
		var all []func()
		if before != nil {
			all = slices.Clone(*before)
		}
		all = append(all, f)
		if s.watchers.CompareAndSwap(before, &all) {
			return
		}
	}
}

func (s *Sequencer) tellSettled() {
	if all := s.watchers.Load(); all != nil {
		for _, f := range *all {
			f()
		}
	}
}

// Wait returns nil once everything t names is committed and applied. Every error wraps ErrOutcomeUnknown: the leader was
// deposed, ctx ended, or ctx has no deadline and WaitTimeout passed.
func (s *Sequencer) Wait(ctx context.Context, t Ticket) error {
	return s.waits.wait(ctx, t, s.opt.WaitTimeout)
}
