package wal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/replicatedstore/replicatedstore/replication"
)

func writeFile(tb testing.TB, fs vfs.FS, path string, parts ...[]byte) {
	tb.Helper()
	f, err := fs.Create(path, "test")
	if err != nil {
		tb.Fatal(err)
	}
	for _, p := range parts {
		// vfs allows Write to modify what it is given.
		if _, err := f.Write(bytes.Clone(p)); err != nil {
			tb.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		tb.Fatal(err)
	}
}

// dirBytes returns the contents of the segments in dir.
func dirBytes(tb testing.TB, fs vfs.FS, dir string) map[string]string {
	tb.Helper()
	names, err := fs.List(dir)
	if err != nil {
		tb.Fatal(err)
	}
	out := map[string]string{}
	for _, n := range names {
		if _, ok := parseSegmentName(n); ok {
			f, err := fs.Open(fs.PathJoin(dir, n))
			if err != nil {
				tb.Fatal(err)
			}
			data, err := io.ReadAll(f)
			if err = errors.Join(err, f.Close()); err != nil {
				tb.Fatal(err)
			}
			out[n] = string(data)
		}
	}
	return out
}

// openAnything opens a log made of whatever bytes are in wal. Either it is refused with file, offset and advice, and left
// untouched; or every record in it verifies, and opening it again finds the same.
func openAnything(t *testing.T, fs *vfs.MemFS) {
	before := dirBytes(t, fs, "wal")
	l, _, err := Open(fs, "wal", Options{SegmentBytes: testSegment})
	if err != nil {
		refusedWell(t, err)
		if after := dirBytes(t, fs, "wal"); len(after) < len(before) {
			t.Fatalf("refused, and %d of %d files are left: %v", len(after), len(before), err)
		} else {
			for n := range before {
				if after[n] != before[n] {
					t.Fatalf("refused, and %s was changed: %v", n, err)
				}
			}
		}
		return
	}
	records, err := readSome(l)
	if err != nil && !errors.Is(err, ErrDamaged) {
		t.Fatal(err)
	}
	prev, _ := l.FindMark(l.First() - 1)
	for i := range records {
		if err := records[i].Follows(prev); err != nil {
			t.Fatal(err)
		}
		prev = records[i].Mark()
	}
	last, epochs := l.Last(), l.Epochs()
	if err := epochs.Check(); err != nil {
		t.Fatal(err)
	}
	closeLog(t, l)
	again, rep := mustOpen(t, fs, "wal", Options{})
	if again.Last() != last || rep.TornBytes != 0 {
		t.Fatalf("opened again it ends in %v, before that in %v: %+v", again.Last(), last, rep)
	}
	closeLog(t, again)
}

func refusedWell(t *testing.T, err error) {
	t.Helper()
	text := err.Error()
	if errors.Is(err, errVersion) && strings.Contains(text, ".log") {
		return
	}
	if !errors.Is(err, ErrDamaged) || !strings.Contains(text, ".log") ||
		!strings.Contains(text, "offset") && !strings.Contains(text, "missing") || !strings.Contains(text, "reseed") {
		t.Fatalf("the refusal does not say what, where and what to do: %v", err)
	}
}

// FuzzSegment opens a segment file of arbitrary bytes: head, zeros up to where records begin, and body.
func FuzzSegment(f *testing.F) {
	fs := vfs.NewMem()
	l, _ := mustOpen(f, fs, "wal", Options{Create: true})
	appendSome(f, l, 1, 2, 20)
	mustSync(f, l)
	appendSome(f, l, 2, 1, 20)
	data := []byte(dirBytes(f, fs, "wal")[segmentName(0)])
	closeLog(f, l)
	f.Add(data[:headerFixed+4], data[headerAlign:l.active().off+noteSize])
	f.Add(data[:headerFixed+4], data[headerAlign:l.active().off-1])
	f.Add(data[:headerFixed+3], []byte{})
	f.Fuzz(func(t *testing.T, head, body []byte) {
		fs := vfs.NewMem()
		if err := fs.MkdirAll("wal", 0o755); err != nil {
			t.Fatal(err)
		}
		pad := make([]byte, (headerAlign-len(head)%headerAlign)%headerAlign)
		writeFile(t, fs, fs.PathJoin("wal", segmentName(0)), head, pad, body)
		openAnything(t, fs)
	})
}

// FuzzSegments opens two segments with good headers and arbitrary bytes after them. The second continues what the first
// holds, or claims to; settled says whether it vouches for the first.
func FuzzSegments(f *testing.F) {
	one := dataAfter(f, replication.Mark{}, 1, 7, 20, 3)
	two := dataAfter(f, one.Mark(), 1, 8, 10)
	three := barrierAfter(f, two.Mark(), 2)
	synced := note{kind: noteSynced, salt: 1, offset: headerAlign + int64(len(one.Raw))}.appendTo(nil)
	f.Add(bytes.Join([][]byte{one.Raw, synced, two.Raw}, nil), three.Raw, true)
	f.Add(bytes.Join([][]byte{one.Raw, two.Raw}, nil), three.Raw, false)
	f.Add(bytes.Join([][]byte{one.Raw, synced, two.Raw[:30]}, nil), []byte{}, false)
	f.Add(bytes.Join([][]byte{one.Raw, make([]byte, len(two.Raw)), synced}, nil), []byte{}, true)
	f.Fuzz(func(t *testing.T, first, second []byte, settled bool) {
		fs := vfs.NewMem()
		if err := fs.MkdirAll("wal", 0o755); err != nil {
			t.Fatal(err)
		}
		h := segmentHeader{length: headerAlign, salt: 1, seq: 1, start: true}
		writeFile(t, fs, fs.PathJoin("wal", segmentName(0)), h.encode(), first, make([]byte, 2*noteSize))
		end, epochs := replication.Mark{}, replication.EpochTable(nil)
		for rest := first; ; {
			var r replication.Record
			var err error
			if r, rest, err = replication.DecodeRecord(rest); err != nil || r.Follows(end) != nil {
				break
			}
			end = r.Mark()
			if epochs, err = epochs.Append(r.Epoch, r.First); err != nil {
				t.Fatal(err)
			}
		}
		if end.Position > 0 && len(second) > 0 {
			h = segmentHeader{length: headerAlign, salt: 2, seq: 2, base: end, epochs: epochs}
			head := h.encode()
			if settled {
				head = note{kind: noteSettled, salt: 2, offset: h.length}.appendTo(head[:h.length-settledSize])
			}
			writeFile(t, fs, fs.PathJoin("wal", segmentName(end.Position)), head, second, make([]byte, 2*noteSize))
		}
		openAnything(t, fs)
	})
}

// FuzzSegmentHeader decodes headers, and the epoch tables in them, behind the checksum.
func FuzzSegmentHeader(f *testing.F) {
	for _, t := range []replication.EpochTable{nil, {{Epoch: 1, Start: 1}}, {{Epoch: 1, Start: 1}, {Epoch: 5, Start: 300}}} {
		h := segmentHeader{length: headerAlign, salt: 1, seq: 2, start: len(t) == 0, base: replication.Mark{Epoch: 5, Position: 400}, epochs: t}
		b := h.encode()
		f.Add(b[:headerFixed+16*len(t)])
	}
	f.Fuzz(func(t *testing.T, fields []byte) {
		fields = fields[:min(len(fields), headerAlign-settledSize-4)]
		b := make([]byte, headerAlign)
		copy(b, fields)
		if count := int(binary.LittleEndian.Uint32(b[36:])); count < headerAlign/16 {
			if at := headerFixed + 16*count; at+4 <= headerAlign-settledSize {
				clear(b[at:])
				binary.LittleEndian.PutUint32(b[at:], crc32.Checksum(b[:at], castagnoli))
			}
		}
		h, err := decodeHeader(b)
		if err != nil {
			if !errors.Is(err, errHeader) {
				t.Fatal(err)
			}
			return
		}
		if err := h.epochs.Check(); err != nil {
			t.Fatal(err)
		}
		if got := h.encode(); !bytes.Equal(got, b) {
			t.Fatalf("%x decodes to %+v, which encodes to %x", b, h, got)
		}
	})
}

// FuzzQuarantine reads quarantine files of arbitrary bytes, with a corrected header checksum if mend is set.
func FuzzQuarantine(f *testing.F) {
	base := replication.Mark{Epoch: 1, Position: 4, Chain: 9}
	one := dataAfter(f, base, 2, 7, 20, 3)
	two := barrierAfter(f, one.Mark(), 3)
	q := Quarantine{Base: base, Last: two.Mark(), Reason: "rejoined"}
	whole := bytes.Join([][]byte{q.encodeHeader(), one.Raw, two.Raw}, nil)
	f.Add(whole, true)
	f.Add(whole[:len(whole)-10], true)
	f.Add(whole[:quarantineFixed], false)
	f.Fuzz(func(t *testing.T, data []byte, mend bool) {
		if mend && len(data) >= quarantineFixed {
			data = bytes.Clone(data)
			n := min(int(binary.LittleEndian.Uint32(data[12:])), len(data)-quarantineFixed)
			sum := crc32.Checksum(data[:quarantineFixed-4], castagnoli)
			binary.LittleEndian.PutUint32(data[quarantineFixed-4:], crc32.Update(sum, castagnoli, data[quarantineFixed:quarantineFixed+n]))
		}
		fs := vfs.NewMem()
		writeFile(t, fs, "cut.log", data)
		r, err := OpenQuarantine(fs, "cut.log")
		if err != nil {
			if !errors.Is(err, errQuarantine) || !strings.Contains(err.Error(), "cut.log") {
				t.Fatal(err)
			}
			return
		}
		head := r.encodeHeader()
		if !bytes.HasPrefix(data, head) {
			t.Fatalf("%x decodes to %+v", data, r.Quarantine)
		}
		end, entries := r.Base, uint64(0)
		for {
			rec, err := r.Next()
			if errors.Is(err, io.EOF) {
				if end != r.Last || entries != r.Entries() {
					t.Fatalf("%d entries up to %v, the header says %d up to %v", entries, end, r.Entries(), r.Last)
				}
				break
			}
			if err != nil {
				if !strings.Contains(err.Error(), "offset") {
					t.Fatal(err)
				}
				break
			}
			end, entries = rec.Mark(), entries+uint64(rec.Count)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	})
}
