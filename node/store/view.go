package store

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/cockroachdb/pebble/v2"
)

// View reads the applied state as of a time: keys whose expiry is due at that time are absent, whether or not they have
// been removed yet. A View is a small value, costs nothing to make, holds no lock and need not be closed.
//
// Each call reads one consistent state; two calls may see different ones. For reads that belong together, use GetMany or
// Freeze. Every method returns ErrClosed once the Machine is closed. In a node that means that a seed has replaced it:
// ask for a new View.
type View struct {
	m        *Machine
	now      int64
	resident bool    // see Resident
	missed   *bool   // see Noting
	frozen   *frozen // see Freeze
}

// View returns a view as of now, in unix milliseconds. On a leader now is its own time, on a follower ReadTime.
func (m *Machine) View(now int64) View { return View{m: m, now: now} }

// ErrNotResident means that only the database can tell whether there is a value, and reading it may wait for the disk.
var ErrNotResident = errors.New("the value is not in memory")

// Resident returns a view whose Read and Exists never wait for the database: they return ErrNotResident instead. GetMany
// is not affected.
func (v View) Resident() View {
	v.resident = true
	return v
}

// Noting returns a view whose Read and Exists set *missed where those of a Resident view would have returned
// ErrNotResident.
func (v View) Noting(missed *bool) View {
	v.missed = missed
	return v
}

// Now returns the time by which the view judges expiry, in unix milliseconds.
func (v View) Now() int64 { return v.now }

// Get returns the value of key. The caller owns its Data.
func (v View) Get(key []byte) (Value, bool, error) {
	var out Value
	found, err := v.Read(key, func(val Value) {
		out = val
		out.Data = bytes.Clone(val.Data)
	})
	return out, found, err
}

// Exists reports whether key has a value.
func (v View) Exists(key []byte) (bool, error) { return v.Read(key, func(Value) {}) }

// Read calls use with the value of key, if there is one, and reports whether there was. It copies nothing: the value's
// Data is valid only until use returns, and must not be changed.
func (v View) Read(key []byte, use func(Value)) (bool, error) {
	if !v.m.gate.enter() {
		return false, ErrClosed
	}
	defer v.m.gate.leave()
	if v.frozen != nil {
		return v.read(key, use)
	}
	live := false
	unexpired := func(val Value) {
		if live = !val.expired(v.now); live {
			use(val)
		}
	}
	_, known, err := v.m.remembered(key, unexpired)
	switch {
	case known || err != nil:
		return live, err
	case v.resident:
		return false, ErrNotResident
	case v.missed != nil:
		*v.missed = true
	}
	_, err = v.m.fetch(key, unexpired)
	return live, err
}

// remembered calls use with key's value, expired or not, if that is in memory, and reports whether there is one. known is
// false if the database must be read; see fetch. Data is valid until use returns. use must neither read nor apply. The
// caller is inside the gate.
func (m *Machine) remembered(key []byte, use func(Value)) (found, known bool, err error) {
	if raw, known := m.recent.now().find(m.recent.hash(key), key); known {
		if raw == nil {
			return false, true, nil
		}
		val, err := decodeValue(raw)
		if err == nil {
			use(val)
		}
		return err == nil, true, err
	}
	known, err = m.rows.read(hashOf(key), key, func(raw []byte) error {
		if len(raw) == 0 {
			return nil // there is no value
		}
		val, err := decodeValue(raw)
		if found = err == nil; found {
			use(val)
		}
		return err
	})
	return found, known, err
}

// fetch is like remembered, but reads the database. It is for values that are not remembered.
func (m *Machine) fetch(key []byte, use func(Value)) (found bool, err error) {
	seq, fill := m.rows.begun()
	val, raw, closer, err := readStored(m.db, key)
	if err != nil {
		return false, err
	}
	if fill {
		m.rows.fill(seq, hashOf(key), key, raw)
	}
	if closer == nil {
		return false, nil
	}
	use(val)
	return true, closer.Close()
}

// GetMany calls use for each key in order, with its index i, until use returns false. All values are from one consistent
// state (MGET). As in Read, Data is valid only until use returns.
func (v View) GetMany(keys [][]byte, use func(i int, val Value, found bool) (more bool)) (outcome error) {
	if v.frozen == nil {
		frozen, _, done, err := v.Freeze()
		if err != nil {
			return err
		}
		defer func() { outcome = errors.Join(outcome, done()) }()
		v = frozen
	}
	for i, key := range keys {
		more := true
		found, err := v.Read(key, func(val Value) { more = use(i, val, true) })
		if err != nil {
			return err
		}
		if !found {
			more = use(i, Value{}, false)
		}
		if !more {
			return nil
		}
	}
	return nil
}

// readStored returns key's value, expired or not, and its stored form. closer is nil if there is none; otherwise both are
// valid until it is closed.
func readStored(r pebble.Reader, key []byte) (val Value, raw []byte, closer io.Closer, err error) {
	var stack [96]byte
	raw, closer, err = r.Get(appendDataKey(stack[:0], key))
	if errors.Is(err, pebble.ErrNotFound) {
		return Value{}, nil, nil, nil
	}
	if err != nil {
		return Value{}, nil, nil, fmt.Errorf("read key: %w", explain(err))
	}
	if val, err = decodeValue(raw); err != nil {
		return Value{}, nil, nil, errors.Join(err, closer.Close())
	}
	return val, raw, closer, nil
}
