package replication

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"testing"
)

func sealed(tb testing.TB, s Seal, entries ...string) Record {
	tb.Helper()
	var b Builder
	for _, e := range entries {
		if err := b.Add([]byte(e)); err != nil {
			tb.Fatal(err)
		}
	}
	r, err := b.Seal(s)
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

func TestRecordRoundTrip(t *testing.T) {
	want := []string{"", "a", string(make([]byte, 300)), "last"}
	r := sealed(t, Seal{Epoch: 7, First: 100, UnixMilli: -5, Prev: 99}, want...)
	if r.Last() != 103 || r.Mark() != (Mark{7, 103, r.Chain}) || r.Size() != len(r.Raw) {
		t.Fatalf("sealed %+v", r.Header)
	}
	got, rest, err := DecodeRecord(append(bytes.Clone(r.Raw), "more"...))
	if err != nil || string(rest) != "more" || got.Header != r.Header || !bytes.Equal(got.Raw, r.Raw) {
		t.Fatalf("decoded %+v, rest %q, %v", got.Header, rest, err)
	}
	if err := got.Follows(Mark{Epoch: 6, Position: 99, Chain: 99}); err != nil {
		t.Fatal(err)
	}
	n := 0
	for i, e := range got.Entries() {
		if i != n || string(e) != want[i] {
			t.Fatalf("entry %d is %q", i, e)
		}
		n++
	}
	if n != len(want) {
		t.Fatalf("%d entries", n)
	}
}

// The chain is spelled out here as the format page defines it, independently of the code that computes it in place.
func TestChainIsAsSpecified(t *testing.T) {
	r := sealed(t, Seal{Epoch: 1, First: 1, Prev: 0xdeadbeef}, "x", "yz")
	plain := binary.LittleEndian.AppendUint32(nil, 0xdeadbeef)
	plain = append(plain, r.Raw...)
	copy(plain[4+44:4+48], []byte{0, 0, 0, 0})
	if want := crc32.Checksum(plain, crc32.MakeTable(crc32.Castagnoli)); uint32(r.Chain) != want {
		t.Fatalf("chain %08x, want %08x", r.Chain, want)
	}
}

func TestBarrier(t *testing.T) {
	r, err := EncodeBarrier(Seal{Epoch: 2, First: 9, Prev: 1})
	if err != nil || r.Last() != 9 || len(r.Raw) != HeaderSize {
		t.Fatalf("%+v, %v", r.Header, err)
	}
	for range r.Entries() {
		t.Fatal("a barrier has no entries")
	}
	if _, _, err := DecodeRecord(r.Raw); err != nil {
		t.Fatal(err)
	}
}

func TestFollowsNamesWhatIsWrong(t *testing.T) {
	end := Mark{Epoch: 5, Position: 10, Chain: 3}
	for name, c := range map[string]struct {
		seal Seal
		want error
	}{
		"next":            {Seal{Epoch: 5, First: 11, Prev: 3}, nil},
		"next epoch":      {Seal{Epoch: 9, First: 11, Prev: 3}, nil},
		"gap":             {Seal{Epoch: 5, First: 12, Prev: 3}, ErrRecordChain},
		"overlap":         {Seal{Epoch: 5, First: 10, Prev: 3}, ErrRecordChain},
		"older epoch":     {Seal{Epoch: 4, First: 11, Prev: 3}, ErrRecordChain},
		"another history": {Seal{Epoch: 5, First: 11, Prev: 4}, ErrRecordChain},
	} {
		r := sealed(t, c.seal, "e")
		if err := r.Follows(end); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestEveryFlippedBitIsFound(t *testing.T) {
	r := sealed(t, Seal{Epoch: 5, First: 11, Prev: 3}, "one", "two")
	for bit := range len(r.Raw) * 8 {
		raw := bytes.Clone(r.Raw)
		raw[bit/8] ^= 1 << (bit % 8)
		got, _, err := DecodeRecord(raw)
		if err != nil {
			continue
		}
		if err := got.Verify(3); err == nil {
			t.Fatalf("bit %d flipped and nobody noticed", bit)
		}
	}
}

func TestDecodeBounds(t *testing.T) {
	good := sealed(t, Seal{Epoch: 5, First: 11}, "one", "two")
	set := func(at int, v ...byte) []byte {
		b := bytes.Clone(good.Raw)
		copy(b[at:], v)
		return b
	}
	for name, c := range map[string]struct {
		b    []byte
		want error
	}{
		"nothing":                   {nil, ErrRecordShort},
		"part of a header":          {good.Raw[:47], ErrRecordShort},
		"part of a payload":         {good.Raw[:len(good.Raw)-1], ErrRecordShort},
		"magic":                     {set(1, 'S'), ErrRecordBad},
		"version":                   {set(0, 2), ErrRecordBad},
		"type":                      {set(2, 3), ErrRecordBad},
		"flags":                     {set(3, 1), ErrRecordBad},
		"origin":                    {set(4, 1), ErrRecordBad},
		"reserved":                  {set(6, 1), ErrRecordBad},
		"reserved too":              {set(43, 1), ErrRecordBad},
		"payload too long":          {set(8, 0xff, 0xff, 0xff, 0xff), ErrRecordBad},
		"count 0":                   {set(12, 0, 0, 0, 0), ErrRecordBad},
		"count above payload":       {set(12, 0xff, 0xff), ErrRecordBad},
		"count above entries":       {set(12, 3), ErrRecordBad},
		"count below entries":       {set(12, 1), ErrRecordBad},
		"epoch 0":                   {set(16, make([]byte, 8)...), ErrRecordBad},
		"position 0":                {set(24, make([]byte, 8)...), ErrRecordBad},
		"position overflow":         {set(24, bytes.Repeat([]byte{0xff}, 8)...), ErrRecordBad},
		"barrier with payload":      {set(2, 2), ErrRecordBad},
		"entry runs over":           {set(48, 200), ErrRecordBad},
		"entry length never ending": {set(48, bytes.Repeat([]byte{0x80}, 8)...), ErrRecordBad},
	} {
		if _, _, err := DecodeRecord(c.b); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSealRefuses(t *testing.T) {
	var b Builder
	if _, err := b.Seal(Seal{Epoch: 1, First: 1}); !errors.Is(err, ErrRecordBad) {
		t.Errorf("an empty record: %v", err)
	}
	if _, err := EncodeRecord(Seal{Epoch: 1, First: 1}, 2, []byte{0}); !errors.Is(err, ErrRecordBad) {
		t.Errorf("a wrong count: %v", err)
	}
	if _, err := EncodeRecord(Seal{First: 1}, 1, []byte{0}); !errors.Is(err, ErrRecordBad) {
		t.Errorf("epoch 0: %v", err)
	}
	if err := b.Add(make([]byte, MaxPayloadBytes)); !errors.Is(err, ErrRecordBad) || b.Count() != 0 {
		t.Errorf("an entry too large: %v", err)
	}
}

func TestVerifyDoesNotAllocate(t *testing.T) {
	r := sealed(t, Seal{Epoch: 1, First: 1}, "one", "two")
	if n := testing.AllocsPerRun(100, func() {
		if r.Verify(0) != nil {
			t.Fatal("bad")
		}
	}); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

func FuzzDecodeRecord(f *testing.F) {
	f.Add([]byte(nil), uint32(0))
	f.Add(sealed(f, Seal{Epoch: 1, First: 1}, "one", "", "three").Raw, uint32(0))
	b, err := EncodeBarrier(Seal{Epoch: 3, First: 77, Prev: 9})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b.Raw, uint32(9))
	f.Fuzz(func(t *testing.T, data []byte, prev uint32) {
		r, rest, err := DecodeRecord(data)
		if err != nil {
			if !errors.Is(err, ErrRecordBad) && !errors.Is(err, ErrRecordShort) {
				t.Fatalf("an error of no kind: %v", err)
			}
			return
		}
		if len(r.Raw)+len(rest) != len(data) || len(r.Raw) != r.Size() {
			t.Fatalf("%d+%d bytes of %d", len(r.Raw), len(rest), len(data))
		}
		n := uint32(0)
		for i, e := range r.Entries() {
			if uint32(i) != n || len(e) > len(data) {
				t.Fatalf("entry %d", i)
			}
			n++
		}
		if r.Type == RecordData && n != r.Count {
			t.Fatalf("%d entries, count %d", n, r.Count)
		}
		if r.Verify(Chain(prev)) != nil {
			return
		}
		again, err := sealRaw(Seal{r.Epoch, r.First, r.UnixMilli, Chain(prev)}, r.Type, r.Count, bytes.Clone(r.Raw))
		if err != nil || !bytes.Equal(again.Raw, r.Raw) {
			t.Fatalf("a verified record seals differently: %v", err)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	for _, n := range []int{1, 100, 1000} {
		b.Run(fmt.Sprintf("entries=%d", n), func(b *testing.B) {
			var bu Builder
			for range n {
				if err := bu.Add(make([]byte, 128)); err != nil {
					b.Fatal(err)
				}
			}
			r, err := bu.Seal(Seal{Epoch: 1, First: 1})
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(len(r.Raw)))
			for b.Loop() {
				if err := r.Verify(0); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
