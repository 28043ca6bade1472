package store

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/replicatedstore/replicatedstore/replication"
)

// Whatever is put in and removed, a lookup finds what was put in last, and a small ring keeps the newest rows.
func TestRowsAreWhatWasPutInLast(t *testing.T) {
	r := newRand(t, 0)
	c := newRows(rowShards * 2048)
	model := map[string][]byte{}
	newest := ""
	for range 20000 {
		key := fmt.Appendf(nil, "k%d", r.IntN(400))
		switch r.IntN(10) {
		case 0:
			c.change()
			_, had := model[string(key)]
			if found := c.remove(hashOf(key)); found && !had {
				t.Fatalf("%s had a row", key)
			}
			delete(model, string(key))
			if raw := []byte("renewed"); had && r.IntN(2) == 0 {
				c.renew(hashOf(key), key, raw)
				model[string(key)], newest = raw, string(key)
			}
			c.done()
		default:
			raw := bytes.Repeat([]byte{byte(r.IntN(256))}, r.IntN(100))
			seq, ok := c.begun()
			if !ok {
				t.Fatal("nothing is being applied, and nothing may be put in")
			}
			c.fill(seq, hashOf(key), key, raw)
			model[string(key)], newest = raw, string(key)
		}
		probe := fmt.Appendf(nil, "k%d", r.IntN(400))
		found, err := c.read(hashOf(probe), probe, func(raw []byte) error {
			if want, ok := model[string(probe)]; !ok || !bytes.Equal(raw, want) {
				t.Fatalf("%s has a row %x, want %x (%t)", probe, raw, want, ok)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := model[newest]; ok && string(probe) == newest && !found {
			t.Fatalf("%s was put in last and is gone", probe)
		}
	}
	c.removeAll()
	for key := range model {
		if found, _ := c.read(hashOf([]byte(key)), []byte(key), func([]byte) error { return nil }); found {
			t.Fatalf("%s is still there", key)
		}
	}
}

// Keys that are rewritten without growing take no room from others.
func TestRowsKeepTheirPlaces(t *testing.T) {
	r := newRand(t, 0)
	const keys = 1000
	c := newRows(4 * keys * (rowHeader + 4 + 100) / 3)
	key := func(i int) []byte { return fmt.Appendf(nil, "%04d", i) }
	put := func(i, n int) { c.renew(hashOf(key(i)), key(i), bytes.Repeat([]byte{byte(i)}, n)) }
	for i := range keys {
		put(i, 100)
	}
	has := func(i int) bool {
		found, err := c.read(hashOf(key(i)), key(i), func(raw []byte) error {
			if len(bytes.Trim(raw, string([]byte{byte(i)}))) > 0 {
				return fmt.Errorf("key %d has the row %x", i, raw)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	was := map[int]bool{} // shards are not all equally full
	for i := range keys {
		was[i] = has(i)
	}
	for range 20 * keys {
		i := r.IntN(keys)
		if !was[i] {
			continue
		}
		c.change()
		if !c.remove(hashOf(key(i))) || c.remove(hashOf(key(i))) || has(i) {
			t.Fatalf("key %d was not removed, or twice", i)
		}
		put(i, r.IntN(101))
		c.done()
	}
	for i := range keys {
		if was[i] != has(i) {
			t.Fatalf("key %d lost its place", i)
		}
	}
	if len(was) < keys || !was[0] && !was[1] && !was[2] {
		t.Fatal("nothing was there")
	}
}

func TestRowIsNotPutInOnceABatchBegan(t *testing.T) {
	c, key := newRows(1<<20), []byte("k")
	found := func() bool {
		found, _ := c.read(hashOf(key), key, func([]byte) error { return nil })
		return found
	}
	seq, _ := c.begun()
	c.change()
	c.fill(seq, hashOf(key), key, []byte("old"))
	if found() {
		t.Error("put in although a batch has begun since it was read")
	}
	if _, ok := c.begun(); ok {
		t.Error("a read while a batch is committed may be put in")
	}
	c.done()
	c.fill(seq, hashOf(key), key, []byte("old"))
	if found() {
		t.Error("put in although a batch was committed since it was read")
	}
	c.fill(seq+2, hashOf(key), key, make([]byte, 1<<20))
	if found() {
		t.Error("one value may empty the shard")
	}
	c.fill(seq+2, hashOf(key), key, []byte("new"))
	if !found() {
		t.Error("not put in")
	}
	other := []byte("of the same hash")
	if found, _ := c.read(hashOf(key), other, func([]byte) error { return nil }); found {
		t.Error("another key's row was taken for it")
	}
}

// Point reads concurrent with a writer: each key's value only grows, all keys of a batch change together, and nothing is
// older than what was applied before the read began.
func TestReadsNeverGoBack(t *testing.T) {
	const keys, rounds, readers = 8, 3000, 4
	m := openMachine(t, vfs.NewMem(), "state")
	var end replication.Mark
	var done atomic.Bool
	var wg sync.WaitGroup
	for i := range readers {
		wg.Go(func() {
			seen := make([]uint64, keys)
			for n := i; !done.Load(); n++ {
				k := n % keys
				applied := uint64(m.Applied().Position)
				v, found, err := m.View(0).Get(fmt.Appendf(nil, "key%d", k))
				if err != nil || !found && applied > 0 {
					t.Errorf("key %d: %t, %v", k, found, err)
					return
				}
				if !found {
					continue
				}
				got := binary.LittleEndian.Uint64(v.Data)
				if got < applied || got < seen[(k+keys-1)%keys] || got < seen[k] {
					t.Errorf("key %d holds %d: applied was %d, seen before were %v", k, got, applied, seen)
					return
				}
				seen[k] = got
			}
		})
	}
	for p := uint64(1); p <= rounds; p++ {
		entry := []byte{entryVersion}
		for k := range keys {
			entry = appendPut(entry, fmt.Appendf(nil, "key%d", k), Value{Type: TypeString, Data: binary.LittleEndian.AppendUint64(nil, p)})
		}
		rec := record(t, end, 1, int64(p), entry)
		if err := m.Apply([]replication.Record{rec}); err != nil {
			t.Fatal(err)
		}
		end = rec.Mark()
	}
	done.Store(true)
	wg.Wait()
}
