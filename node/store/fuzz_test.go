package store

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/replicatedstore/replicatedstore/replication"
)

// FuzzStored decodes stored keys and values. Whatever decodes must encode to the same bytes again.
func FuzzStored(f *testing.F) {
	header := make([]byte, valueHeaderSize)
	putValueHeader(header, Value{Type: TypeString, ExpireAt: 300})
	f.Add([]byte{0}, append(header, "data"...))
	f.Add([]byte{1}, applied{mark: replication.Mark{Epoch: 2, Position: 3, Chain: 4}, unixMilli: 5}.append(nil))
	f.Add([]byte{2}, appendDataKey(nil, []byte("foo")))
	expiry := make([]byte, expiryPrefixSize+3)
	putExpiryKey(expiry, 300, []byte("foo"))
	f.Add([]byte{3}, expiry)
	f.Fuzz(func(t *testing.T, kind, raw []byte) {
		if len(kind) == 0 {
			return
		}
		var again []byte
		switch kind[0] % 4 {
		case 0:
			v, err := decodeValue(raw)
			if err != nil {
				return
			}
			again = make([]byte, valueHeaderSize)
			putValueHeader(again, v)
			again = append(again, v.Data...)
		case 1:
			a, err := decodeApplied(raw)
			if err != nil {
				return
			}
			again = a.append(nil)
		case 2:
			p, key, err := splitDataKey(raw)
			if err != nil {
				return
			}
			again = append(appendPointBound(nil, p), key...)
		case 3:
			when, key, err := splitExpiryKey(raw)
			if err != nil {
				return
			}
			// The point between time and key derives from the key; nobody reads it back.
			again = append(bytes.Clone(raw[:expiryPrefixSize]), key...)
			binary.BigEndian.PutUint64(again[1:], uint64(when))
		}
		if !bytes.Equal(again, raw) {
			t.Fatalf("kind %d: %x came back as %x", kind[0]%4, raw, again)
		}
	})
}

// FuzzEffects exports entries: it must yield the same effects that applying does, and an error where applying would fail.
func FuzzEffects(f *testing.F) {
	f.Add(entryOf(putOf("k", "v", 77), deleteOf("k"), appendFlush))
	f.Add(entryOf(func(b []byte) []byte { return appendUnindex(b, 5, []byte("k")) }, deleteOf("")))
	f.Add([]byte{2, 3})
	f.Fuzz(func(t *testing.T, entry []byte) {
		want, wantErr := decodeAll(entry)
		at, ended := 0, false
		for e, err := range Effects(entry) {
			if ended {
				t.Fatal("an effect after the error")
			}
			if err != nil {
				ended = true
				if wantErr == nil {
					t.Fatalf("%v, but it can be applied", err)
				}
				continue
			}
			for at < len(want) && want[at].op == opUnindex {
				at++
			}
			if at == len(want) || e.Op != want[at].op.String() || !bytes.Equal(e.Key, want[at].key) || !bytes.Equal(e.Value.Data, want[at].value.Data) {
				t.Fatalf("effect %+v, applied would be %+v", e, want)
			}
			at++
		}
		for at < len(want) && want[at].op == opUnindex {
			at++
		}
		if at != len(want) || ended != (wantErr != nil) {
			t.Fatalf("%d of %d effects, ended by an error: %v; want %v", at, len(want), ended, wantErr)
		}
	})
}
