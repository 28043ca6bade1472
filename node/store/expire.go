package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/cockroachdb/pebble/v2"
)

// dueKey is an entry of the expiry index.
type dueKey struct {
	expireAt int64
	key      []byte
}

// expireScan remembers how far the expiry index has been cleaned. The index is a queue: its front is full of tombstones
// that the database has not compacted away yet, and walking over them again on every call would cost more than the
// deletes. An entry may still appear behind the mark, if its write was applied after the scan had passed its time. So
// every fullScanEvery-th call starts at the front.
type expireScan struct {
	from  []byte // index key to start at
	calls int
}

const fullScanEvery = 64

// start returns where this call begins.
func (e *expireScan) start() []byte {
	if e.calls++; e.calls%fullScanEvery == 1 || e.from == nil {
		e.from, _ = spaceBounds(spaceExpiry)
	}
	return e.from
}

// passed moves the mark past d.
func (e *expireScan) passed(d dueKey) {
	e.from = make([]byte, expiryPrefixSize+len(d.key)+1) // the smallest key after d's: d's and a zero byte
	putExpiryKey(e.from, d.expireAt, d.key)
}

const (
	// expireBatch is how many due keys are checked at a time under the sequencer's lock.
	expireBatch = 128
	// expirePart bounds the bytes of keys that are looked for at a time: MaxEntryBytes divided by it, plus the one key
	// that exceeds that. One entry can remove that many.
	expirePart = 16
)

// Expire removes keys whose expiry is due, at most limit of them, oldest first. It proposes deletes like any other write,
// so all members remove the same keys at the same position. removed counts keys, and stale counts stale index entries
// that it cleaned (see the package comment). more says that others are due. Expire returns once all of it is applied.
//
// Reads never see expired keys anyway; Expire frees their space. Call it on the leader, every 100 ms or so, and again at
// once while it returns more; one caller at a time. Errors are those of Run and Wait, and the database's.
func (s *Sequencer) Expire(ctx context.Context, limit int) (removed, stale int, more bool, err error) {
	due, more, err := s.m.due(s.expiry.start(), s.Now(), limit, s.opt.MaxEntryBytes/expirePart)
	if err != nil {
		return 0, 0, false, err
	}
	var last Ticket
	for part := range slices.Chunk(due, expireBatch) {
		s.prefetchDue(part)
		r, st, ticket, err := s.expireSome(ctx, part)
		if err != nil {
			return removed, stale, more, err
		}
		removed, stale, last = removed+r, stale+st, ticket
		s.expiry.passed(part[len(part)-1])
	}
	if len(due) > 0 {
		err = s.Wait(ctx, last)
	}
	return removed, stale, more, err
}

func (s *Sequencer) prefetchDue(due []dueKey) {
	for _, d := range due {
		s.Prefetch(d.key)
	}
}

// expireSome proposes the removal of due as one entry. The index reflects applied state, so each key is checked again: a
// write in flight may have given it another expiry or none.
func (s *Sequencer) expireSome(ctx context.Context, due []dueKey) (removed, stale int, _ Ticket, err error) {
	ticket, runErr := s.Run(ctx, func(b *Batch) {
		tx := b.Begin()
		for _, d := range due {
			var gone bool
			if gone, err = tx.expire(d); err != nil {
				b.Discard()
				return
			}
			if gone {
				removed++
			} else {
				stale++
			}
		}
		err = b.End()
	})
	if err = errors.Join(runErr, err); err != nil {
		return 0, 0, Ticket{}, fmt.Errorf("expire keys: %w", err)
	}
	return removed, stale, ticket, nil
}

// expire deletes d's key if it still expires at d.expireAt, and otherwise only the index entry.
func (tx *Tx) expire(d dueKey) (removed bool, err error) {
	v, found, err := tx.s.current(d.key)
	if err != nil {
		return false, err
	}
	if !found || v.ExpireAt != d.expireAt {
		tx.dropIndex(d.key, d.expireAt)
		return false, nil
	}
	tx.note(d.key, v)
	tx.remove(d.key)
	return true, nil
}

// due returns up to limit index entries of applied state that are due at now, from the index key lower on. It stops after
// the entry with which the keys reach size bytes. more says that there are others.
func (m *Machine) due(lower []byte, now int64, limit, size int) (out []dueKey, more bool, err error) {
	if !m.gate.enter() {
		return nil, false, ErrClosed
	}
	defer m.gate.leave()
	if m.recent.indexed.Load() {
		if err := m.settle(); err != nil {
			return nil, false, fmt.Errorf("scan expiry index: %w", err)
		}
	}
	upper := expiryBound(min(now, math.MaxInt64-1) + 1)
	it, err := m.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return nil, false, fmt.Errorf("scan expiry index: %w", explain(err))
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for it.First(); it.Valid() && len(out) < limit && size > 0; it.Next() {
		at, key, err := splitExpiryKey(it.Key())
		if err != nil {
			return nil, false, fmt.Errorf("scan expiry index: %w", explain(err))
		}
		out = append(out, dueKey{expireAt: at, key: bytes.Clone(key)})
		size -= len(key)
	}
	return out, it.Valid(), it.Error()
}
