package store

import (
	"fmt"
	"iter"
)

// Effect is one change that a log entry makes, as an export shows it.
type Effect struct {
	// Op is "put", "delete" or "flush" (of every key).
	Op string
	// Key is the key of a put or a delete. Key and Value.Data alias the entry.
	Key []byte
	// Value is the value of a put.
	Value Value
}

// Effects yields the changes that entry makes, in order, and at the end an error if this build cannot decode the rest. It
// yields none for effects that only maintain the expiry index.
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
