package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/meta"
	"github.com/replicatedstore/replicatedstore/replication/wal"
)

// seal returns the record of the given entries that follows end: a barrier if there are none.
func seal(t *testing.T, end replication.Mark, epoch replication.Epoch, entries ...string) replication.Record {
	t.Helper()
	var payload []byte
	for _, e := range entries {
		payload = append(binary.AppendUvarint(payload, uint64(len(e))), e...)
	}
	at := replication.Seal{Epoch: epoch, First: end.Position + 1, UnixMilli: 1700000000000, Prev: end.Chain}
	if len(entries) == 0 {
		r, err := replication.EncodeBarrier(at)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	r, err := replication.EncodeRecord(at, uint32(len(entries)), payload)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Entries as node/store encodes them: the version, then effects. TestFormat in that package pins the bytes.
const (
	putPlain   = "\x01" + "\x01\x01\x00\x00" + "\x01k" + "\x05<v&1>"
	putBinary  = "\x01" + "\x01\x01\x00\xac\x02" + "\x02\xff\x00" + "\x01\xfe"
	deleteKey  = "\x01" + "\x02\x03foo" + "\x04\x05\x03foo" // deletes the key and its entry in the expiry index
	flushAll   = "\x01" + "\x03"
	fromFuture = "\x09" + "\x03"
)

// member creates a data directory, and cuts the given records from its log, with one cut per batch.
func member(t *testing.T, batches ...[][]string) string {
	t.Helper()
	dir := t.TempDir()
	s, err := meta.Open(vfs.Default, dir, meta.Options{Store: "orders", Member: "orders-1"})
	if err != nil {
		t.Fatal(err)
	}
	l, _, err := wal.Open(vfs.Default, s.LogDir(1), wal.Options{Create: true, SegmentBytes: 64 << 10, QuarantineDir: s.QuarantineDir()})
	if err != nil {
		t.Fatal(err)
	}
	for i, records := range batches {
		if err := l.Append(seal(t, l.Last(), replication.Epoch(2*i+1), putPlain)); err != nil {
			t.Fatal(err)
		}
		keep := l.Last().Position
		for _, entries := range records {
			if err := l.Append(seal(t, l.Last(), replication.Epoch(2*i+2), entries...)); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := l.TruncateAfter(keep, "rejoined: epoch 5 went on without them"); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(l.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	return dir
}

// call runs node quarantine with args and returns its output.
func call(args ...string) (string, error) {
	var out bytes.Buffer
	err := quarantine(args, &out)
	return out.String(), err
}

func TestQuarantineList(t *testing.T) {
	dir := member(t, [][]string{{}, {putPlain, deleteKey}, {flushAll}}, [][]string{{putBinary}})
	if err := os.WriteFile(filepath.Join(dir, "quarantine", "torn-00000000000000000007-1.bin"), []byte("raw"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := call("list", "--data", dir)
	lines := strings.Split(strings.TrimSpace(got), "\n")
	if err != nil || len(lines) != 4 {
		t.Fatalf("%v\n%s", err, got)
	}
	for i, want := range [][]string{
		{"FILE", "EPOCH", "POSITIONS", "ENTRIES", "BYTES", "TIME", "REASON"},
		{"2-2-5.log", "2", "2-5", "4"},
		{"4-3-3.log", "4", "3-3", "1"},
		{"torn-00000000000000000007-1.bin", "-", "-", "-", "3"},
	} {
		if have := strings.Fields(lines[i]); len(have) < len(want) || !slices.Equal(have[:len(want)], want) {
			t.Errorf("line %d is %q, want %q", i, lines[i], want)
		}
	}
	if !strings.HasSuffix(lines[1], "rejoined: epoch 5 went on without them") {
		t.Errorf("no reason in %q", lines[1])
	}
}

func TestQuarantineExport(t *testing.T) {
	dir := member(t, [][]string{{}, {putPlain, deleteKey}, {flushAll}}, [][]string{{putBinary}})
	got, err := call("export", "--data", dir)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"file":"2-2-5.log","epoch":2,"position":2,"unixMilli":1700000000000,"op":"barrier"}
{"file":"2-2-5.log","epoch":2,"position":3,"unixMilli":1700000000000,"op":"put","key":"k","type":"string","value":"<v&1>"}
{"file":"2-2-5.log","epoch":2,"position":4,"unixMilli":1700000000000,"op":"delete","key":"foo"}
{"file":"2-2-5.log","epoch":2,"position":5,"unixMilli":1700000000000,"op":"flush"}
{"file":"4-3-3.log","epoch":4,"position":3,"unixMilli":1700000000000,"op":"put","keyBase64":"/wA=","type":"string","valueBase64":"/g==","expireAtUnixMilli":300}
`
	if got != want {
		t.Errorf("exported\n%s\nwant\n%s", got, want)
	}
	for _, text := range strings.Split(strings.TrimSpace(got), "\n") {
		if !json.Valid([]byte(text)) {
			t.Errorf("no JSON: %s", text)
		}
	}
	if got, err = call("export", "--data", dir, "--file", "4-3-3.log"); err != nil || got != want[strings.Index(want, `{"file":"4-3`):] {
		t.Errorf("one file: %v\n%s", err, got)
	}
	got, err = call("export", "--data", dir, "--format", "redis")
	if want := "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\n<v&1>\r\n*2\r\n$3\r\nDEL\r\n$3\r\nfoo\r\n*1\r\n$8\r\nFLUSHALL\r\n" +
		"*5\r\n$3\r\nSET\r\n$2\r\n\xff\x00\r\n$1\r\n\xfe\r\n$4\r\nPXAT\r\n$3\r\n300\r\n"; err != nil || got != want {
		t.Errorf("%v\n%q, want\n%q", err, got, want)
	}
}

// A running member holds the lock of its data directory. Reading the quarantine does not need the lock.
func TestQuarantineOfRunningMember(t *testing.T) {
	dir := member(t, [][]string{{putPlain}})
	s, err := meta.Open(vfs.Default, dir, meta.Options{Store: "orders", Member: "orders-1"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if got, err := call("export", "--data", dir); err != nil || strings.Count(got, "\n") != 1 {
		t.Errorf("%v\n%s", err, got)
	}
}

func TestQuarantineRemove(t *testing.T) {
	dir := member(t, [][]string{{}, {putPlain, deleteKey}, {flushAll}}, [][]string{{putBinary}})
	torn := filepath.Join(dir, "quarantine", "torn-00000000000000000007-1.bin")
	if err := os.WriteFile(torn, []byte("raw"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := call("remove", "--data", dir, "--file", "2-2-5.log"); err != nil || got != "removed 2-2-5.log\n" {
		t.Errorf("%v\n%s", err, got)
	}
	if got, err := call("list", "--data", dir); err != nil || strings.Contains(got, "2-2-5.log") || !strings.Contains(got, "4-3-3.log") {
		t.Errorf("%v\n%s", err, got)
	}
	for _, args := range [][]string{
		{}, {"--all", "--file", "4-3-3.log"}, {"--file", "2-2-5.log"}, {"--file", "../META"}, {"--file", "META"}, {"--file", ".."},
	} {
		if got, err := call(append([]string{"remove", "--data", dir}, args...)...); err == nil || got != "" {
			t.Errorf("%v: %v\n%s", args, err, got)
		}
	}
	for _, want := range []string{"removed 4-3-3.log\nremoved torn-00000000000000000007-1.bin\n", ""} {
		if got, err := call("remove", "--data", dir, "--all"); err != nil || got != want {
			t.Errorf("%v\n%s", err, got)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "META")); err != nil {
		t.Error(err)
	}
}

// A damaged file does not keep the others from being listed and exported, nor its own records before the damage.
func TestQuarantineDamage(t *testing.T) {
	dir := member(t, [][]string{{putPlain}, {deleteKey}}, [][]string{{putBinary}})
	path := filepath.Join(dir, "quarantine", "2-2-3.log")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	whole := bytes.Clone(data)
	data[len(data)-2] ^= 1 // in the second record
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := call("export", "--data", dir)
	if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "offset") || strings.Count(got, "\n") != 2 {
		t.Errorf("%v\n%s", err, got)
	}
	whole[20] ^= 1 // in the header
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"list", "export"} {
		got, err := call(verb, "--data", dir)
		if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(got, "4-3-3.log") {
			t.Errorf("%s: %v\n%s", verb, err, got)
		}
	}
}

func TestQuarantineRefuses(t *testing.T) {
	dir := member(t, [][]string{{fromFuture}})
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"no verb":              {nil, "list, export or remove"},
		"unknown verb":         {[]string{"drop"}, "list, export or remove"},
		"no directory":         {[]string{"list"}, "--data"},
		"absent directory":     {[]string{"list", "--data", dir + "x"}, "holds no META"},
		"foreign directory":    {[]string{"export", "--data", t.TempDir()}, "holds no META"},
		"stray argument":       {[]string{"list", "--data", dir, "x"}, `"x"`},
		"list of one file":     {[]string{"list", "--data", dir, "--file", "x"}, "-file"},
		"a path":               {[]string{"export", "--data", dir, "--file", "../META"}, "--file"},
		"a torn tail":          {[]string{"export", "--data", dir, "--file", "torn-1.bin"}, "--file"},
		"a file not there":     {[]string{"export", "--data", dir, "--file", "1-1-1.log"}, "1-1-1.log"},
		"unknown format":       {[]string{"export", "--data", dir, "--format", "csv"}, "neither jsonl nor redis"},
		"from a later version": {[]string{"export", "--data", dir}, "position 2 of epoch 2: decode entry: entry version 9, this build knows 1; use the version"},
	} {
		if _, err := call(tc.args...); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
	empty := member(t)
	for _, verb := range []string{"list", "export"} {
		if got, err := call(verb, "--data", empty); err != nil || strings.Count(got, "\n") > 1 {
			t.Errorf("%s of nothing: %v, %q", verb, err, got)
		}
	}
}
