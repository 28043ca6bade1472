package meta

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"reflect"
	"testing"

	"github.com/replicatedstore/replicatedstore/replication"
)

// FuzzDecode decodes META files: the bytes as they are if raw is set, otherwise as a body below a correct first line.
func FuzzDecode(f *testing.F) {
	whole := State{
		Store: "orders", Member: "orders-1", Incarnation: "a", Generation: 2, Quarantined: 3,
		Promises: replication.Promises{Promised: 7, Epoch: 6, Leader: "orders-0", Address: "10.0.0.1:7001", NeedSeed: true},
		Seed:     &Seed{Generation: 3, ID: "b", From: "orders-0", Mark: replication.Mark{Epoch: 6, Position: 9, Chain: 1}, Dropped: true},
	}
	data, err := whole.encode()
	if err != nil {
		f.Fatal(err)
	}
	_, body, _ := bytes.Cut(data, []byte("\n"))
	f.Add(data, true)
	f.Add(body, false)
	f.Add([]byte("rstore-meta v2 3 00000000\n{}\n"), true)
	f.Fuzz(func(t *testing.T, data []byte, raw bool) {
		if !raw {
			data = append(fmt.Appendf(nil, "rstore-meta v%d %d %08x\n", formatVersion, len(data), crc32.Checksum(data, castagnoli)), data...)
		}
		first, err := decode(data)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrVersion) {
				t.Fatalf("an error of no kind: %v", err)
			}
			return
		}
		again, err := first.encode()
		if err != nil {
			t.Fatal(err)
		}
		if second, err := decode(again); err != nil || !reflect.DeepEqual(first, second) {
			t.Fatalf("%+v became %+v, %v", first, second, err)
		}
	})
}
