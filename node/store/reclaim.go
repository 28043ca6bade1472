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
	// reclaimPiece is how much of the state one step of Reclaim rewrites, in bytes; on small volumes it is an eighth of
	// Options.Part.
	reclaimPiece = 32 << 20
	// Reclaim is not worthwhile for fewer than reclaimKeys deleted keys that are known to take less than reclaimBytes.
	reclaimKeys, reclaimBytes = 16, 1 << 20
	// pieceTime is far more than a piece or a flush takes, unless the disk hangs.
	pieceTime = 30 * time.Second
)

// Reclaim returns the space of deleted values to the volume. The database otherwise does that in its own time, or not at
// all while nothing is written. Reclaim rewrites the tables piece by piece in key order, and needs room for a piece or
// two meanwhile. If there is no room, or something takes too long, it stops without an error. One caller at a time.
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
		m.reclaiming = m.beginFlush() // so that the pieces need not wait for memtables
	} // otherwise the previous flush still waits for room, and would block another
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
		m.opt.Log.Info("could not return all deleted space to the volume", "error", err.Error())
		return nil
	default:
		return fmt.Errorf("return deleted space: %w", err)
	}
}

// merge merges the tables of a range of keys. Only Close interrupts it: Pebble 2.1 may panic if a manual compaction is
// canceled just as it is about to begin.
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

// pieces divides a state of that many bytes into ranges of keys.
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

// garbage returns how many bytes the tables have, and whether enough of that is deleted. Of deleted bytes, the database
// only knows those in levels below the deletion, and learns of them with a delay.
func (m *Machine) garbage() (size uint64, worth bool) {
	known := m.db.Metrics() // Pebble 2.1's EstimateDiskUsage has a data race
	for i := range known.Levels {
		size += uint64(known.Levels[i].TablesSize)
	}
	deleted := known.Table.Garbage.PointDeletionsBytesEstimate + known.Table.Garbage.RangeDeletionsBytesEstimate
	return size, known.Keys.TombstoneCount >= reclaimKeys || deleted >= reclaimBytes
}
