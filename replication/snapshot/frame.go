package snapshot

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"time"

	"github.com/replicatedstore/replicatedstore/replication"
)

// A frame has a header of 16 bytes, little endian, and a payload:
//
//	version u8 | type u8 | reserved u16 | payload length u32 | crc32c u32 of the 8 bytes before | crc32c u32 of the payload
//
// The header has its own checksum because a wrong length must be an error, and not make the reader wait for bytes that
// never come.
const (
	frameVersion = 1
	frameHead    = 16

	// ChunkBytes is the largest amount of data in a chunk.
	ChunkBytes    = 512 << 10
	chunkHead     = 12    // file u32 | offset u64
	fileEndSize   = 4 + 8 // file u32 | size u64, then the digest
	maxChunkFrame = chunkHead + ChunkBytes
	maxTextFrame  = 64 << 20 // fits a manifest of maxFiles
)

type frameType uint8

const (
	frameRequest  frameType = 1
	frameManifest frameType = 2
	frameHave     frameType = 3
	frameChunk    frameType = 4
	frameFileEnd  frameType = 5
	frameDone     frameType = 6
	frameRefuse   frameType = 7
	frameWait     frameType = 8
)

func (t frameType) String() string {
	switch t {
	case frameRequest:
		return "request"
	case frameManifest:
		return "manifest"
	case frameHave:
		return "have"
	case frameChunk:
		return "chunk"
	case frameFileEnd:
		return "file-end"
	case frameDone:
		return "done"
	case frameRefuse:
		return "refuse"
	case frameWait:
		return "wait"
	default:
		return fmt.Sprintf("frame type %d", uint8(t))
	}
}

// limit returns the largest payload of a frame of type t.
func (t frameType) limit() int {
	switch t {
	case frameRequest, frameRefuse:
		return 4 << 10
	case frameManifest, frameHave:
		return maxTextFrame
	case frameChunk:
		return maxChunkFrame
	case frameFileEnd:
		return fileEndSize + digestSize
	case frameDone, frameWait:
		return 0
	default:
		return -1
	}
}

// Errors of a conversation.
var (
	// ErrFrame means that the bytes on the connection are not a frame, or the frame is out of turn.
	ErrFrame = errors.New("bad snapshot frame")
	// ErrRefused means that the other side ended the conversation and said why.
	ErrRefused = errors.New("the other side refused")
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// framer reads and writes frames. It reads not a byte beyond a frame: what follows on the connection belongs to the caller.
type framer struct {
	rw      io.ReadWriter
	out, in []byte
}

// write sends one frame whose payload is the concatenation of parts.
func (f *framer) write(t frameType, parts ...[]byte) error {
	b := append(f.out[:0], make([]byte, frameHead)...)
	b[0], b[1] = frameVersion, byte(t)
	for _, p := range parts {
		b = append(b, p...)
	}
	f.out = b
	n := len(b) - frameHead
	if n > t.limit() {
		return fmt.Errorf("send %s: %w: %d bytes exceed %d", t, ErrFrame, n, t.limit())
	}
	binary.LittleEndian.PutUint32(b[4:], uint32(n))
	binary.LittleEndian.PutUint32(b[8:], crc32.Checksum(b[:8], castagnoli))
	binary.LittleEndian.PutUint32(b[12:], crc32.Checksum(b[frameHead:], castagnoli))
	if _, err := f.rw.Write(b); err != nil {
		return fmt.Errorf("send %s: %w", t, err)
	}
	return nil
}

// read returns the next frame. The payload is valid until the next read.
func (f *framer) read() (frameType, []byte, error) {
	var head [frameHead]byte
	if _, err := io.ReadFull(f.rw, head[:]); err != nil {
		return 0, nil, fmt.Errorf("receive frame: %w", err)
	}
	if crc32.Checksum(head[:8], castagnoli) != binary.LittleEndian.Uint32(head[8:]) {
		return 0, nil, fmt.Errorf("%w: checksum of the header", ErrFrame)
	}
	t, n := frameType(head[1]), int64(binary.LittleEndian.Uint32(head[4:]))
	if head[0] != frameVersion || head[2] != 0 || head[3] != 0 || n > int64(t.limit()) {
		return 0, nil, fmt.Errorf("%w: version %d, %s of %d bytes", ErrFrame, head[0], t, n)
	}
	payload, err := f.readPayload(int(n))
	if err != nil {
		return 0, nil, fmt.Errorf("receive %s: %w", t, err)
	}
	if crc32.Checksum(payload, castagnoli) != binary.LittleEndian.Uint32(head[12:]) {
		return 0, nil, fmt.Errorf("%w: checksum of %s", ErrFrame, t)
	}
	if t == frameRefuse {
		return 0, nil, fmt.Errorf("%w: %s", ErrRefused, payload)
	}
	return t, payload, nil
}

// readPayload grows the buffer as data arrives, so that a claimed length alone costs no memory.
func (f *framer) readPayload(n int) ([]byte, error) {
	f.in = f.in[:0]
	for len(f.in) < n {
		at := len(f.in)
		step := min(n-at, max(maxChunkFrame, at))
		if cap(f.in) < at+step {
			f.in = append(make([]byte, 0, at+step), f.in...)
		}
		f.in = f.in[:at+step]
		if _, err := io.ReadFull(f.rw, f.in[at:]); err != nil {
			return nil, err
		}
	}
	return f.in, nil
}

// Wait tells a receiver that its source is alive before the conversation has begun. Otherwise nothing is sent before the
// manifest, which may take long while seeds wait their turn.
func Wait(w io.Writer) error {
	f := framer{rw: struct {
		io.Reader
		io.Writer
	}{nil, w}}
	return f.write(frameWait)
}

// tell repeats Wait until stop is called or the time during has passed. Nothing else may be written before stop has
// returned. Errors are ignored: a broken connection shows later.
func (f *framer) tell(every, during time.Duration) (stop func()) {
	quit, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		t := time.NewTicker(every)
		defer t.Stop()
		late := time.NewTimer(during)
		defer late.Stop()
		for {
			select {
			case <-t.C:
				_ = Wait(f.rw)
			case <-late.C:
				return
			case <-quit:
				return
			}
		}
	}()
	return func() {
		close(quit)
		<-ended
	}
}

