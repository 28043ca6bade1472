package store

import (
	"strings"
	"unsafe"

	"github.com/replicatedstore/replicatedstore/replication"
)

// pendingKey is what the last entry in flight that touched a key made of it.
type pendingKey struct {
	at      replication.Position // that entry's position
	present bool
	value   Value // Data aliases the entry
}

// overlay is the combined effect of all entries in flight: it turns applied state into the state at the tail.
//
// Its keys and values alias the entries' bytes, which never change once written. So overlaying a write allocates and
// copies nothing, and the garbage collector frees an entry with the last overlay key that needs it. (Assigning to a map
// key of string type also replaces the stored string, so a hot key does not pin the first entry that wrote it.)
type overlay struct {
	keys map[string]pendingKey
	// flushAt is the position of the newest flush in flight, 0 if there is none. While it is set, keys not in keys are
	// absent.
	flushAt replication.Position
	undo    []undo // changes of the open transaction, in order
}

// undo restores one change of the overlay.
type undo struct {
	key     string
	old     pendingKey
	had     bool
	flush   bool // the change was a flush: oldKeys and oldAt restore it
	oldKeys map[string]pendingKey
	oldAt   replication.Position
}

// maxUndo is how much undo memory is kept between transactions.
const maxUndo = 1024

func (o *overlay) reset() { *o = overlay{keys: make(map[string]pendingKey)} }

// get returns what is pending for key. known is false if applied state decides.
func (o *overlay) get(key []byte) (p pendingKey, known bool) {
	if p, ok := o.keys[string(key)]; ok {
		return p, true
	}
	return pendingKey{}, o.flushAt != 0
}

// set makes p pending for key, which must never change afterwards.
func (o *overlay) set(key []byte, p pendingKey) {
	k := unsafe.String(unsafe.SliceData(key), len(key))
	old, had := o.keys[k]
	o.undo = append(o.undo, undo{key: k, old: old, had: had})
	o.keys[k] = p
}

func (o *overlay) flush(at replication.Position) {
	o.undo = append(o.undo, undo{flush: true, oldKeys: o.keys, oldAt: o.flushAt})
	o.keys, o.flushAt = make(map[string]pendingKey), at
}

// keep makes the changes since the last keep or revert permanent.
func (o *overlay) keep() {
	clear(o.undo)
	o.undo = o.undo[:0]
	if cap(o.undo) > maxUndo {
		o.undo = nil
	}
}

// revert undoes the changes since the last keep or revert.
func (o *overlay) revert() {
	for i := len(o.undo) - 1; i >= 0; i-- {
		switch u := &o.undo[i]; {
		case u.flush:
			o.keys, o.flushAt = u.oldKeys, u.oldAt
		case u.had:
			// Use a copy of the key: the string in the map aliases the reverted entry, whose bytes will be reused.
			delete(o.keys, u.key)
			o.keys[strings.Clone(u.key)] = u.old
		default:
			delete(o.keys, u.key)
		}
	}
	o.keep()
}

// drop forgets what the entry at position at made pending, now that it is applied, except for keys that a later entry has
// touched.
func (o *overlay) drop(at replication.Position, entry []byte) {
	d := decodeEntry(entry)
	for d.next() {
		switch d.effect.op {
		case opPut, opDelete:
			if p, ok := o.keys[string(d.effect.key)]; ok && p.at == at {
				delete(o.keys, string(d.effect.key))
			}
		case opFlush:
			if o.flushAt == at {
				o.flushAt = 0
			}
		case opUnindex: // changes no key
		}
	}
	if d.err != nil {
		panic("store: sequencer made an entry it cannot decode: " + d.err.Error())
	}
}
