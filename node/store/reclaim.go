package store

import (
	"context"
	"fmt"
	"math/bits"
)

const (
	// reclaimPiece is how much of the state one step of Reclaim writes anew, in bytes; on small volumes it is an eighth of Options.Part.
	reclaimPiece = 32 << 20
	// Fewer deleted keys than reclaimKeys that are known to take less than reclaimBytes are not worth it.
	reclaimKeys, reclaimBytes = 16, 1 << 20
)

// Reclaim gives back to the volume what deleted values take, which the database does in its own time otherwise, or not at all while
// nothing is written. It writes the tables anew, one piece of the keys after the other, and needs room for a piece or two meanwhile. It
// ends with ctx, and with the first piece that there is no room for, whose error is the file system's.
func (m *Machine) Reclaim(ctx context.Context) error {
	size, worth, err := m.garbage()
	if err != nil {
		return fmt.Errorf("reclaim room: %w", err)
	}
	if !worth {
		return nil
	}
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
	for i := range n {
		if err := m.compact(ctx, bound(i), bound(i+1)); err != nil {
			return fmt.Errorf("reclaim room, piece %d of %d: %w", i+1, n, err)
		}
	}
	for _, space := range []byte{spaceExpiry, spaceMembers, spaceSystem} {
		lower, upper := spaceBounds(space)
		if err := m.compact(ctx, lower, upper); err != nil {
			return fmt.Errorf("reclaim room: %w", err)
		}
	}
	return nil
}

// garbage tells how many bytes the tables have, and whether enough of that is deleted. The database knows of the bytes only what is in
// lower levels than the deletion, and that a little later.
func (m *Machine) garbage() (size uint64, worth bool, err error) {
	if !m.gate.enter() {
		return 0, false, ErrClosed
	}
	defer m.gate.leave()
	known := m.db.Metrics() // Pebble 2.1's EstimateDiskUsage has a data race
	for i := range known.Levels {
		size += uint64(known.Levels[i].TablesSize)
	}
	deleted := known.Table.Garbage.PointDeletionsBytesEstimate + known.Table.Garbage.RangeDeletionsBytesEstimate
	return size, known.Keys.TombstoneCount >= reclaimKeys || deleted >= reclaimBytes, nil
}

// compact compacts one range of keys. It may rotate the memtable, and so excludes commits as they ask for.
func (m *Machine) compact(ctx context.Context, lower, upper []byte) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if !m.gate.enter() {
		return ErrClosed
	}
	defer m.gate.leave()
	m.commitMu.Lock()
	defer m.commitMu.Unlock()
	return m.db.Compact(ctx, lower, upper, false)
}
