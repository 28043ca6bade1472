package wire

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/replicatedstore/replicatedstore/replication"
)

// Preface opens every peer connection, before the first frame. Its last byte is the version of the protocol.
const Preface = "RSTORE-PEER\x03"

// FrameType says what a frame carries.
type FrameType uint8

const (
	FrameHello      FrameType = 1 // follower -> leader: replication.Hello as JSON
	FrameHelloReply FrameType = 2 // leader -> follower: replication.HelloReply as JSON
	FrameAppend     FrameType = 3 // leader -> follower: replication.Append
	FrameAck        FrameType = 4 // follower -> leader: replication.Ack
	FrameDeaf       FrameType = 5 // leader -> follower: replication.Append that is Deaf
)

func (t FrameType) String() string {
	switch t {
	case FrameHello:
		return "hello"
	case FrameHelloReply:
		return "hello-reply"
	case FrameAppend:
		return "append"
	case FrameAck:
		return "ack"
	case FrameDeaf:
		return "deaf"
	default:
		return fmt.Sprintf("frame-%d", uint8(t))
	}
}

// A frame is, little endian: length u32 (of what follows the crc) | crc32c u32 | type u8 | body. The crc covers length,
// type and body, except for an Append's records: those carry their own chain checksums all the way to the disk. It covers
// the length because a wrong one must be an error, and not make the reader wait for bytes that heartbeats deliver slowly.
const (
	frameHeader = 9
	appendHead  = 32
	ackBody     = 32
	// MaxControlFrame bounds JSON frames, in bytes.
	MaxControlFrame = 64 << 10
	// MaxAppendFrame bounds an Append in bytes: a batch of records, or one record of the largest size.
	MaxAppendFrame = appendHead + replication.MaxRecordBytes + (4 << 20)
	// trusted is how many bytes a reader allocates for a frame on the strength of its header alone. The rest is allocated
	// as it arrives.
	trusted = 1 << 20
)

// ErrFrame is wrapped by every error about bytes that are not a valid frame.
var ErrFrame = errors.New("bad frame")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// AppendHeader appends the frame header and the head of an Append to dst. The records' Raw bytes must follow it, unchanged
// and in order.
func AppendHeader(dst []byte, a replication.Append) []byte {
	body := 0
	for _, r := range a.Records {
		body += len(r.Raw)
	}
	start := len(dst)
	dst = append(dst, make([]byte, frameHeader)...)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(a.Epoch))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(a.Commit))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(a.Sent))
	dst = binary.LittleEndian.AppendUint64(dst, a.Version)
	kind := FrameAppend
	if a.Deaf {
		kind = FrameDeaf
	}
	seal(dst[start:], kind, 1+appendHead+body)
	return dst
}

// AppendAck appends the frame of an Ack to dst.
func AppendAck(dst []byte, a replication.Ack) []byte {
	start := len(dst)
	dst = append(dst, make([]byte, frameHeader)...)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(a.Epoch))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(a.Durable))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(a.Applied))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(a.Sent))
	seal(dst[start:], FrameAck, 1+ackBody)
	return dst
}

// AppendJSON appends the frame of a JSON message to dst.
func AppendJSON(dst []byte, t FrameType, msg any) ([]byte, error) {
	body, err := json.Marshal(msg)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", t, err)
	}
	start := len(dst)
	dst = append(dst, make([]byte, frameHeader)...)
	dst = append(dst, body...)
	seal(dst[start:], t, 1+len(body))
	return dst, nil
}

// seal fills in the header of frame. The crc covers the bytes that frame holds.
func seal(frame []byte, t FrameType, length int) {
	frame[8] = byte(t)
	binary.LittleEndian.PutUint32(frame, uint32(length))
	binary.LittleEndian.PutUint32(frame[4:], checksum(frame[:frameHeader], frame[frameHeader:]))
}

// checksum returns the crc of a frame: of its length, its type and the covered part of its body.
func checksum(header, covered []byte) uint32 {
	c := crc32.Checksum(header[:4], castagnoli)
	c = crc32.Update(c, castagnoli, header[8:frameHeader])
	return crc32.Update(c, castagnoli, covered)
}

