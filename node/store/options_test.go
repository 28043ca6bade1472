package store

import (
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// The parts of Options.Memory do not exceed it together, and most of what is poured is too large for a memtable.
func TestMemoryIsGivenOutOnce(t *testing.T) {
	for _, o := range []Options{
		{}, {Memory: 1}, {Memory: 64 << 20}, {Memory: 85 << 20}, {Memory: 8 << 30}, {Memory: 64 << 20, Part: 8 << 20}, {Part: 1 << 20}, {Part: 1 << 40},
	} {
		t.Run(fmt.Sprint(o.Memory, o.Part), func(t *testing.T) {
			o = o.withDefaults()
			p := pebbleOptions(vfs.NewMem(), o)
			if sum := 2*recentBytes(o) + rowBytes(o.Memory) + p.CacheSize; sum > o.Memory {
				t.Errorf("recent writes, rows and the cache, which memtables are part of, take %d of %d bytes", sum, o.Memory)
			}
			waiting := int64(2*p.MemTableSize) + recentBytes(o)*5/4 // a memtable before it, and the one after it
			if waiting > p.CacheSize {
				t.Errorf("what waits to be flushed takes %d bytes, the cache %d", waiting, p.CacheSize)
			}
			if int64(p.MemTableSize)/2 >= recentBytes(o) {
				t.Errorf("a generation of %d bytes goes into a memtable of %d", recentBytes(o), p.MemTableSize)
			}
			if queueBytes(o) <= p.MemTableSize {
				t.Errorf("an empty memtable of %d bytes is as much as may wait to be flushed, %d", p.MemTableSize, queueBytes(o))
			}
		})
	}
}
