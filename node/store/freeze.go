package store

import (
	"github.com/cockroachdb/pebble/v2"

	"github.com/replicatedstore/replicatedstore/replication"
)

// frozen is one state: what was recent at some moment, and the database below it.
type frozen struct {
	moment
	snap *pebble.Snapshot
}

// Freeze returns a view of the state that is applied now, and that state's position. The view's Get, Read, Exists and
// GetMany all read that state, whatever is applied in the meantime. The caller must call done after the last read, and
// soon: the Machine cannot be closed before that.
func (v View) Freeze() (view View, at replication.Position, done func() error, err error) {
	if !v.m.gate.enter() {
		return View{}, 0, nil, ErrClosed
	}
	r := v.m.recent
	r.mu.Lock() // otherwise effects from after the moment could be poured into the snapshot
	v.frozen = &frozen{r.now(), v.m.db.NewSnapshot()}
	at = v.m.Applied().Position
	r.mu.Unlock()
	return v, at, func() error {
		defer v.m.gate.leave()
		return v.frozen.snap.Close()
	}, nil
}

// read is Read of a frozen view. The caller is inside the gate.
func (v View) read(key []byte, use func(Value)) (bool, error) {
	if raw, known := v.frozen.find(v.m.recent.hash(key), key); known {
		if raw == nil {
			return false, nil
		}
		val, err := decodeValue(raw)
		if err != nil || val.expired(v.now) {
			return false, err
		}
		use(val)
		return true, nil
	}
	val, _, closer, err := readStored(v.frozen.snap, key)
	if err != nil || closer == nil {
		return false, err
	}
	live := !val.expired(v.now)
	if live {
		use(val)
	}
	return live, closer.Close()
}
