package store

import (
	"encoding/binary"
	"fmt"
	"math/bits"
)

const (
	entryHeader = 1 // the version byte
	// arenaBytes is the size of the arenas that entries are allocated in. Entries larger than a quarter of that are
	// allocated separately.
	arenaBytes = 256 << 10
	// keyPart is by which factor a key must be shorter than an entry may be. Removing a key can name it twice, and one
	// entry must have room for that.
	keyPart = 4
)

// Tx is one transaction. Its reads see everything before it and its own writes. Its writes become one entry, so they are
// applied, or lost, together. A Tx is valid between Begin and End or Discard.
type Tx struct {
	s     *Sequencer
	now   int64
	entry []byte // effects so far
	home  home   // where entry lives
	// expiries are the expiry times of the keys that were read from applied state. Overwriting such a key can also remove
	// its index entry, because the entry is known.
	expiries map[string]int64
	refused  error // why it cannot become an entry; it takes no more effects then
}

// home is where a transaction's entry is allocated, which decides what becomes of the arena at its end.
type home uint8

const (
	homeArena home = iota // at the end of the arena
	homeFresh             // alone in a new arena, because the old one had too little left
	homeAlone             // separate memory, because it is large; the arena was not used
	homeLeft              // separate memory; the overlay still uses what it left behind in the arena
)

func (tx *Tx) begin() {
	s := tx.s
	if cap(s.arena)-len(s.arena) < 512 {
		s.arena = make([]byte, 0, arenaBytes)
	}
	tx.entry = append(s.arena[len(s.arena):], entryVersion)
	tx.home, tx.refused = homeArena, nil
}

// end keeps or reverts what the transaction did to the arena and the overlay.
func (tx *Tx) end(keep bool) {
	s := tx.s
	if keep {
		s.overlay.keep()
		s.arena = tx.arenaAfter()
	} else {
		s.overlay.revert() // the arena keeps its length, so the bytes will be overwritten
	}
	tx.entry = nil
	clear(tx.expiries)
}

// arenaAfter returns the arena that takes the next entry.
func (tx *Tx) arenaAfter() []byte {
	switch tx.home {
	case homeArena:
		a := tx.s.arena
		return a[:len(a)+len(tx.entry)]
	case homeFresh:
		return tx.entry
	case homeAlone:
		return tx.s.arena
	case homeLeft:
		return nil
	default:
		panic("store: entry without a home")
	}
}

// reserve makes room for n more bytes of effects. If the entry has to move, the bytes it leaves behind stay unchanged as
// long as the overlay may use them. It returns false if the entry would become too large; End will return the error.
func (tx *Tx) reserve(n int) bool {
	need := len(tx.entry) + n
	switch limit := tx.s.opt.MaxEntryBytes; {
	case tx.refused != nil:
		return false
	case need > limit:
		tx.refused = fmt.Errorf("%w: more than %d bytes of effects", ErrEntryTooLarge, limit)
		return false
	case need > cap(tx.entry):
		tx.move(need)
	}
	return true
}

// move moves the entry to where there is room for need bytes.
func (tx *Tx) move(need int) {
	used := len(tx.s.overlay.undo) > 0
	switch {
	case need <= arenaBytes/4:
		tx.home = homeFresh
		tx.entry = append(make([]byte, 0, arenaBytes), tx.entry...)
		return
	case tx.home == homeArena && !used:
		tx.home = homeAlone
	case tx.home != homeAlone:
		tx.home = homeLeft
	}
	size := need
	if used {
		size = max(need, 2*len(tx.entry)) // it is likely to grow further
	}
	tx.entry = append(make([]byte, 0, size), tx.entry...)
}

// Refused reports whether End will reject what was written so far. In that case later effects do not happen either.
func (tx *Tx) Refused() bool { return tx.refused != nil }

// Now returns leader time (unix ms). It is the same throughout a batch.
func (tx *Tx) Now() int64 { return tx.now }

// Get returns what key holds now: applied state, overlaid with every entry in flight and this transaction's own writes. A
// key whose expiry is due is absent. Data must not be changed and is valid until the batch ends or the transaction is
// discarded. Errors come from the database; on an error, the caller should Discard.
func (tx *Tx) Get(key []byte) (Value, bool, error) {
	v, found, err := tx.s.current(key)
	if err != nil || !found {
		return Value{}, false, err
	}
	tx.note(key, v)
	if v.expired(tx.now) {
		return Value{}, false, nil
	}
	return v, true, nil
}

