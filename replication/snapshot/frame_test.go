package snapshot

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"testing"
)

type duplex struct {
	io.Reader
	io.Writer
}

func encodeFrame(tb testing.TB, t frameType, payload []byte) []byte {
	tb.Helper()
	var b bytes.Buffer
	f := framer{rw: duplex{nil, &b}}
	if err := f.write(t, payload); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

func TestFrameBounds(t *testing.T) {
	good := encodeFrame(t, frameChunk, make([]byte, 100))
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 0x40
		f := framer{rw: duplex{bytes.NewReader(bad), nil}}
		if _, _, err := f.read(); !errors.Is(err, ErrFrame) {
			t.Fatalf("byte %d changed and nobody noticed", i)
		}
	}
	f := framer{rw: duplex{nil, io.Discard}}
	if err := f.write(frameChunk, make([]byte, maxChunkFrame+1)); !errors.Is(err, ErrFrame) {
		t.Fatal(err)
	}
	if err := f.write(frameType(9), nil); !errors.Is(err, ErrFrame) {
		t.Fatal(err)
	}
	// What follows a frame stays on the connection.
	r := bytes.NewReader(append(bytes.Clone(good), "rest"...))
	f = framer{rw: duplex{r, nil}}
	if _, _, err := f.read(); err != nil || r.Len() != 4 {
		t.Fatalf("%d bytes left, %v", r.Len(), err)
	}
}

// A claimed length, without the bytes, must not cost memory.
func TestFrameLengthIsNotTrusted(t *testing.T) {
	head := []byte{frameVersion, byte(frameManifest), 0, 0, 0, 0, 0, 4} // 64 MiB
	head = binary.LittleEndian.AppendUint32(head, crc32.Checksum(head, castagnoli))
	head = append(head, 0, 0, 0, 0)
	f := framer{rw: duplex{bytes.NewReader(head), nil}}
	if _, _, err := f.read(); !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	if cap(f.in) > maxChunkFrame {
		t.Fatalf("%d bytes were set aside", cap(f.in))
	}
}

func FuzzFrames(f *testing.F) {
	f.Add(encodeFrame(f, frameRequest, []byte(`{"store":"orders"}`)))
	f.Add(encodeFrame(f, frameManifest, []byte(`{"version":1,"id":"a","mark":{"epoch":1,"position":2},"epochs":[{"epoch":1,"start":1}],"files":[{"name":"x","size":3}],"total":3}`)))
	f.Add(encodeFrame(f, frameHave, []byte(`{"id":"a","bytes":[-1,2]}`)))
	f.Add(encodeFrame(f, frameChunk, append(chunk{1, 2, nil}.head(), "data"...)))
	f.Add(encodeFrame(f, frameFileEnd, fileEnd{1, 2, make([]byte, digestSize)}.encode()))
	f.Add(encodeFrame(f, frameDone, nil))
	f.Fuzz(func(t *testing.T, data []byte) {
		fr := framer{rw: duplex{bytes.NewReader(data), nil}}
		kind, payload, err := fr.read()
		if err != nil {
			return
		}
		fuzzPayload(t, kind, payload)
	})
}

// FuzzPayloads reaches the parsers behind the checksum.
func FuzzPayloads(f *testing.F) {
	f.Add(byte(frameManifest), []byte(`{"version":1,"id":"a","mark":{"epoch":1,"position":2},"epochs":[{"epoch":1,"start":1}],"files":[{"name":"x","size":3}],"total":3}`))
	f.Add(byte(frameHave), []byte(`{"id":"a","bytes":[-1,2]}`))
	f.Add(byte(frameChunk), append(chunk{1, 2, nil}.head(), "data"...))
	f.Add(byte(frameFileEnd), fileEnd{1, 2, make([]byte, digestSize)}.encode())
	f.Fuzz(func(t *testing.T, kind byte, payload []byte) { fuzzPayload(t, frameType(kind), payload) })
}

func fuzzPayload(t *testing.T, kind frameType, payload []byte) {
	switch kind {
	case frameManifest:
		m, err := decodeManifest(payload)
		if err != nil {
			return
		}
		var total int64
		for _, file := range m.Files {
			if file.Size < 0 || file.Name == "" || bytes.ContainsAny([]byte(file.Name), "/\\\x00") || file.Name[0] == '.' {
				t.Fatalf("passed %+v", file)
			}
			total += file.Size
		}
		if total != m.Total || m.Mark.Position == 0 || m.Epochs.Check() != nil {
			t.Fatalf("passed %+v", m)
		}
	case frameHave:
		m := Manifest{ID: "a", Files: []File{{"x", 1}, {"y", 9}}}
		if has, err := decodeHave(payload, &m); err == nil && (len(has) != 2 || has[0] > 1 || has[1] > 9 || has[0] < -1 || has[1] < -1) {
			t.Fatalf("passed %v", has)
		}
	case frameChunk:
		if c, err := decodeChunk(payload); err == nil && !bytes.Equal(append(c.head(), c.data...), payload) {
			t.Fatalf("passed %+v", c)
		}
	case frameFileEnd:
		if e, err := decodeFileEnd(payload); err == nil && !bytes.Equal(e.encode(), payload) {
			t.Fatalf("passed %+v", e)
		}
	}
}
