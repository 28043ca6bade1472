package store

import (
	"context"

	"github.com/replicatedstore/replicatedstore/replication"
)

// Batch holds the commands of one Run: reads and writes that see each other and everything in flight. It must not be used
// after Run's function has returned.
type Batch struct {
	tx      Tx
	before  replication.Position // the tail when the batch began
	bytes   int64                // bytes in flight when the batch began
	open    bool                 // between Begin and End or Discard
	scratch []byte               // copies of values read from applied state; reused
	read    int64                // see Read
}

// maxScratch is how much scratch memory is kept between batches.
const maxScratch = 1 << 20

// Run evaluates a batch. It calls f with the sequencer locked, so f must only compute, on data that is in memory (see
// Prefetch), and must not send its replies. Each transaction of f that has effects becomes one entry.
//
// The ticket names the tail at f's return. Every reply of the batch depends on everything up to there, even if the batch
// wrote nothing: a SETNX that found a key may have found it in an entry that is not committed yet. So every reply must be
// held back until Wait(ticket) has returned nil.
//
// Run blocks while too much is in flight, and between Hold and Release, until ctx ends. If the sequencer is closed, Run
// fails with the error that Close was given, without calling f. A panic of f passes through; its open transaction is
// discarded.
func (s *Sequencer) Run(ctx context.Context, f func(*Batch)) (Ticket, error) {
	t, err := s.Evaluate(ctx, f)
	if t.Wrote && s.opt.OnQueued != nil {
		s.opt.OnQueued(false) // the caller has replies to send in time
	}
	return t, err
}

// Evaluate is Run for callers that evaluate several batches in a row: OnQueued is not called until Offer is.
func (s *Sequencer) Evaluate(ctx context.Context, f func(*Batch)) (Ticket, error) {
	if err := s.enter(ctx); err != nil {
		return Ticket{}, err
	}
	defer s.leave()
	if !s.m.gate.enter() {
		return Ticket{}, ErrClosed
	}
	defer s.m.gate.leave()
	b := &s.batch
	defer b.finish()
	b.tx.now = s.clock.now()
	b.before, b.bytes, b.read = s.tail, s.bytes, 0
	f(b)
	if b.open {
		panic("store: Run's function left a transaction open")
	}
	return Ticket{Epoch: s.epoch, Position: s.tail, Wrote: s.tail > b.before}, nil
}

// Offer calls SequencerOptions.OnQueued for entries queued by Evaluate.
func (s *Sequencer) Offer() {
	if s.opt.OnQueued != nil {
		s.opt.OnQueued(true)
	}
}

func (b *Batch) finish() {
	if b.open {
		b.Discard()
	}
	b.tx.s.foreseen = nil
	b.scratch = b.scratch[:0]
	if cap(b.scratch) > maxScratch {
		b.scratch = nil
	}
}

// Entries returns how many entries the batch has added so far.
func (b *Batch) Entries() uint64 { return uint64(b.tx.s.tail - b.before) }

// Bytes returns how much memory the batch's entries take until they are applied.
func (b *Batch) Bytes() int64 { return b.tx.s.bytes - b.bytes }

// Copies returns how many bytes of copies of read values the batch holds.
func (b *Batch) Copies() int { return len(b.scratch) }

// Forget drops the newest copies until only left bytes remain. Values that Get has returned since then become invalid.
func (b *Batch) Forget(left int) { b.scratch = b.scratch[:min(left, len(b.scratch))] }

// Read returns how many bytes of values the batch has copied, or has read from the database, so far. It tells for how
// long reads have held the lock. Values that are in flight count nothing.
func (b *Batch) Read() int64 { return b.read }

// Now returns the leader time of the batch (unix ms); expiry is judged by it.
func (b *Batch) Now() int64 { return b.tx.now }

// Begin starts a transaction. The Tx belongs to the Batch and is valid until End or Discard. Only one can be open at a
// time.
func (b *Batch) Begin() *Tx {
	if b.open {
		panic("store: transaction begun inside another")
	}
	b.open = true
	b.tx.begin()
	return &b.tx
}

// End makes the transaction's effects, if any, the entry at the new tail. If it returns ErrEntryTooLarge or
// ErrKeyTooLong, none of them happened.
func (b *Batch) End() error {
	if !b.open {
		panic("store: End without Begin")
	}
	tx := &b.tx
	if err := tx.refused; err != nil || len(tx.entry) == entryHeader {
		b.Discard()
		return err
	}
	b.open = false
	tx.s.append(tx.entry)
	tx.end(true)
	return nil
}

// Discard drops the transaction's effects. Values that Get returned within it are invalid afterwards.
func (b *Batch) Discard() {
	if !b.open {
		panic("store: Discard without Begin")
	}
	b.open = false
	b.tx.end(false)
}

// append puts entry at the tail; mu is held.
func (s *Sequencer) append(entry []byte) {
	s.tail++
	s.flight.push(entry)
	s.bytes += int64(len(entry)) + entryOverhead
	s.signalPending()
}

// Use makes later reads of the batch consult f before the disk.
func (b *Batch) Use(f *Foresight) { b.tx.s.foreseen = f }

// Exists reports, outside of a transaction, whether key has a value; see Tx.Exists.
func (b *Batch) Exists(key []byte) (bool, error) {
	_, _, found, err := b.Head(key)
	return found, err
}

// Head reads outside of a transaction; see Tx.Head.
func (b *Batch) Head(key []byte) (v Value, size int, found bool, err error) {
	v, size, found, err = b.tx.s.currentHead(key)
	if err != nil || !found || v.expired(b.tx.now) {
		return Value{}, 0, false, err
	}
	return v, size, true, nil
}

// Get reads outside of a transaction; see Tx.Get.
func (b *Batch) Get(key []byte) (Value, bool, error) {
	v, found, err := b.tx.s.current(key)
	if err != nil || !found || v.expired(b.tx.now) {
		return Value{}, false, err
	}
	return v, true, nil
}

// current returns what key holds at the tail, expired or not. mu and the Machine's gate are held.
func (s *Sequencer) current(key []byte) (v Value, found bool, err error) {
	if p, known := s.overlay.get(key); known {
		return p.value, p.present, nil
	}
	use := func(val Value) {
		scratch := append(s.batch.scratch, val.Data...)
		v = val
		v.Data = tail(scratch, len(val.Data))
		s.batch.scratch = scratch
		s.batch.read += int64(len(val.Data))
	}
	found, known, err := s.m.remembered(key, use)
	if known || err != nil {
		return v, found, err
	}
	if e, known := s.foreseen.find(key, true); known {
		if e.found {
			use(e.value)
		}
		return v, e.found, nil
	}
	found, err = s.m.fetch(key, use)
	return v, found, err
}

// currentHead is current with the length of the value's data, in bytes, in place of the data. It copies nothing.
func (s *Sequencer) currentHead(key []byte) (v Value, size int, found bool, err error) {
	if p, known := s.overlay.get(key); known {
		v, size = p.value, len(p.value.Data)
		v.Data = nil
		return v, size, p.present, nil
	}
	use := func(val Value) {
		v, size = val, len(val.Data)
		v.Data = nil
	}
	found, known, err := s.m.remembered(key, use)
	if known || err != nil {
		return v, size, found, err
	}
	if e, known := s.foreseen.find(key, false); known {
		v = e.value
		v.Data = nil
		return v, e.size, e.found, nil
	}
	found, err = s.m.fetch(key, use)
	s.batch.read += int64(size)
	return v, size, found, err
}