// Head is Get without the value's data: it returns the data's length in bytes instead, and copies nothing.
func (tx *Tx) Head(key []byte) (v Value, size int, found bool, err error) {
	v, size, found, err = tx.s.currentHead(key)
	if err != nil || !found {
		return Value{}, 0, false, err
	}
	tx.note(key, v)
	if v.expired(tx.now) {
		return Value{}, 0, false, nil
	}
	return v, size, true, nil
}

// Exists reports whether key has a value, as Get would.
func (tx *Tx) Exists(key []byte) (bool, error) {
	_, _, found, err := tx.Head(key)
	return found, err
}

// note remembers the expiry of a value that was read.
func (tx *Tx) note(key []byte, v Value) {
	if v.ExpireAt == 0 {
		return
	}
	if tx.expiries == nil {
		tx.expiries = make(map[string]int64)
	}
	tx.expiries[string(key)] = v.ExpireAt
}

// Put makes v the value of key, whatever it held. It reads nothing (a blind SET stays blind) and copies key and v.Data.
// If v has already expired (0 < ExpireAt <= Now), Put deletes the key instead, as Redis does.
//
// v.Type must be TypeString, and ExpireAt must not be negative; anything else is a programming error and panics. If the
// key or the entry becomes too long, End returns an error.
func (tx *Tx) Put(key []byte, v Value) {
	if !v.Type.storable() || v.ExpireAt < 0 {
		panic(fmt.Sprintf("store: put of a %v that expires at %d", v.Type, v.ExpireAt))
	}
	if v.expired(tx.now) {
		tx.remove(key)
		return
	}
	if longest := tx.s.opt.MaxEntryBytes / keyPart; len(key) > longest && tx.refused == nil {
		tx.refused = fmt.Errorf("%w: %d bytes, the limit is %d", ErrKeyTooLong, len(key), longest)
	}
	tx.unindex(key, v.ExpireAt)
	if !tx.reserve(len(key) + len(v.Data) + 3 + 3*binary.MaxVarintLen64) {
		return
	}
	tx.entry = appendPut(tx.entry, key, v)
	data := tail(tx.entry, len(v.Data))
	stored := tail(tx.entry[:len(tx.entry)-len(v.Data)-uvarintSize(len(v.Data))], len(key))
	v.Data = data
	tx.s.overlay.set(stored, pendingKey{at: tx.s.tail + 1, present: true, value: v})
}

// Delete removes key and reports whether it was there. If it was not, there is no effect.
func (tx *Tx) Delete(key []byte) (existed bool, err error) {
	existed, err = tx.Exists(key)
	if existed && err == nil {
		tx.remove(key)
	}
	return existed, err
}

// Flush removes every key. That is one effect, however many keys there are.
func (tx *Tx) Flush() {
	if !tx.reserve(1) {
		return
	}
	tx.entry = appendFlush(tx.entry)
	clear(tx.expiries)
	tx.s.overlay.flush(tx.s.tail + 1)
}

// remove deletes key without checking whether it is there.
func (tx *Tx) remove(key []byte) {
	tx.unindex(key, 0)
	if !tx.reserve(len(key) + 1 + binary.MaxVarintLen64) {
		return
	}
	tx.entry = appendDelete(tx.entry, key)
	tx.s.overlay.set(tail(tx.entry, len(key)), pendingKey{at: tx.s.tail + 1})
}

// unindex removes the expiry index entry of key's present value if that entry is known without reading, unless the next
// value expires at the same time. An unknown entry stays behind, and Expire removes it when it is due.
func (tx *Tx) unindex(key []byte, next int64) {
	old := int64(0)
	if p, known := tx.s.overlay.get(key); known {
		old = p.value.ExpireAt
	} else {
		old = tx.expiries[string(key)]
	}
	if old != 0 && old != next {
		tx.dropIndex(key, old)
	}
}

func (tx *Tx) dropIndex(key []byte, expireAt int64) {
	if !tx.reserve(len(key) + 1 + 2*binary.MaxVarintLen64) {
		return
	}
	tx.entry = appendUnindex(tx.entry, expireAt, key)
}

// tail returns the last n bytes of b.
func tail(b []byte, n int) []byte { return b[len(b)-n : len(b) : len(b)] }

// uvarintSize returns the length of n as a uvarint.
func uvarintSize(n int) int { return (bits.Len64(uint64(n)|1) + 6) / 7 }
