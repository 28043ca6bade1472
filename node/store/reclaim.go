package store

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"time"

	"github.com/replicatedstore/replicatedstore/replication/durable"
)

const (
	// reclaimPiece is how much of the state one step of Reclaim writes anew, in bytes; on small volumes it is an eighth of Options.Part.
	reclaimPiece = 32 << 20
	// Fewer deleted keys than reclaimKeys that are known to take less than reclaimBytes are not worth it.
	reclaimKeys, reclaimBytes = 16, 1 << 20
	// pieceTime is far more than a piece takes, or a flush, unless the disk hangs.
	pieceTime = 30 * time.Second
)

// Reclaim gives back to the volume what deleted values take, which the database does in its own time otherwise, or not at all while
// nothing is written. It writes the tables anew, one piece of the keys after the other, and needs room for a piece or two meanwhile. Where
// there is none, or something takes too long, it leaves it at that. One caller at a time.
func (m *Machine) Reclaim() error {
	if !m.gate.enter() {
		return ErrClosed
	}
	defer m.gate.leave()
	size, worth := m.garbage()
	if !worth {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), m.pieceTime)
	defer cancel()
	if m.reclaiming == nil || m.reclaiming.over() {
		m.reclaiming = m.beginFlush() // so that the pieces do not wait for memtables
	} // else: the one before waits for room yet, and would be in the way of another
	err := m.reclaiming.wait(ctx)
	for _, r := range m.pieces(size) {
		if err != nil {
			break
		}
		err = m.merge(r)
	}
	switch {
	case err == nil:
		return nil
	case m.closing.Err() != nil:
		return ErrClosed
	case durable.IsNoSpace(err), errors.Is(err, context.DeadlineExceeded):
		m.opt.Log.Info("not all that was deleted could be given back to the volume", "error", err.Error())
		return nil
	default:
		return fmt.Errorf("give back what was deleted: %w", err)
	}
}

// merge merges the tables of a range of keys. It is ended by nothing but Close: Pebble 2.1 may panic when a manual compaction is given up
// just as it is about to begin.
func (m *Machine) merge(r keyRange) error {
	began := time.Now()
	err := m.db.Compact(m.closing, r.lower, r.upper, false)
	if err == nil && time.Since(began) > m.pieceTime {
		err = fmt.Errorf("merging tables took %v: %w", time.Since(began), context.DeadlineExceeded)
	}
	return err
}

// keyRange is [lower, upper).
type keyRange struct{ lower, upper []byte }

// pieces divides a state of so many bytes.
func (m *Machine) pieces(size uint64) []keyRange {
	piece := int64(reclaimPiece)
	if m.opt.Part > 0 {
		piece = min(piece, max(m.opt.Part/8, 128<<10))
	}
	n := size/uint64(piece) + 1
	bound := func(i uint64) []byte {
		hi, lo := bits.Mul64(uint64(endPoint), i)
		at, _ := bits.Div64(hi, lo, n)
		return appendPointBound(nil, point(at))
	}
	var out []keyRange
	for i := range n {
		out = append(out, keyRange{bound(i), bound(i + 1)})
	}
	for _, space := range []byte{spaceExpiry, spaceMembers, spaceSystem} {
		lower, upper := spaceBounds(space)
		out = append(out, keyRange{lower, upper})
	}
	return out
}

// garbage tells how many bytes the tables have, and whether enough of that is deleted. The database knows of the bytes only what is in
// lower levels than the deletion, and that a little later.
func (m *Machine) garbage() (size uint64, worth bool) {
	known := m.db.Metrics() // Pebble 2.1's EstimateDiskUsage has a data race
	for i := range known.Levels {
		size += uint64(known.Levels[i].TablesSize)
	}
	deleted := known.Table.Garbage.PointDeletionsBytesEstimate + known.Table.Garbage.RangeDeletionsBytesEstimate
	return size, known.Keys.TombstoneCount >= reclaimKeys || deleted >= reclaimBytes
}
