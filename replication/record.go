package replication

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"iter"
	"math"
)

// Sizes of a record, in bytes.
const (
	// HeaderSize is the length of a record's header.
	HeaderSize = 48
	// MaxRecordBytes bounds a whole record, header included. A reader must be prepared to hold that much at once.
	MaxRecordBytes = 128 << 20
	// MaxPayloadBytes bounds the payload of a record.
	MaxPayloadBytes = MaxRecordBytes - HeaderSize
)

// RecordMagic opens every record: 'R' and the version of the record format. It is little endian on disk and on the wire.
const RecordMagic uint16 = 'R'<<8 | 1

// RecordType says what a record's payload is.
type RecordType uint8

const (
	// RecordData carries Count entries, each encoded as uvarint(length) followed by its bytes.
	RecordData RecordType = 1
	// RecordBarrier opens an epoch. It takes one position and has no payload.
	RecordBarrier RecordType = 2
)

func (t RecordType) String() string {
	switch t {
	case RecordData:
		return "data"
	case RecordBarrier:
		return "barrier"
	default:
		return fmt.Sprintf("type %d", uint8(t))
	}
}

// Errors of the record format. Every error in this file wraps one of them.
var (
	// ErrRecordShort means that the bytes end before the record does. More bytes may complete it.
	ErrRecordShort = errors.New("record is incomplete")
	// ErrRecordBad means that the bytes are not a record of this format, or exceed one of its bounds.
	ErrRecordBad = errors.New("record is malformed")
	// ErrRecordChain means that the record is well formed, but its position, epoch or checksum does not continue the log that it was
	// checked against.
	ErrRecordChain = errors.New("record does not continue the log")
)

// Header is the fixed part of a record. On disk and on the wire it is 48 bytes, little endian:
//
//	0 magic/version u16 | 2 type u8 | 3 flags u8 | 4 origin u16 | 6 reserved u16 | 8 payloadLen u32 | 12 count u32 |
//	16 epoch u64 | 24 first u64 | 32 unixMilli i64 | 40 reserved u32 | 44 chain u32
//
// Flags, Origin and the reserved fields are 0 in this version, and readers reject anything else. Giving one of them a
// meaning requires a new version.
type Header struct {
	Type  RecordType
	Flags uint8
	// Origin identifies the writing leader where several write. It is always 0 in this version.
	Origin uint16
	// PayloadLen is in bytes, at most MaxPayloadBytes.
	PayloadLen uint32
	// Count is the number of positions that this record covers, at least 1.
	Count uint32
	Epoch Epoch
	// First is the position of the first entry, at least 1.
	First Position
	// UnixMilli is the leader's time when it sealed the record. It does not go back within a log, except at the barrier of
	// a leader that had not applied everything before it.
	UnixMilli int64
	// Chain is crc32c(previous chain as 4 bytes ‖ this header with chain 0 ‖ payload).
	Chain Chain
}

// Size returns the size of the whole record in bytes.
func (h *Header) Size() int { return HeaderSize + int(h.PayloadLen) }

// Last returns the position of the record's last entry.
func (h *Header) Last() Position { return h.First + Position(h.Count) - 1 }

// Mark returns the mark of the log up to and including this record.
func (h *Header) Mark() Mark { return Mark{Epoch: h.Epoch, Position: h.Last(), Chain: h.Chain} }

// check rejects a header that exceeds a bound of the format.
func (h *Header) check() error {
	switch {
	case h.Type != RecordData && h.Type != RecordBarrier:
		return fmt.Errorf("%w: unknown %v", ErrRecordBad, h.Type)
	case h.Flags != 0 || h.Origin != 0:
		return fmt.Errorf("%w: flags %#x and origin %d must be 0", ErrRecordBad, h.Flags, h.Origin)
	case h.PayloadLen > MaxPayloadBytes:
		return fmt.Errorf("%w: payload of %d bytes exceeds %d", ErrRecordBad, h.PayloadLen, MaxPayloadBytes)
	case h.Count == 0:
		return fmt.Errorf("%w: count is 0", ErrRecordBad)
	case h.Epoch == 0 || h.First == 0:
		return fmt.Errorf("%w: epoch %d and first position %d must be above 0", ErrRecordBad, h.Epoch, h.First)
	case uint64(h.First) > math.MaxUint64-uint64(h.Count):
		return fmt.Errorf("%w: positions %d+%d overflow", ErrRecordBad, h.First, h.Count)
	case h.Type == RecordBarrier && (h.Count != 1 || h.PayloadLen != 0):
		return fmt.Errorf("%w: barrier with count %d and a payload of %d bytes", ErrRecordBad, h.Count, h.PayloadLen)
	case h.Type == RecordData && h.Count > h.PayloadLen:
		return fmt.Errorf("%w: %d entries in a payload of %d bytes", ErrRecordBad, h.Count, h.PayloadLen)
	default:
		return nil
	}
}

func (h *Header) put(b []byte) {
	_ = b[HeaderSize-1]
	binary.LittleEndian.PutUint16(b[0:], RecordMagic)
	b[2], b[3] = byte(h.Type), h.Flags
	binary.LittleEndian.PutUint16(b[4:], h.Origin)
	binary.LittleEndian.PutUint16(b[6:], 0)
	binary.LittleEndian.PutUint32(b[8:], h.PayloadLen)
	binary.LittleEndian.PutUint32(b[12:], h.Count)
	binary.LittleEndian.PutUint64(b[16:], uint64(h.Epoch))
	binary.LittleEndian.PutUint64(b[24:], uint64(h.First))
	binary.LittleEndian.PutUint64(b[32:], uint64(h.UnixMilli))
	binary.LittleEndian.PutUint32(b[40:], 0)
	binary.LittleEndian.PutUint32(b[44:], uint32(h.Chain))
}

