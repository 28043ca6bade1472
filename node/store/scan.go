package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/cockroachdb/pebble/v2"
)

// Entry is one key as an iteration sees it. Key and Value.Data are valid until the function that received them returns.
type Entry struct {
	Key   []byte
	Value Value
}

// scanBytes is how much one Scan reads before it ends, in bytes of keys and values. Reading a key reads its value: they
// are in the same block.
const scanBytes = 32 << 20

// Scan visits at least count keys from cursor on, fewer at the end and where scanBytes have been read, and returns the
// cursor at which to continue. Cursor 0 means the start as an argument, and the end as a result. Scan implements SCAN: it
// is stateless, visits every key that exists throughout, and never visits a key twice unless the caller goes back.
// Expired keys count as visited but are not passed to visit. Keys that share slot and hash are visited together, so a
// call may exceed count by a few. One call reads one consistent state. Once visit has returned false, Scan ends after the
// keys of that place.
//
// Cursors are below 2^47. A cursor that nobody was given is no error; the scan continues at the next key.
func (v View) Scan(cursor uint64, count int, visit func(Entry) (more bool)) (next uint64, err error) {
	if cursor >= uint64(endPoint) {
		return 0, nil
	}
	seen, size, last, more := 0, 0, point(0), true
	err = v.walk(appendPointBound(nil, point(cursor)), func(at point, e Entry, expired bool) bool {
		if (seen >= max(count, 1) || size >= scanBytes || !more) && at != last {
			next = uint64(at)
			return false
		}
		seen, size, last = seen+1, size+len(e.Key)+len(e.Value.Data), at
		if !expired {
			more = visit(e) && more
		}
		return true
	})
	return next, err
}

// ForEach visits every key of one consistent state (KEYS), in no useful order, until visit returns false or ctx ends.
func (v View) ForEach(ctx context.Context, visit func(Entry) bool) error {
	var cause error
	n := 0
	err := v.walk(nil, func(_ point, e Entry, expired bool) bool {
		if n++; n%1024 == 0 {
			if cause = context.Cause(ctx); cause != nil || v.m.gate.closed.Load() {
				cause = errors.Join(cause, v.closedErr())
				return false
			}
		}
		return expired || visit(e)
	})
	return errors.Join(err, cause)
}

func (v View) closedErr() error {
	if v.m.gate.closed.Load() {
		return ErrClosed
	}
	return nil
}

// RandomKey returns a random key, which the caller owns, or false if there is none. r should be 64 random bits. The
// choice is uniform among the sixteen keys that follow a random place in the order of (slot, hash), so keys after large
// gaps are slightly more likely. Where most keys are expired it may miss the live ones.
func (v View) RandomKey(r uint64) (key []byte, ok bool, err error) {
	const among, most = 16, 4096
	rng := rand.New(rand.NewPCG(r, r))
	start, err := v.randomPlace(r, rng)
	if err != nil {
		return nil, false, err
	}
	tries, live := 0, 0
	err = v.walkAround(start, func(_ point, e Entry, expired bool) bool {
		if tries++; !expired {
			if live++; rng.IntN(live) == 0 {
				key, ok = append(key[:0], e.Key...), true
			}
		}
		return live < among && (tries < most || !ok)
	})
	return key, ok, err
}

// randomPlace returns a random place in a slot that has keys. The slot is the first one with keys at or after a random
// place. Within it a new place is chosen: where the keys are in few slots, as with hash tags, nearly every random place
// is in the gap before one of these slots.
func (v View) randomPlace(r uint64, rng *rand.Rand) (point, error) {
	start := point(r%Slots)<<32 | point(r>>32)
	slot := start >> 32
	err := v.walkAround(start, func(at point, _ Entry, _ bool) bool {
		slot = at >> 32
		return false
	})
	if slot != start>>32 {
		start = slot<<32 | point(rng.Uint32())
	}
	return start, err
}

// walkAround visits every stored key from start to the end, and then those from the beginning to start, until visit
// returns false.
func (v View) walkAround(start point, visit func(at point, e Entry, expired bool) bool) error {
	more := true
	err := v.walk(appendPointBound(nil, start), func(at point, e Entry, expired bool) bool {
		more = visit(at, e, expired)
		return more
	})
	if err != nil || !more {
		return err
	}
	return v.walk(nil, func(at point, e Entry, expired bool) bool { return at < start && visit(at, e, expired) })
}

// walk visits every stored key in order, starting at the data key lower (nil: at the beginning), until visit returns
// false.
func (v View) walk(lower []byte, visit func(at point, e Entry, expired bool) bool) (err error) {
	if !v.m.gate.enter() {
		return ErrClosed
	}
	defer v.m.gate.leave()
	if err := v.m.settle(); err != nil {
		return fmt.Errorf("scan keys: %w", err)
	}
	first, upper := spaceBounds(spaceData)
	if lower == nil {
		lower = first
	}
	it, err := v.m.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return fmt.Errorf("scan keys: %w", explain(err))
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for it.First(); it.Valid(); it.Next() {
		at, key, err := splitDataKey(it.Key())
		if err != nil {
			return fmt.Errorf("scan keys: %w", explain(err))
		}
		raw, err := it.ValueAndErr()
		if err != nil {
			return fmt.Errorf("scan keys: %w", explain(err))
		}
		val, err := decodeValue(raw)
		if err != nil {
			return fmt.Errorf("scan key %q: %w", key, err)
		}
		if !visit(at, Entry{Key: key, Value: val}, val.expired(v.now)) {
			break
		}
	}
	return explain(it.Error())
}
