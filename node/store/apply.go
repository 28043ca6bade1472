package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/replicatedstore/replicatedstore/replication"
)

// noSync is used because there is no WAL to sync.
var noSync = pebble.NoSync

// Apply applies committed records, which must follow Applied and each other without a gap: position, epoch and checksum
// chain are all checked. Readers see each batch as a whole, and batches end at record boundaries, so they never see part
// of a record.
//
// An error is final: the state up to Applied is intact, but this build cannot apply the record after it, or the record
// does not belong there. No retry changes that. The records may be reused after Apply has returned.
func (m *Machine) Apply(recs []replication.Record) error {
	return m.ApplyUntil(context.Background(), recs)
}

// ApplyUntil is Apply, but it waits for room only as long as ctx lives; on a full volume that wait may be long. It then
// returns ctx's cause, which is not final: Applied tells how many of recs were applied, and the next call continues
// there.
func (m *Machine) ApplyUntil(ctx context.Context, recs []replication.Record) error {
	if !m.gate.enter() {
		return ErrClosed
	}
	defer m.gate.leave()
	m.applyMu.Lock()
	defer m.applyMu.Unlock()
	for len(recs) > 0 {
		n, err := m.applyBatch(ctx, recs)
		if err != nil {
			return err
		}
		recs = recs[n:]
	}
	return nil
}

// applyBatch applies the first records of recs, at least one, as one batch, and returns how many those were.
func (m *Machine) applyBatch(ctx context.Context, recs []replication.Record) (n int, err error) {
	to := *m.applied.Load()
	most := min(batchBytes, int(m.recent.budget/4))
	for size := 0; n < len(recs) && (n == 0 || size < most); n++ {
		rec := &recs[n]
		if err := rec.Follows(to.mark); err != nil {
			return 0, fmt.Errorf("apply record at position %d of epoch %d after %v: %w", rec.First, rec.Epoch, to.mark, err)
		}
		if err := check(rec); err != nil {
			return 0, err
		}
		to = applied{mark: rec.Mark(), unixMilli: max(to.unixMilli, rec.UnixMilli)}
		size += len(rec.Raw)
	}
	r := m.recent
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.await(ctx); err != nil {
		return 0, fmt.Errorf("apply up to %v: %w", to.mark, err)
	}
	for i := range recs[:n] {
		m.note(&recs[i])
	}
	m.ceiling.Store(&to)
	r.visible.Store(r.last)
	m.applied.Store(&to)
	if r.full() {
		signal(m.filled)
	}
	return n, nil
}

// check returns an error if this build does not know every effect of rec. It runs before any effect is applied.
func check(rec *replication.Record) error {
	if rec.Type != replication.RecordData {
		return nil // a barrier has no effects; it only advances the mark
	}
	for i, entry := range rec.Entries() {
		d := decodeEntry(entry)
		for d.next() {
		}
		if d.err != nil {
			return fmt.Errorf("apply the entry at position %d of epoch %d: %w", rec.First+replication.Position(i), rec.Epoch, d.err)
		}
	}
	return nil
}

// note adds the effects of rec, which was checked, to the recent ones.
func (m *Machine) note(rec *replication.Record) {
	if rec.Type != replication.RecordData {
		return
	}
	for _, entry := range rec.Entries() {
		d := decodeEntry(entry)
		for d.next() {
			m.recent.note(d.effect)
		}
	}
}

// note adds one effect; mu is held.
func (r *recent) note(e effect) {
	switch e.op {
	case opPut:
		r.put(r.hash(e.key), e.key, e.value, true)
		if e.value.ExpireAt != 0 {
			r.index(e.value.ExpireAt, e.key, true)
		}
	case opDelete:
		r.put(r.hash(e.key), e.key, Value{}, false)
	case opUnindex:
		r.index(e.value.ExpireAt, e.key, false)
	case opFlush:
		r.flush()
	default:
		panic("store: decoder let an unknown effect pass")
	}
}

// commit makes b visible to readers of the database.
//
// Pebble applies a batch to the memtable first and makes it visible second, and a flush keeps only the newest version of
// each key. Suppose a flush starts and ends between the two, because somebody else rotated the memtable, or because b is
// so large that Pebble queues it for flushing as a whole. Readers, who may not see the new version yet, would then be
// left without any: they would find an older table's version of the key, or none, and that includes the applied mark. The
// snapshot makes the flush keep what is visible.
func (m *Machine) commit(b *pebble.Batch) (err error) {
	snap := m.db.NewSnapshot()
	defer func() { err = errors.Join(err, snap.Close()) }()
	return b.Commit(noSync)
}

// admit waits until there is room for one more batch or memtable: until those waiting to be flushed have been, and the
// flushed tables do not wait in too many sublevels to be compacted. On a full volume that takes as long as it is full.
// Without this wait Pebble would stall, and then not even Close could end the stall. queueMu is held, so that nobody else
// takes the room.
func (m *Machine) admit() error {
	for waited := false; ; waited = true {
		known := m.db.Metrics()
		if known.MemTable.Size < m.queueBytes && known.Levels[0].Sublevels < m.mostSublevels {
			if waited {
				m.opt.Log.Info("the state database has caught up")
			}
			return nil
		}
		if !waited {
			m.opt.Log.Info("writing no more to the state database until it catches up",
				"memtables", known.MemTable.Size, "sublevels", known.Levels[0].Sublevels)
		}
		select {
		case <-m.drained:
		case <-m.closing.Done():
			return ErrClosed
		}
	}
}
