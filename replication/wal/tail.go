package wal

import (
	"sort"

	"github.com/replicatedstore/replicatedstore/replication"
)

// tail holds the newest records of the log in memory, contiguous up to its end, so that followers that keep up never cause
// disk reads. Guarded by Log.mu.
type tail struct {
	records []replication.Record // records[head:] are held, oldest first
	head    int
	bytes   int64
	limit   int64
	written replication.Position // records after it are in no file yet, and stay here whatever the limit
}

func (t *tail) held() []replication.Record { return t.records[t.head:] }

func (t *tail) push(r replication.Record) {
	t.records = append(t.records, r)
	t.bytes += int64(len(r.Raw))
	t.trim()
}

// wrote notes that the records up to p are in their files.
func (t *tail) wrote(p replication.Position) {
	t.written = p
	t.trim()
}

// trim drops the oldest records beyond the limit.
func (t *tail) trim() {
	for t.bytes > t.limit && t.head < len(t.records)-1 && t.records[t.head].Last() <= t.written {
		t.bytes -= int64(len(t.records[t.head].Raw))
		t.records[t.head] = replication.Record{}
		t.head++
	}
	if t.head > 1024 && t.head > len(t.records)/2 {
		// Compact the slice. Each record moves at most once for every one that left.
		n := copy(t.records, t.held())
		clear(t.records[n:])
		t.records, t.head = t.records[:n], 0
	}
}

// truncate drops the records that end after p.
func (t *tail) truncate(p replication.Position) {
	n := len(t.records)
	for n > t.head && t.records[n-1].Last() > p {
		n--
		t.bytes -= int64(len(t.records[n].Raw))
		t.records[n] = replication.Record{}
	}
	t.records = t.records[:n]
}

// search returns the index in held of the first record that ends at or after p.
func (t *tail) search(p replication.Position) int {
	held := t.held()
	return sort.Search(len(held), func(i int) bool { return held[i].Last() >= p })
}

// covers reports whether the record that holds position p is in memory.
func (t *tail) covers(p replication.Position) bool {
	held := t.held()
	return len(held) > 0 && held[0].First <= p && p <= held[len(held)-1].Last()
}
