package sim

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/replicatedstore/replicatedstore/replication"
)

// applied is one committed write.
type applied struct {
	position replication.Position
	key      byte
	value    uint64
}

// look is a read that guarantees only a consistent prefix, with the position that its member had applied.
type look struct {
	applied
	reader string
	at     time.Duration
}

// Committed records what the entry at a position writes, as a member applied it. All members must agree.
func (h *History) Committed(p replication.Position, key byte, value uint64) {
	w := applied{p, key, value}
	i, there := h.find(p)
	switch {
	case !there:
		h.order = slices.Insert(h.order, i, w)
	case h.order[i] != w:
		h.problem("position %d was applied as %d=%d and as %d=%d", p, h.order[i].key, h.order[i].value, key, value)
	}
}

func (h *History) find(p replication.Position) (int, bool) {
	if n := len(h.order); n == 0 || h.order[n-1].position < p {
		return n, false // the common case
	}
	return slices.BinarySearchFunc(h.order, p, func(w applied, p replication.Position) int { return cmp.Compare(w.position, p) })
}

// Forget drops the committed writes after p: a failover lost them, with the consent of the store's owner.
func (h *History) Forget(p replication.Position) {
	i, _ := h.find(p + 1)
	h.order = h.order[:i]
}

// Look records what a read of any member returned, and how far that member had applied the log. A reader is one connection or one
// process. It must never go backwards, and must see exactly what the log says up to that position.
func (h *History) Look(reader string, key byte, value uint64, at replication.Mark) {
	if before := h.seen[reader]; at.Position < before {
		h.problem("%s answered at position %d after it had answered at %d", reader, at.Position, before)
	}
	h.seen[reader] = at.Position
	h.looks = append(h.looks, look{applied{at.Position, key, value}, reader, h.now()})
}

func (h *History) problem(format string, args ...any) {
	h.found = append(h.found, fmt.Sprintf(format, args...))
}

// checkLooks checks that every look saw the prefix of the committed writes that its member had applied.
func (h *History) checkLooks() (problems []string) {
	looks := slices.Clone(h.looks)
	slices.SortStableFunc(looks, func(a, b look) int { return cmp.Compare(a.position, b.position) })
	state, next := map[byte]uint64{}, 0
	for _, r := range looks {
		for next < len(h.order) && h.order[next].position <= r.position {
			state[h.order[next].key] = h.order[next].value
			next++
		}
		if want := state[r.key]; want != r.value {
			problems = append(problems, fmt.Sprintf("%s had applied up to position %d and answered %d=%d at %v; the log says %d",
				r.reader, r.position, r.key, r.value, r.at, want))
		}
	}
	return problems
}