// DecodeHeader reads and checks the header at the start of b, which may be longer. It does not check the chain.
func DecodeHeader(b []byte) (Header, error) {
	if len(b) < HeaderSize {
		return Header{}, fmt.Errorf("%w: %d of %d header bytes", ErrRecordShort, len(b), HeaderSize)
	}
	if m := binary.LittleEndian.Uint16(b); m != RecordMagic {
		return Header{}, fmt.Errorf("%w: magic %#04x, want %#04x", ErrRecordBad, m, RecordMagic)
	}
	if binary.LittleEndian.Uint16(b[6:]) != 0 || binary.LittleEndian.Uint32(b[40:]) != 0 {
		return Header{}, fmt.Errorf("%w: reserved fields are not 0", ErrRecordBad)
	}
	h := Header{
		Type:       RecordType(b[2]),
		Flags:      b[3],
		Origin:     binary.LittleEndian.Uint16(b[4:]),
		PayloadLen: binary.LittleEndian.Uint32(b[8:]),
		Count:      binary.LittleEndian.Uint32(b[12:]),
		Epoch:      Epoch(binary.LittleEndian.Uint64(b[16:])),
		First:      Position(binary.LittleEndian.Uint64(b[24:])),
		UnixMilli:  int64(binary.LittleEndian.Uint64(b[32:])),
		Chain:      Chain(binary.LittleEndian.Uint32(b[44:])),
	}
	if err := h.check(); err != nil {
		return Header{}, err
	}
	return h, nil
}

// Record is one sealed batch of entries of one epoch: the unit in which the log is written, shipped and checked. It is
// byte-identical on every member. A Record is immutable once made; its Raw is shared by everyone who holds it and must not
// be modified.
type Record struct {
	Header
	// Raw is the whole record, header included.
	Raw []byte
}

// Payload returns the part of Raw after the header.
func (r *Record) Payload() []byte { return r.Raw[HeaderSize:] }

// DecodeRecord reads the record at the start of b and checks its header and entries, but not its chain. The record's Raw
// aliases b; rest is what follows the record.
func DecodeRecord(b []byte) (r Record, rest []byte, err error) {
	h, err := DecodeHeader(b)
	if err != nil {
		return Record{}, b, err
	}
	n := h.Size()
	if len(b) < n {
		return Record{}, b, fmt.Errorf("%w: %d of %d bytes", ErrRecordShort, len(b), n)
	}
	r = Record{Header: h, Raw: b[:n:n]}
	if err := r.checkEntries(); err != nil {
		return Record{}, b, err
	}
	return r, b[n:], nil
}

// Verify checks that r is exactly what was sealed to follow a log that ends in prev: its checksum matches, and its entries
// fill the payload. A verified record is safe to append and to apply.
func (r *Record) Verify(prev Chain) error {
	if len(r.Raw) != r.Size() {
		return fmt.Errorf("%w: %d raw bytes for a record of %d", ErrRecordBad, len(r.Raw), r.Size())
	}
	if got := chainOf(prev, r.Raw); got != r.Chain {
		return fmt.Errorf("%w: epoch %d position %d: checksum %08x after chain %08x, want %08x",
			ErrRecordChain, r.Epoch, r.First, got, prev, r.Chain)
	}
	return r.checkEntries()
}

// Follows checks the position, epoch and checksum of r: it must be the next record of a log that ends in last.
func (r *Record) Follows(last Mark) error {
	if r.First != last.Position+1 {
		return fmt.Errorf("%w: it starts at position %d, the log ends at %d", ErrRecordChain, r.First, last.Position)
	}
	if r.Epoch < last.Epoch {
		return fmt.Errorf("%w: its epoch %d is below the log's %d", ErrRecordChain, r.Epoch, last.Epoch)
	}
	return r.Verify(last.Chain)
}

func (r *Record) checkEntries() error {
	if r.Type != RecordData {
		return nil
	}
	p, n := r.Payload(), uint32(0)
	for len(p) > 0 {
		size, w := binary.Uvarint(p)
		if w <= 0 || size > uint64(len(p)-w) {
			return fmt.Errorf("%w: entry %d of %d runs over the payload", ErrRecordBad, n, r.Count)
		}
		p, n = p[w+int(size):], n+1
	}
	if n != r.Count {
		return fmt.Errorf("%w: %d entries in the payload, header says %d", ErrRecordBad, n, r.Count)
	}
	return nil
}

// Entries yields the index and bytes of each entry; entry i has position First+i. A barrier has none. The bytes alias Raw.
// The record must have been decoded or verified: on a malformed record the sequence ends early.
func (r *Record) Entries() iter.Seq2[int, []byte] {
	return func(yield func(int, []byte) bool) {
		p := r.Payload()
		for i := 0; len(p) > 0; i++ {
			size, w := binary.Uvarint(p)
			if w <= 0 || size > uint64(len(p)-w) {
				return
			}
			end := w + int(size)
			if !yield(i, p[w:end:end]) {
				return
			}
			p = p[end:]
		}
	}
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// chainOf computes the chain of the record raw after prev. It feeds the four bytes of prev and the four of the zeroed chain
// field through the table by hand: as slices of a local array they would be heap allocations on the hot path.
func chainOf(prev Chain, raw []byte) Chain {
	c := ^uint32(0)
	for p, i := uint32(prev), 0; i < 4; p, i = p>>8, i+1 {
		c = castagnoli[byte(c)^byte(p)] ^ c>>8
	}
	c = ^crc32.Update(^c, castagnoli, raw[:HeaderSize-4])
	for range 4 {
		c = castagnoli[byte(c)] ^ c>>8
	}
	return Chain(crc32.Update(^c, castagnoli, raw[HeaderSize:]))
}
