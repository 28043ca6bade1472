package store

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"strings"
	"testing"

	"github.com/replicatedstore/replicatedstore/replication"
)

func TestSlot(t *testing.T) {
	// These values are from the Redis Cluster specification and from CLUSTER KEYSLOT.
	for key, want := range map[string]uint16{
		"":                      0,
		"foo":                   12182,
		"bar":                   5061,
		"123456789":             0x31C3,
		"{user1000}.following":  Slot([]byte("user1000")),
		"{user1000}.followers":  Slot([]byte("user1000")),
		"foo{}{bar}":            crc16([]byte("foo{}{bar}")) % Slots,
		"foo{{bar}}zap":         Slot([]byte("{bar")),
		"foo{bar}{zap}":         Slot([]byte("bar")),
		"open{only":             crc16([]byte("open{only")) % Slots,
		"}before{tag}and after": Slot([]byte("tag")),
	} {
		if got := Slot([]byte(key)); got != want {
			t.Errorf("slot of %q is %d, want %d", key, got, want)
		}
	}
}

// TestFormat pins the bytes of format 1: whoever changes them must raise a version.
func TestFormat(t *testing.T) {
	header := make([]byte, valueHeaderSize)
	putValueHeader(header, Value{Type: TypeString, ExpireAt: 0x0102030405})
	expiry := make([]byte, expiryPrefixSize+3)
	putExpiryKey(expiry, 0x0102030405, []byte("foo"))
	mark := applied{mark: replication.Mark{Epoch: 2, Position: 3, Chain: 4}, unixMilli: 5}
	for name, tc := range map[string]struct {
		got  []byte
		want string
	}{
		"data key":     {appendDataKey(nil, []byte("foo")), "64 2f96 59c4ba3f 666f6f"},
		"expiry key":   {expiry, "78 0000000102030405 2f96 59c4ba3f 666f6f"},
		"value header": {header, "01 01 0504030201000000"},
		"applied":      {mark.append(nil), "0100 0200000000000000 0300000000000000 04000000 0500000000000000"},
		"put":          {entryOf(putOf("foo", "ab", 300)), "01 01 01 00 ac02 03 666f6f 02 6162"},
		"delete":       {entryOf(deleteOf("foo")), "01 02 03 666f6f"},
		"flush":        {entryOf(appendFlush), "01 03"},
		"unindex": {entryOf(func(b []byte) []byte { return appendUnindex(b, 300, []byte("foo")) }),
			"01 04 ac02 03 666f6f"},
	} {
		if got := hex.EncodeToString(tc.got); got != strings.ReplaceAll(tc.want, " ", "") {
			t.Errorf("%s is %s, want %s", name, got, tc.want)
		}
	}
}

func TestKeyRoundTrip(t *testing.T) {
	for _, key := range []string{"", "a", "{tag}x", strings.Repeat("long", 5000), "\x00\xff"} {
		raw := make([]byte, dataPrefixSize+len(key))
		pointOf([]byte(key)).putDataKey(raw, []byte(key))
		if !bytes.Equal(raw, appendDataKey(nil, []byte(key))) {
			t.Errorf("%.20q: the two encoders differ", key)
		}
		at, got, err := splitDataKey(raw)
		if err != nil || string(got) != key || at != pointOf([]byte(key)) || at >= endPoint {
			t.Errorf("%.20q came back as %.20q at %x, %v", key, got, at, err)
		}
		raw = make([]byte, expiryPrefixSize+len(key))
		putExpiryKey(raw, 77, []byte(key))
		when, got, err := splitExpiryKey(raw)
		if err != nil || string(got) != key || when != 77 {
			t.Errorf("%.20q came back from the index as %.20q at %d, %v", key, got, when, err)
		}
	}
	for _, bad := range []string{"", "d", "d12345", "x123456", "x12345678"} {
		if _, _, err := splitDataKey([]byte(bad)); err == nil {
			t.Errorf("%q passed as a data key", bad)
		}
		if _, _, err := splitExpiryKey([]byte(bad)); err == nil {
			t.Errorf("%q passed as an expiry key", bad)
		}
	}
}

