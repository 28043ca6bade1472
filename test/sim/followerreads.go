package sim

import (
	"fmt"
	"slices"

	"github.com/replicatedstore/replicatedstore/replication"
)

// Committed tells what the entry at a position writes, as any member says that it applied it. Members must agree.
func (h *History) Committed(p replication.Position, key, value string) {
	i, there := h.at(p)
	switch w := (write{p, key, value}); {
	case !there:
		h.order = slices.Insert(h.order, i, w)
	case h.order[i] != w:
		h.problem("position %d was applied as %s=%q and as %s=%q", p, h.order[i].key, h.order[i].value, key, value)
	}
}

func (h *History) at(p replication.Position) (int, bool) {
	if n := len(h.order); n > 0 && h.order[n-1].position < p {
		return n, false // nearly always
	}
	return slices.BinarySearchFunc(h.order, p, func(w write, p replication.Position) int {
		switch {
		case w.position < p:
			return -1
		case w.position > p:
			return 1
		default:
			return 0
		}
	})
}

// Forget drops the committed writes after p: a failover lost them, as the store's owner had agreed to.
func (h *History) Forget(p replication.Position) {
	i, _ := h.at(p + 1)
	h.order = h.order[:i]
}

// FollowerRead tells what a connection to a follower read, and how far that member had applied the log then. One connection
// is to one process.
func (h *History) FollowerRead(conn int, member, key, value string, applied replication.Position) {
	if before := h.conns[conn]; applied < before {
		h.problem("connection %d to %s read %s at position %d, after it had read at %d", conn, member, key, applied, before)
	}
	h.conns[conn] = applied
	h.reads = append(h.reads, followerRead{conn: conn, member: member, write: write{applied, key, value}, at: h.now()})
}

func (h *History) problem(format string, args ...any) {
	h.found = append(h.found, fmt.Sprintf(format, args...))
}

// checkReads asks that every follower's read saw a prefix of the committed writes: the one that it had applied.
func (h *History) checkReads() (problems []string) {
	slices.SortStableFunc(h.reads, func(a, b followerRead) int {
		switch {
		case a.position < b.position:
			return -1
		case a.position > b.position:
			return 1
		default:
			return 0
		}
	})
	state, next := map[string]string{}, 0
	for _, r := range h.reads {
		for next < len(h.order) && h.order[next].position <= r.position {
			state[h.order[next].key] = h.order[next].value
			next++
		}
		if want := state[r.key]; want != r.value {
			problems = append(problems, fmt.Sprintf("%s had applied up to position %d and answered %s=%q to connection %d at %v; the log says %q",
				r.member, r.position, r.key, r.value, r.conn, r.at, want))
		}
	}
	return problems
}
