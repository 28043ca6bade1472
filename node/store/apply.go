package store

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/replicatedstore/replicatedstore/replication"
)

// noSync: there is no WAL that could be synced.
var noSync = pebble.NoSync

// Apply applies committed records, which must follow Applied and each other without a gap: position, epoch and checksum
// chain are all checked. Readers see each batch as a whole; batches end at record boundaries, so never within a record.
//
// An error is final: the state below Applied is intact, but the record after it cannot be applied by this build or does
// not belong there, which no retry changes. Records may be reused after Apply has returned.
func (m *Machine) Apply(recs []replication.Record) error {
	if !m.gate.enter() {
		return ErrClosed
	}
	defer m.gate.leave()
	m.applyMu.Lock()
	defer m.applyMu.Unlock()
	for len(recs) > 0 {
		n, err := m.applyBatch(recs)
		if err != nil {
			return err
		}
		recs = recs[n:]
	}
	return nil
}

// applyBatch applies the first records of recs, up to batchBytes but at least one, as one Pebble batch and returns how
// many those were.
func (m *Machine) applyBatch(recs []replication.Record) (n int, err error) {
	b := m.db.NewBatch()
	defer b.Close()
	to := *m.applied.Load()
	m.rows.change()
	defer m.rows.done()
	for n < len(recs) && (n == 0 || b.Len() < batchBytes) {
		rec := &recs[n]
		if err := rec.Follows(to.mark); err != nil {
			return 0, fmt.Errorf("apply record at position %d of epoch %d after %v: %w", rec.First, rec.Epoch, to.mark, err)
		}
		if err := m.stageRecord(b, rec); err != nil {
			return 0, err
		}
		to = applied{mark: rec.Mark(), unixMilli: rec.UnixMilli}
		n++
	}
	if err := b.Set(appliedKey, to.append(nil), nil); err != nil {
		return 0, fmt.Errorf("apply up to %v: %w", to.mark, err)
	}
	m.ceiling.Store(&to)
	if err := m.commit(b); err != nil {
		return 0, fmt.Errorf("apply up to %v: %w", to.mark, err)
	}
	m.applied.Store(&to)
	m.waits.advance(to.mark.Position)
	return n, nil
}

// commit makes b visible to readers.
//
// Pebble applies a batch to the memtable first and lets readers see it second, and a flush keeps only the newest version
// of each key. A flush that starts and ends between the two thus leaves readers, who may not see the new version yet,
// without any: they find an older table's version of the key, or none, the applied mark's included. With one writer that
// takes one of two things, and both are excluded here:
//
//   - another goroutine rotates the memtable: only Flush does, under the same commitMu (and no delayed flushes are
//     configured, because Pebble would start those by itself);
//   - b is so large that Pebble queues it for flushing as a whole: then a snapshot makes the flush keep what is visible.
func (m *Machine) commit(b *pebble.Batch) (err error) {
	m.commitMu.Lock()
	defer m.commitMu.Unlock()
	if b.Len() >= m.largeBatch {
		snap := m.db.NewSnapshot()
		defer func() { err = errors.Join(err, snap.Close()) }()
	}
	return b.Commit(noSync)
}

// stageRecord adds the effects of every entry of rec to b, and removes the rows of the keys that they change.
func (m *Machine) stageRecord(b *pebble.Batch, rec *replication.Record) error {
	if rec.Type != replication.RecordData {
		return nil // a barrier has no effects; it only moves the mark
	}
	for i, entry := range rec.Entries() {
		if err := m.stageEntry(b, entry); err != nil {
			return fmt.Errorf("apply the entry at position %d of epoch %d: %w",
				rec.First+replication.Position(i), rec.Epoch, err)
		}
	}
	return nil
}

func (m *Machine) stageEntry(b *pebble.Batch, entry []byte) error {
	d := decodeEntry(entry)
	for d.next() {
		if err := m.stageEffect(b, d.effect); err != nil {
			return fmt.Errorf("%v: %w", d.effect.op, err)
		}
	}
	return d.err
}

func (m *Machine) stageEffect(b *pebble.Batch, e effect) error {
	switch e.op {
	case opPut:
		m.rows.remove(hashOf(e.key))
		return stagePut(b, e.key, e.value)
	case opDelete:
		m.rows.remove(hashOf(e.key))
		d := b.DeleteDeferred(dataPrefixSize + len(e.key))
		putDataKey(d.Key, e.key)
		return d.Finish()
	case opUnindex:
		d := b.DeleteDeferred(expiryPrefixSize + len(e.key))
		putExpiryKey(d.Key, e.value.ExpireAt, e.key)
		return d.Finish()
	case opFlush:
		m.rows.removeAll()
		for _, space := range []byte{spaceData, spaceExpiry, spaceMembers} {
			lower, upper := spaceBounds(space)
			if err := b.DeleteRange(lower, upper, nil); err != nil {
				return err
			}
		}
		return nil
	default:
		panic("store: decoder let an unknown effect pass")
	}
}

func stagePut(b *pebble.Batch, key []byte, v Value) error {
	d := b.SetDeferred(dataPrefixSize+len(key), valueHeaderSize+len(v.Data))
	putDataKey(d.Key, key)
	putValueHeader(d.Value, v)
	copy(d.Value[valueHeaderSize:], v.Data)
	if err := d.Finish(); err != nil || v.ExpireAt == 0 {
		return err
	}
	d = b.SetDeferred(expiryPrefixSize+len(key), 0)
	putExpiryKey(d.Key, v.ExpireAt, key)
	return d.Finish()
}
