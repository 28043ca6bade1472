package replication

import (
	"encoding/binary"
	"fmt"
)

// Seal holds what the leader adds to a batch of entries to make it a record.
type Seal struct {
	Epoch Epoch
	// First is the position of the batch's first entry: the log's last position + 1.
	First Position
	// UnixMilli is the leader's time for the batch.
	UnixMilli int64
	// Prev is the chain of the log that the record continues.
	Prev Chain
}

// EncodeRecord seals a payload of count entries, each encoded as uvarint(length) ‖ bytes. It copies the payload once.
func EncodeRecord(s Seal, count uint32, payload []byte) (Record, error) {
	if len(payload) > MaxPayloadBytes {
		return Record{}, fmt.Errorf("seal record: %w: payload of %d bytes exceeds %d", ErrRecordBad, len(payload), MaxPayloadBytes)
	}
	raw := make([]byte, HeaderSize+len(payload))
	copy(raw[HeaderSize:], payload)
	return sealRaw(s, RecordData, count, raw)
}

// EncodeBarrier seals the record that opens an epoch.
func EncodeBarrier(s Seal) (Record, error) {
	return sealRaw(s, RecordBarrier, 1, make([]byte, HeaderSize))
}

// sealRaw fills in the header of raw, which already holds the payload.
func sealRaw(s Seal, t RecordType, count uint32, raw []byte) (Record, error) {
	r := Record{Raw: raw, Header: Header{
		Type: t, PayloadLen: uint32(len(raw) - HeaderSize), Count: count,
		Epoch: s.Epoch, First: s.First, UnixMilli: s.UnixMilli,
	}}
	if err := r.check(); err != nil {
		return Record{}, fmt.Errorf("seal record: %w", err)
	}
	if err := r.checkEntries(); err != nil {
		return Record{}, fmt.Errorf("seal record: %w", err)
	}
	r.put(raw)
	r.Chain = chainOf(s.Prev, raw)
	binary.LittleEndian.PutUint32(raw[HeaderSize-4:], uint32(r.Chain))
	return r, nil
}

// Builder collects entries directly into the memory of one record, so that sealing it copies nothing. The zero Builder is
// ready to use. It is not safe for concurrent use.
type Builder struct {
	raw   []byte // room for the header, then the payload
	count uint32
}

// Add appends one entry. If the record would exceed MaxRecordBytes, it fails and leaves the builder unchanged.
func (b *Builder) Add(entry []byte) error {
	if len(b.raw) == 0 {
		b.raw = append(b.raw, make([]byte, HeaderSize)...)
	}
	if len(b.raw)+binary.MaxVarintLen32+len(entry) > MaxRecordBytes {
		return fmt.Errorf("add entry of %d bytes: %w: record would exceed %d", len(entry), ErrRecordBad, MaxRecordBytes)
	}
	b.raw = binary.AppendUvarint(b.raw, uint64(len(entry)))
	b.raw = append(b.raw, entry...)
	b.count++
	return nil
}

// Count returns the number of entries added since the last Seal.
func (b *Builder) Count() uint32 { return b.count }

// Size returns the size in bytes of the record that Seal would make now.
func (b *Builder) Size() int { return max(len(b.raw), HeaderSize) }

// Seal makes the record and empties the builder. The record takes over the builder's memory.
func (b *Builder) Seal(s Seal) (Record, error) {
	if b.count == 0 {
		return Record{}, fmt.Errorf("seal record: %w: no entries", ErrRecordBad)
	}
	raw, count := b.raw, b.count
	*b = Builder{}
	return sealRaw(s, RecordData, count, raw)
}
