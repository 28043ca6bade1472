package store

import (
	"fmt"
	"iter"
)

// Effect is one change that an entry of the log makes, as an export shows it.
type Effect struct {
	// Op is "put", "delete" or "flush" (of every key).
	Op string
	// Key of a put or a delete. It and Value.Data are parts of the entry.
	Key []byte
	// Value of a put.
	Value Value
}

// Effects yields what the entry changes, in order, and last an error when this build cannot read on. An entry may change
// nothing: what only tends the expiry index is left out.
func Effects(entry []byte) iter.Seq2[Effect, error] {
	return func(yield func(Effect, error) bool) {
		d := decodeEntry(entry)
		for d.next() {
			e := Effect{Op: d.effect.op.String(), Key: d.effect.key, Value: d.effect.value}
			if d.effect.op != opUnindex && !yield(e, nil) {
				return
			}
		}
		if d.err != nil {
			yield(Effect{}, fmt.Errorf("decode entry: %w", d.err))
		}
	}
}
