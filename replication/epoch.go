package replication

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
)

// EpochStart records that the entries from Start on were written in Epoch.
type EpochStart struct {
	Epoch Epoch    `json:"epoch"`
	Start Position `json:"start"`
}

// EpochTable is the history of leaderships of one log, oldest first. With it, two logs find the point where they diverge
// without comparing entries (Kafka's KIP-101 and KIP-279). Tables are values: no method modifies its receiver, and a result
// never shares memory with it in a way that lets one modify the other.
//
// Invariant: epochs and starts both strictly increase. An epoch that wrote nothing is not in the table. Epoch 0 is
// implicit: it "ends" before the first start.
type EpochTable []EpochStart

// ErrEpochOrder reports an epoch table that is not strictly increasing.
var ErrEpochOrder = errors.New("epochs out of order")

// Check returns an error if t violates its invariant. Tables read from disk or the network may.
func (t EpochTable) Check() error {
	prev := EpochStart{}
	for _, e := range t {
		if e.Epoch <= prev.Epoch || e.Start <= prev.Start {
			return fmt.Errorf("%w: epoch %d at %d after epoch %d at %d", ErrEpochOrder, e.Epoch, e.Start, prev.Epoch, prev.Start)
		}
		prev = e
	}
	return nil
}

// Append returns t extended by a record of epoch that starts at start. A record in the table's last epoch adds nothing.
func (t EpochTable) Append(epoch Epoch, start Position) (EpochTable, error) {
	last := t.last()
	switch {
	case epoch == last.Epoch && start >= last.Start && epoch > 0:
		return t, nil
	case epoch <= last.Epoch || start <= last.Start:
		return t, fmt.Errorf("%w: epoch %d at %d after epoch %d at %d", ErrEpochOrder, epoch, start, last.Epoch, last.Start)
	default:
		return append(slices.Clip(t), EpochStart{Epoch: epoch, Start: start}), nil
	}
}

func (t EpochTable) last() EpochStart {
	if len(t) == 0 {
		return EpochStart{}
	}
	return t[len(t)-1]
}

// find returns the index of the last entry with an epoch at or below epoch, or -1.
func (t EpochTable) find(epoch Epoch) int {
	i, found := slices.BinarySearchFunc(t, epoch, func(e EpochStart, want Epoch) int { return cmp.Compare(e.Epoch, want) })
	if found {
		return i
	}
	return i - 1
}

// Has reports whether the log holds, or held before it was pruned, an entry written in epoch.
func (t EpochTable) Has(epoch Epoch) bool {
	i := t.find(epoch)
	return i >= 0 && t[i].Epoch == epoch
}

// AtOrBelow returns the largest epoch of the log that is at or below epoch, or false if there is none.
func (t EpochTable) AtOrBelow(epoch Epoch) (EpochStart, bool) {
	if i := t.find(epoch); i >= 0 {
		return t[i], true
	}
	return EpochStart{}, false
}

// EndOf returns the last position written in epoch, in a log that ends at last. For an epoch that the log does not contain,
// it returns the end of the largest epoch below it, or 0 if there is none.
func (t EpochTable) EndOf(epoch Epoch, last Position) Position {
	i := t.find(epoch)
	switch {
	case i < 0:
		return 0
	case i == len(t)-1:
		return last
	default:
		return t[i+1].Start - 1
	}
}

// EpochAt returns the epoch in which position p was written, or 0 below the first start.
func (t EpochTable) EpochAt(p Position) Epoch {
	i, found := slices.BinarySearchFunc(t, p, func(e EpochStart, want Position) int { return cmp.Compare(e.Start, want) })
	if found {
		return t[i].Epoch
	}
	if i == 0 {
		return 0
	}
	return t[i-1].Epoch
}

// Truncate returns the table of the log truncated after position after.
func (t EpochTable) Truncate(after Position) EpochTable {
	n := len(t)
	for n > 0 && t[n-1].Start > after {
		n--
	}
	return slices.Clip(t[:n])
}

// Divergence computes the leader's answer to a rejoining follower whose log ends in ask (step 6 of the protocol): the
// largest epoch in the leader's log at or below ask.Epoch, and the last position of that epoch there. It returns (0, 0) if
// there is no such epoch: then nothing is known to be common.
//
// Comparing positions would not be enough: the leader may hold a different entry at the follower's position, written in a
// later epoch (KIP-101, both scenarios), and equal positions with different content would go unnoticed for ever.
func Divergence(leader EpochTable, leaderLast Position, ask Mark) (epoch Epoch, end Position) {
	e, ok := leader.AtOrBelow(ask.Epoch)
	if !ok {
		return 0, 0
	}
	return e.Epoch, leader.EndOf(e.Epoch, leaderLast)
}

// CutTo computes the follower's step after an answer (epoch, end) of Divergence. If done, the follower's log agrees with
// the leader's up to and including next, nothing after it is common, and the follower truncates after next.Position.
// Otherwise next is only an upper bound: the follower holds nothing of that epoch and must ask again with next (KIP-279).
// The epoch it asks with strictly decreases, so the loop terminates.
//
// Only the final next is sure to be a record boundary of the follower's log (it is the end of an epoch in one of the two
// logs, inside an epoch whose records both share), so the follower truncates once, at the end. next carries no chain: after
// the truncation, the follower's own chain there must equal the leader's.
func CutTo(own EpochTable, ownLast Position, epoch Epoch, end Position) (next Mark, done bool) {
	if epoch == 0 {
		return Mark{}, true
	}
	at := min(own.EndOf(epoch, ownLast), end)
	return Mark{Epoch: own.EpochAt(at), Position: at}, own.Has(epoch) || at == 0
}
