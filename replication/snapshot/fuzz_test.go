package snapshot

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/durable"
)

// script makes frames of arbitrary bytes from a sequence of: type u8, length u16, payload. Their checksums are correct, so
// that the code behind them is reached.
func script(tb testing.TB, data []byte) *bytes.Buffer {
	var out bytes.Buffer
	f := framer{rw: duplex{nil, &out}}
	for len(data) >= 3 {
		n := min(int(binary.LittleEndian.Uint16(data[1:])), len(data)-3)
		if kind := frameType(data[0]); n <= kind.limit() {
			if err := f.write(kind, data[3:3+n]); err != nil {
				tb.Fatal(err)
			}
		}
		data = data[3+n:]
	}
	return &out
}

func step(kind frameType, payload []byte) []byte {
	return append(binary.LittleEndian.AppendUint16([]byte{byte(kind)}, uint16(len(payload))), payload...)
}

const tinyManifest = `{"version":1,"id":"a","store":"orders","mark":{"epoch":1,"position":2},"epochs":[{"epoch":1,"start":1}],` +
	`"files":[{"name":"x","size":3},{"name":"y","size":0}],"total":3}`

// FuzzReceive runs two conversations on one directory with a source that sends anything. The receiver must write nowhere
// but into the seed's directory, and must not count anything as received that does not add up.
func FuzzReceive(f *testing.F) {
	digestOf := func(data string) []byte {
		h, err := hashPrefix(strings.NewReader(data), int64(len(data)))
		if err != nil {
			f.Fatal(err)
		}
		return h.Sum(nil)
	}
	manifest := step(frameManifest, []byte(tinyManifest))
	x := append(step(frameChunk, append(chunk{0, 0, nil}.head(), "abc"...)), step(frameFileEnd, fileEnd{0, 3, digestOf("abc")}.encode())...)
	y := step(frameFileEnd, fileEnd{1, 0, digestOf("")}.encode())
	f.Add(bytes.Join([][]byte{manifest, x, y}, nil), []byte{})
	f.Add(bytes.Join([][]byte{manifest, x}, nil), bytes.Join([][]byte{manifest, y}, nil))
	f.Add(bytes.Join([][]byte{manifest, x[:len(x)-1], y}, nil), manifest)
	f.Add(step(frameRefuse, []byte("no")), bytes.Replace(manifest, []byte(`"x"`), []byte(`"/"`), 1))
	f.Fuzz(func(t *testing.T, first, second []byte) {
		fs := vfs.NewMem()
		store := openMeta(t, fs)
		was := tree(t, fs, "")
		for _, data := range [][]byte{first, second} {
			m, err := Receive(context.Background(), duplex{script(t, data), io.Discard}, receiveOptions(fs, store))
			for path := range tree(t, fs, "") {
				if !was[path] && !strings.HasPrefix(path, "/data/state-2") {
					t.Fatalf("wrote %s", path)
				}
			}
			if err != nil {
				continue
			}
			if err := m.Check(); err != nil {
				t.Fatalf("received %+v: %v", m, err)
			}
			if err := Install(fs, store, m, smallLog); err != nil {
				t.Fatalf("received, but it cannot be installed: %v", err)
			}
			return
		}
		if g := store.State().Generation; g != 1 {
			t.Fatalf("generation %d is current though nothing was received", g)
		}
	})
}

// tree lists every file and directory below dir.
func tree(t *testing.T, fs vfs.FS, dir string) map[string]bool {
	out := map[string]bool{}
	names, err := fs.List(dir + "/")
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		path := dir + "/" + n
		out[path] = true
		info, err := fs.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.IsDir() {
			for p := range tree(t, fs, path) {
				out[p] = true
			}
		}
	}
	return out
}

// FuzzServe runs a receiver that says anything: the source must answer in frames or refuse, and return.
func FuzzServe(f *testing.F) {
	request := step(frameRequest, []byte(`{"store":"orders","id":"a"}`))
	f.Add(bytes.Join([][]byte{request, step(frameHave, []byte(`{"id":"a","bytes":[0,-1]}`)), step(frameDone, nil)}, nil))
	f.Add(append(request, step(frameHave, []byte(`{"id":"a","bytes":[3,1]}`))...))
	f.Add(step(frameRequest, []byte(`{"store":"other"}`)))
	f.Fuzz(func(t *testing.T, data []byte) {
		fs := vfs.NewMem()
		src, err := NewSource(SourceOptions{
			FS: fs, Dir: "checkpoints", Store: "orders", Now: func() time.Time { return time.Unix(0, 0) },
			Pin:  func(replication.Position) func() { return func() {} },
			Hold: func() func() { return func() {} },
			Checkpoint: func(dir string) (replication.Mark, replication.EpochTable, error) {
				err := errors.Join(durable.MkdirAll(fs, dir), durable.WriteFile(fs, dir, "x", []byte("abc")), durable.WriteFile(fs, dir, "y", []byte("de")))
				return replication.Mark{Epoch: 1, Position: 2}, replication.EpochTable{{Epoch: 1, Start: 1}}, err
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		c, err := src.acquire("", 0)
		if err != nil {
			t.Fatal(err)
		}
		c.manifest.ID = "a" // a name that the script can know
		src.done(c, false)
		var said bytes.Buffer
		err = src.Serve(context.Background(), duplex{script(t, data), &said})
		for out := (framer{rw: duplex{&said, nil}}); ; {
			kind, _, readErr := out.read()
			if errors.Is(readErr, io.EOF) || errors.Is(readErr, ErrRefused) && err != nil {
				break
			}
			if readErr != nil || kind == frameRequest || kind == frameHave || kind == frameDone {
				t.Fatalf("the source said %v (%v) and ended with %v", kind, readErr, err)
			}
		}
		if c.users != 0 {
			t.Fatalf("%d users after the conversation", c.users)
		}
		if err := src.Close(); err != nil {
			t.Fatal(err)
		}
	})
}