func TestValueDecoding(t *testing.T) {
	raw := append([]byte{valueVersion, byte(TypeString), 9, 0, 0, 0, 0, 0, 0, 0}, "data"...)
	v, err := decodeValue(raw)
	if err != nil || v.Type != TypeString || v.ExpireAt != 9 || string(v.Data) != "data" {
		t.Errorf("decoded %+v, %v", v, err)
	}
	for n := range valueHeaderSize {
		if _, err := decodeValue(raw[:n]); err == nil {
			t.Errorf("%d bytes passed as a value", n)
		}
	}
	raw[0] = 2
	if _, err := decodeValue(raw); err == nil {
		t.Error("unknown version passed")
	}
}

func decodeAll(entry []byte) (out []effect, err error) {
	d := decodeEntry(entry)
	for d.next() {
		out = append(out, d.effect)
	}
	return out, d.err
}

func TestEntryDecoding(t *testing.T) {
	entry := []byte{entryVersion}
	whole := []int{1} // prefixes that end between effects
	for _, add := range []func([]byte) []byte{putOf("k1", "v1", 0), deleteOf("k2"), appendFlush,
		func(b []byte) []byte { return appendUnindex(b, 1<<40, []byte("k3")) }, putOf("", "", 5)} {
		entry = add(entry)
		whole = append(whole, len(entry))
	}
	got, err := decodeAll(entry)
	if err != nil || len(got) != 5 {
		t.Fatalf("decoded %+v, %v", got, err)
	}
	ops := []op{opPut, opDelete, opFlush, opUnindex, opPut}
	for i, e := range got {
		if e.op != ops[i] {
			t.Errorf("effect %d is a %v, want %v", i, e.op, ops[i])
		}
	}
	if string(got[0].key) != "k1" || string(got[0].value.Data) != "v1" || got[3].value.ExpireAt != 1<<40 {
		t.Errorf("decoded %+v", got)
	}

	for n := range len(entry) {
		if _, err := decodeAll(entry[:n]); (err == nil) != slices.Contains(whole, n) {
			t.Errorf("the first %d bytes decoded with error %v", n, err)
		}
	}
}

func TestEntryRefusals(t *testing.T) {
	for name, tc := range map[string]struct{ entry, want string }{
		"empty":            {"", "empty"},
		"version":          {"\x02\x03", "version 2"},
		"unknown effect":   {"\x01\x09", "op(9)"},
		"unknown flags":    {"\x01\x01\x01\x80\x00\x00\x00", "flags 0x80"},
		"collection":       {"\x01\x01\x02\x00\x00\x00\x00", "hash"},
		"no type":          {"\x01\x01\x00\x00\x00\x00\x00", "none"},
		"key too long":     {"\x01\x02\x05ab", "ends within"},
		"expiry too large": {"\x01\x04\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x01a", "out of range"},
		"endless varint":   {"\x01\x02\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "ends within"},
	} {
		if _, err := decodeAll([]byte(tc.entry)); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: error %v, want one with %q", name, err, tc.want)
		}
	}
}

func FuzzDecodeEntry(f *testing.F) {
	f.Add(entryOf(putOf("k", "v", 77), deleteOf("k"), appendFlush))
	f.Add([]byte{1, 4, 1, 1, 'a'})
	f.Fuzz(func(t *testing.T, entry []byte) {
		effects, err := decodeAll(entry)
		if err != nil {
			return
		}
		again := []byte{entryVersion}
		for _, e := range effects {
			switch e.op {
			case opPut:
				again = appendPut(again, e.key, e.value)
			case opDelete:
				again = appendDelete(again, e.key)
			case opFlush:
				again = appendFlush(again)
			case opUnindex:
				again = appendUnindex(again, e.value.ExpireAt, e.key)
			}
		}
		// The input may have varints that are longer than needed, so compare the meaning.
		twice, err := decodeAll(again)
		if err != nil || len(twice) != len(effects) {
			t.Fatalf("%x means %+v, encoded again it means %+v (%v)", entry, effects, twice, err)
		}
		for i := range effects {
			a, b := effects[i], twice[i]
			if a.op != b.op || !bytes.Equal(a.key, b.key) || a.value.ExpireAt != b.value.ExpireAt || !bytes.Equal(a.value.Data, b.value.Data) {
				t.Fatalf("effect %d: %+v became %+v", i, a, b)
			}
		}
	})
}

func TestUvarintSize(t *testing.T) {
	for _, n := range []int{0, 1, 127, 128, 16383, 16384, 1<<21 - 1, 1 << 21, 1<<31 - 1} {
		if got, want := uvarintSize(n), len(binary.AppendUvarint(nil, uint64(n))); got != want {
			t.Errorf("size of %d is %d, want %d", n, got, want)
		}
	}
}
