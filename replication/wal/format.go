package wal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"iter"
	"strconv"
	"strings"

	"github.com/replicatedstore/replicatedstore/replication"
)

const (
	segmentMagic   = "RSLOGSEG"
	segmentVersion = 1
	reusedVersion  = 2 // a segment in a reused file; an older program would take the leftovers in it for damage
	segmentSuffix  = ".log"

	headerFixed   = 80   // bytes before the epoch table
	headerAlign   = 4096 // a header's length is a multiple of this
	settledSize   = noteSize
	maxEpochs     = 1 << 16 // bound of the epoch table in a header; older entries are dropped
	maxHeaderSize = (headerFixed + maxEpochs*16 + 4 + settledSize + headerAlign - 1) / headerAlign * headerAlign

	noteMagic uint32 = 'N' | 'O'<<8 | 'T'<<16 | 'E'<<24
	noteSize         = 32
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var (
	errHeader  = errors.New("segment header is bad")
	errVersion = errors.New("unknown format version")
)

// segmentHeader opens every segment. It is little endian:
//
//	0 magic [8] | 8 version u32 (2: reused) | 12 length u32 | 16 salt u64 | 24 seq u64 | 32 flags u32 | 36 epochs u32 |
//	40 base epoch u64 | 48 base position u64 | 56 base chain u32 | 60 reserved u32 | 64 before u64 | 72 reserved u64 |
//	80 table (epoch u64, start u64)... | crc32c u32 of everything before | zeros | settled note at length-32
type segmentHeader struct {
	length int64
	// salt is a random number that only the notes of this segment carry.
	salt uint64
	// seq grows with every segment made, so it orders segments by age; their names order them by position.
	seq uint64
	// start means that nothing precedes this segment. The log began here or was reset to here.
	start bool
	// reused means that the file was another segment of this log before, and still holds its contents.
	reused bool
	// base is the mark that the first record continues.
	base replication.Mark
	// before is the base position of the preceding segment; meaningless with start.
	before replication.Position
	epochs replication.EpochTable
}

const flagStart = 1

// headerLength returns the length of a header that holds n epochs.
func headerLength(n int) int64 {
	used := int64(headerFixed + n*16 + 4 + settledSize)
	return (used + headerAlign - 1) / headerAlign * headerAlign
}

// encode returns the header with the settled note's place left zero.
func (h *segmentHeader) encode() []byte {
	le, b := binary.LittleEndian, make([]byte, h.length)
	copy(b, segmentMagic)
	le.PutUint32(b[8:], segmentVersion)
	if h.reused {
		le.PutUint32(b[8:], reusedVersion)
	}
	le.PutUint32(b[12:], uint32(h.length))
	le.PutUint64(b[16:], h.salt)
	le.PutUint64(b[24:], h.seq)
	if h.start {
		le.PutUint32(b[32:], flagStart)
	}
	le.PutUint32(b[36:], uint32(len(h.epochs)))
	le.PutUint64(b[40:], uint64(h.base.Epoch))
	le.PutUint64(b[48:], uint64(h.base.Position))
	le.PutUint32(b[56:], uint32(h.base.Chain))
	le.PutUint64(b[64:], uint64(h.before))
	at := headerFixed
	for _, e := range h.epochs {
		le.PutUint64(b[at:], uint64(e.Epoch))
		le.PutUint64(b[at+8:], uint64(e.Start))
		at += 16
	}
	le.PutUint32(b[at:], crc32.Checksum(b[:at], castagnoli))
	return b
}

// headerLengthOf reads the length that the first bytes of a segment claim for its header.
func headerLengthOf(b []byte) (int64, error) {
	if len(b) < headerFixed || string(b[:8]) != segmentMagic {
		return 0, fmt.Errorf("%w: no segment magic", errHeader)
	}
	if v := binary.LittleEndian.Uint32(b[8:]); v != segmentVersion && v != reusedVersion {
		return 0, fmt.Errorf("%w: %w %d, this program reads up to %d", errHeader, errVersion, v, reusedVersion)
	}
	n := int64(binary.LittleEndian.Uint32(b[12:]))
	if n%headerAlign != 0 || n <= 0 || n > maxHeaderSize {
		return 0, fmt.Errorf("%w: length %d", errHeader, n)
	}
	return n, nil
}

func decodeHeader(b []byte) (segmentHeader, error) {
	n, err := headerLengthOf(b)
	if err != nil {
		return segmentHeader{}, err
	}
	le := binary.LittleEndian
	count := int(le.Uint32(b[36:]))
	if int64(len(b)) < n || count > maxEpochs || headerLength(count) != n {
		return segmentHeader{}, fmt.Errorf("%w: %d epochs in %d of %d bytes", errHeader, count, len(b), n)
	}
	at := headerFixed + count*16
	if sum := crc32.Checksum(b[:at], castagnoli); sum != le.Uint32(b[at:]) {
		return segmentHeader{}, fmt.Errorf("%w: checksum %08x, want %08x", errHeader, sum, le.Uint32(b[at:]))
	}
	if le.Uint32(b[32:])&^flagStart != 0 || le.Uint32(b[60:]) != 0 || le.Uint64(b[72:]) != 0 {
		return segmentHeader{}, fmt.Errorf("%w: reserved fields are not 0", errHeader)
	}
	h := segmentHeader{
		length: n, salt: le.Uint64(b[16:]), seq: le.Uint64(b[24:]), start: le.Uint32(b[32:])&flagStart != 0,
		reused: le.Uint32(b[8:]) == reusedVersion,
		base: replication.Mark{
			Epoch:    replication.Epoch(le.Uint64(b[40:])),
			Position: replication.Position(le.Uint64(b[48:])),
			Chain:    replication.Chain(le.Uint32(b[56:])),
		},
		before: replication.Position(le.Uint64(b[64:])),
	}
	for i := range count {
		o := headerFixed + i*16
		h.epochs = append(h.epochs, replication.EpochStart{
			Epoch: replication.Epoch(le.Uint64(b[o:])), Start: replication.Position(le.Uint64(b[o+8:])),
		})
	}
	if err := h.epochs.Check(); err != nil {
		return segmentHeader{}, fmt.Errorf("%w: %w", errHeader, err)
	}
	return h, nil
}

type noteKind uint32

const (
	noteSynced  noteKind = 1 // everything before offset was fsynced
	noteClosed  noteKind = 2 // the same, and the log was closed in order after that
	noteSettled noteKind = 3 // in the header: the segments before it and the header itself are durable
)

// note is 32 bytes, little endian: magic u32 | kind u32 | salt u64 | offset u64 | reserved u32 | crc32c u32 of the rest.
type note struct {
	kind   noteKind
	salt   uint64
	offset int64
}

func (n note) appendTo(b []byte) []byte {
	le, at := binary.LittleEndian, len(b)
	b = le.AppendUint32(b, noteMagic)
	b = le.AppendUint32(b, uint32(n.kind))
	b = le.AppendUint64(b, n.salt)
	b = le.AppendUint64(b, uint64(n.offset))
	b = le.AppendUint32(b, 0)
	return le.AppendUint32(b, crc32.Checksum(b[at:], castagnoli))
}

func decodeNote(b []byte) (note, bool) {
	le := binary.LittleEndian
	if len(b) < noteSize || le.Uint32(b) != noteMagic || le.Uint32(b[noteSize-4:]) != crc32.Checksum(b[:noteSize-4], castagnoli) {
		return note{}, false
	}
	return note{kind: noteKind(le.Uint32(b[4:])), salt: le.Uint64(b[8:]), offset: int64(le.Uint64(b[16:]))}, true
}

// findNote returns the first note in b that keep accepts. It looks at every offset, because nothing is aligned after
// damage.
func findNote(b []byte, keep func(note) bool) (note, bool) {
	for i := range indexes(b, binary.LittleEndian.AppendUint32(nil, noteMagic)) {
		if n, ok := decodeNote(b[i:]); ok && keep(n) {
			return n, true
		}
	}
	return note{}, false
}

// indexes yields every offset in b at which what occurs.
func indexes(b, what []byte) iter.Seq[int] {
	return func(yield func(int) bool) {
		for at := 0; ; at++ {
			i := bytes.Index(b[at:], what)
			if i < 0 {
				return
			}
			if at += i; !yield(at) {
				return
			}
		}
	}
}

func segmentName(base replication.Position) string {
	return fmt.Sprintf("%020d%s", base+1, segmentSuffix)
}

// parseSegmentName returns the base position of a segment from its name.
func parseSegmentName(name string) (replication.Position, bool) {
	digits, ok := strings.CutSuffix(name, segmentSuffix)
	first, err := strconv.ParseUint(digits, 10, 64)
	if !ok || err != nil || len(digits) != 20 || first == 0 {
		return 0, false
	}
	return replication.Position(first - 1), true
}