// manifest reads the source's answer to a request, skipping waits.
func (f *framer) manifest() (Manifest, error) {
	for {
		t, payload, err := f.read()
		switch {
		case err != nil:
			return Manifest{}, err
		case t == frameWait:
		case t != frameManifest:
			return Manifest{}, fmt.Errorf("%w: %s where %s was due", ErrFrame, t, frameManifest)
		default:
			return decodeManifest(payload)
		}
	}
}

// expect reads a frame of type want.
func (f *framer) expect(want frameType) ([]byte, error) {
	t, payload, err := f.read()
	if err == nil && t != want {
		err = fmt.Errorf("%w: %s where %s was due", ErrFrame, t, want)
	}
	return payload, err
}

func (f *framer) writeJSON(t frameType, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode %s: %w", t, err)
	}
	return f.write(t, data)
}

// refuse tells the other side why the conversation ends, and returns err. It is a courtesy: nothing changes if it does not
// arrive.
func (f *framer) refuse(err error) error {
	msg := err.Error()
	_ = f.write(frameRefuse, []byte(msg[:min(len(msg), frameRefuse.limit())]))
	return err
}

type request struct {
	Store string `json:"store"`
	// ID is that of the seed that the receiver has begun; "" if none.
	ID string `json:"id"`
	// Least is the position that the snapshot must reach.
	Least replication.Position `json:"least,omitempty"`
}

// have says how many bytes of each file of the manifest the receiver holds; -1 means complete and verified.
type have struct {
	ID    string  `json:"id"`
	Bytes []int64 `json:"bytes"`
}

const complete = -1

func decodeHave(data []byte, m *Manifest) ([]int64, error) {
	var h have
	if err := json.Unmarshal(data, &h); err != nil {
		return nil, fmt.Errorf("%w: have: %w", ErrFrame, err)
	}
	if h.ID != m.ID || len(h.Bytes) != len(m.Files) {
		return nil, fmt.Errorf("%w: have %d files of %q, the manifest %q has %d", ErrFrame, len(h.Bytes), h.ID, m.ID, len(m.Files))
	}
	for i, n := range h.Bytes {
		if n < complete || n > m.Files[i].Size {
			return nil, fmt.Errorf("%w: have %d of %d bytes of %s", ErrFrame, n, m.Files[i].Size, m.Files[i].Name)
		}
	}
	return h.Bytes, nil
}

// chunk is a piece of a file at an offset.
type chunk struct {
	file   uint32
	offset int64
	data   []byte
}

func (c chunk) head() []byte {
	return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint32(nil, c.file), uint64(c.offset))
}

func decodeChunk(b []byte) (chunk, error) {
	if len(b) <= chunkHead {
		return chunk{}, fmt.Errorf("%w: chunk of %d bytes", ErrFrame, len(b))
	}
	return chunk{binary.LittleEndian.Uint32(b), int64(binary.LittleEndian.Uint64(b[4:])), b[chunkHead:]}, nil
}

// fileEnd ends a file and carries the digest of the whole file.
type fileEnd struct {
	file   uint32
	size   int64
	digest []byte
}

func (e fileEnd) encode() []byte {
	b := binary.LittleEndian.AppendUint32(nil, e.file)
	return append(binary.LittleEndian.AppendUint64(b, uint64(e.size)), e.digest...)
}

func decodeFileEnd(b []byte) (fileEnd, error) {
	if len(b) != fileEndSize+digestSize {
		return fileEnd{}, fmt.Errorf("%w: file-end of %d bytes", ErrFrame, len(b))
	}
	return fileEnd{binary.LittleEndian.Uint32(b), int64(binary.LittleEndian.Uint64(b[4:])), b[fileEndSize:]}, nil
}
