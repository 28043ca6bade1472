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
	// ErrOutcomeUnknown: the write may or may not survive; only the leader of a later time can tell. It is never to be
	// reported as a failure. All errors of Wait wrap it.
	ErrOutcomeUnknown = errors.New("outcome unknown")
	// ErrNotOpen is why a Sequencer takes no batches before its first Open.
	ErrNotOpen = errors.New("this member does not lead")
	// ErrEntryTooLarge: one transaction's effects exceed SequencerOptions.MaxEntryBytes. Nothing of it was written.
	ErrEntryTooLarge = errors.New("write is too large")
	// ErrKeyTooLong: a key to be written is longer than a quarter of SequencerOptions.MaxEntryBytes. Nothing of it was written.
	ErrKeyTooLong = errors.New("key is too long")
)

// SequencerOptions are fixed for a Sequencer's life.
type SequencerOptions struct {
	// Clock returns the wall clock in unix milliseconds. Required. It may jump; leader time does not go back.
	Clock func() int64
	// Monotonic returns the time since some moment, by a clock that does not jump. Leader time goes by it while it is ahead of Clock.
	// Default: the process's.
	Monotonic func() time.Duration
	// MaxBytes and MaxEntries bound what is queued or in flight; above either, Run blocks. MaxBytes may be exceeded by
	// one batch. Defaults DefaultMaxBytes and 262144.
	MaxBytes   int64
	MaxEntries int
	// MaxEntryBytes bounds one entry. Default and upper bound MaxEntryBytes.
	MaxEntryBytes int
	// OnQueued is called after a batch that has queued entries, without a lock, by whoever called Run or Offer; nil: nobody is. It must
	// not wait for whoever calls Applied, and for nobody, the disk neither, unless patient: Offer's caller is, Run's is not.
	OnQueued func(patient bool)
	// WaitTimeout is after how long Wait says ErrOutcomeUnknown, where its context has no deadline. Default 10 s.
	WaitTimeout time.Duration
}

// DefaultMaxBytes is SequencerOptions.MaxBytes when it is 0.
const DefaultMaxBytes = 64 << 20

// MaxEntryBytes is what fits a record as its only entry.
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

// Ticket names the tail of one leadership's log at some moment: what a reply depends on. A position alone would not do:
// after a change of leaders the same position may name another write.
type Ticket struct {
	Epoch    replication.Epoch
	Position replication.Position
	// Wrote: the batch added entries of its own. Their commit proves that this member led when the batch was evaluated; that
	// of entries which were there before proves nothing.
	Wrote bool
}

// Sequencer orders the writes of a leader: it turns commands into entries, one after another, each evaluated against
// everything before it although most of that is not committed yet.
//
// Outline of a write:
//
//	connection     Run: evaluate under mu against overlay + applied state; each Tx becomes one entry at the tail
//	role goroutine Pending -> Take: the queued entries become one record; append, ship, fsync, commit
//	role goroutine Machine.Apply, then Applied: wakes the waiters, forgets what is applied
//	connection     Wait(ticket) returns; only now is anything answered
//
// Why one lock and not one goroutine: handing each pipeline to a goroutine and back costs two scheduler round trips, more
// than most commands take to evaluate. The lock is held for the evaluation only, never for the log, the network or (with
// Prefetch) the disk.
//
// Invariants, under mu:
//  1. Entries base..tail are in flight; those from taken on have not been taken. flight holds them in order.
//  2. overlay holds, for every key touched by base..tail, what the last of them made of it.
//  3. Applied state holds at least everything below base, and the overlay hides what it may hold above.
//  4. Replies computed in Run may depend on any entry up to tail, so each waits for tail.
type Sequencer struct {
	m       *Machine
	opt     SequencerOptions
	pending chan struct{}
	clock   leaderClock

	mu       sync.Mutex // guards all below; waits.mu is never held together with it
	err      error      // why closed; nil while open
	held     bool
	epoch    replication.Epoch
	base     replication.Position
	taken    replication.Position
	tail     replication.Position
	bytes    int64 // of entries in flight, with entryOverhead each
	flight   flight
	overlay  overlay
	arena    []byte // the entries' bytes; appended to, never changed, left to the garbage collector when full
	batch    Batch
	foreseen *Foresight // of the batch; nil: none
	entrance entrance

	waits    commitWaits
	watchers atomic.Pointer[[]func()] // see OnSettled

	expiry expireScan // Expire's caller only

	// Role goroutine only, in Take.
	took    [][]byte
	payload []byte
}

// entryOverhead is what an entry in flight costs besides its bytes: queue slot and overlay entry.
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

// Open starts leading epoch e: the next entry gets position next. Everything below next must be applied already (a leader
// opens once its own barrier is committed and applied), because evaluation starts from applied state; else Open fails. It
// fails too when it is open or e is not above every epoch it was opened in. Nothing of an earlier leadership survives.
// Called by the role goroutine.
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

// Close ends the leadership: Run fails with err from now on, what was queued and not taken is dropped, and waiters get
// ErrOutcomeUnknown, except those whose position Applied has covered: they get nil. Closing twice replaces err. When Close
// returns, no batch is being evaluated. Called by the role goroutine.
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

// Hold makes new batches wait until Release or Close, and returns the position after which nothing comes until then. For
// handing over: once that position is committed everywhere, a successor can take over with nothing lost or unknown.
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

// Now returns leader time in unix milliseconds: it follows Clock but never goes back (see leaderClock), and is at or above the time that any
// finished batch was evaluated at. Records are to be sealed with it, so that a record is never older than what was decided
// for it.
func (s *Sequencer) Now() int64 { return s.clock.now() }

// Prefetch reads a key from disk into memory, so that the Run that follows finds them in memory: mu is then not
// held over a disk read, which every other connection would wait for. It costs about as much as one Get a key; use it for
// commands that read before they write, on keys that may be cold. Errors are left to Run, which will meet them again.
//
// It tells how long the value is, in bytes, and whether it was there already.
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

// Resident reports whether Prefetch of key would find it in memory, so that Run may do without; it does not wait.
func (s *Sequencer) Resident(key []byte) (size int, resident bool) {
	if !s.m.gate.enter() {
		return 0, false
	}
	defer s.m.gate.leave()
	_, known, _ := s.m.remembered(key, func(v Value) { size = len(v.Data) })
	return size, known
}

// Leads reports whether the leadership that gave t still goes on.
func (s *Sequencer) Leads(t Ticket) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err == nil && s.epoch == t.Epoch
}

// Settled returns what Wait would, if that would not wait.
func (s *Sequencer) Settled(t Ticket) (done bool, err error) {
	s.waits.mu.Lock()
	defer s.waits.mu.Unlock()
	return s.waits.settled(t)
}

// OnSettled has f called whenever Settled may have changed, by the goroutine that has changed it: f must not wait for anybody.
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
// deposed, ctx ended, or it has no deadline and WaitTimeout passed.
func (s *Sequencer) Wait(ctx context.Context, t Ticket) error {
	return s.waits.wait(ctx, t, s.opt.WaitTimeout)
}