// Frame is one decoded frame. The caller of ReadFrame owns Body.
type Frame struct {
	Type FrameType
	Body []byte
}

// ReadFrame reads one frame. It returns io.EOF if the other side closed between frames.
func ReadFrame(r *bufio.Reader) (Frame, error) {
	var h [frameHeader]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return Frame{}, err
	}
	length, crc, t := binary.LittleEndian.Uint32(h[:]), binary.LittleEndian.Uint32(h[4:]), FrameType(h[8])
	limit, covered := MaxControlFrame, int(length)-1
	if t == FrameAppend {
		limit, covered = MaxAppendFrame, appendHead
	}
	if length < 1 || int64(length) > int64(limit) || covered > int(length)-1 {
		return Frame{}, fmt.Errorf("%w: %s of %d bytes", ErrFrame, t, length)
	}
	n := int(length) - 1
	body := make([]byte, min(n, trusted))
	if _, err := io.ReadFull(r, body[:covered]); err != nil {
		return Frame{}, fmt.Errorf("read %s of %d bytes: %w", t, length, noEOF(err))
	}
	// Verify before waiting for the rest.
	if got := checksum(h[:], body[:covered]); got != crc {
		return Frame{}, fmt.Errorf("%w: checksum of %s is %08x, not %08x", ErrFrame, t, got, crc)
	}
	body, err := readRest(r, body, covered, n)
	if err != nil {
		return Frame{}, fmt.Errorf("read %s of %d bytes: %w", t, length, noEOF(err))
	}
	return Frame{Type: t, Body: body}, nil
}

// readRest reads body[at:] and then grows body in increasing steps until it holds n bytes.
func readRest(r io.Reader, body []byte, at, n int) ([]byte, error) {
	for {
		if _, err := io.ReadFull(r, body[at:]); err != nil {
			return nil, err
		}
		if at = len(body); at == n {
			return body, nil
		}
		grown := make([]byte, min(n, 4*at))
		copy(grown, body)
		body = grown
	}
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// Append decodes an Append. Its records alias the frame's body, and are not yet verified against the chain.
func (f Frame) Append() (replication.Append, error) {
	deaf := f.Type == FrameDeaf && len(f.Body) == appendHead
	if !deaf && (f.Type != FrameAppend || len(f.Body) < appendHead) {
		return replication.Append{}, fmt.Errorf("%w: %s where an append was due", ErrFrame, f.Type)
	}
	le := binary.LittleEndian
	a := replication.Append{
		Epoch:  replication.Epoch(le.Uint64(f.Body)),
		Commit: replication.Position(le.Uint64(f.Body[8:])),
		Sent:   int64(le.Uint64(f.Body[16:])),
		Deaf:   deaf, Version: le.Uint64(f.Body[24:]),
	}
	for rest := f.Body[appendHead:]; len(rest) > 0; {
		var rec replication.Record
		var err error
		if rec, rest, err = replication.DecodeRecord(rest); err != nil {
			return replication.Append{}, fmt.Errorf("%w: record in append: %w", ErrFrame, err)
		}
		a.Records = append(a.Records, rec)
	}
	return a, nil
}

// Ack decodes an Ack.
func (f Frame) Ack() (replication.Ack, error) {
	if f.Type != FrameAck || len(f.Body) != ackBody {
		return replication.Ack{}, fmt.Errorf("%w: %s of %d bytes where an ack was due", ErrFrame, f.Type, len(f.Body))
	}
	le := binary.LittleEndian
	return replication.Ack{
		Epoch:   replication.Epoch(le.Uint64(f.Body)),
		Durable: replication.Position(le.Uint64(f.Body[8:])),
		Applied: replication.Position(le.Uint64(f.Body[16:])),
		Sent:    int64(le.Uint64(f.Body[24:])),
	}, nil
}

// JSON decodes a JSON message into msg.
func (f Frame) JSON(t FrameType, msg any) error {
	if f.Type != t {
		return fmt.Errorf("%w: %s where %s was due", ErrFrame, f.Type, t)
	}
	if err := json.Unmarshal(f.Body, msg); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrFrame, t, err)
	}
	return nil
}
