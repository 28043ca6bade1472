package wal

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/replicatedstore/replicatedstore/replication"
)

func benchPayload(entries, size int) []byte {
	var payload []byte
	for range entries {
		payload = append(binary.AppendUvarint(payload, uint64(size)), make([]byte, size)...)
	}
	return payload
}

// BenchmarkAppendSync is one group commit: seal, append, fsync, of a batch of 128-byte entries on a real disk.
func BenchmarkAppendSync(b *testing.B) {
	for _, entries := range []int{1, 100, 1000} {
		b.Run(fmt.Sprintf("entries=%d", entries), func(b *testing.B) {
			l, _ := mustOpen(b, vfs.Default, b.TempDir(), Options{Create: true, SegmentBytes: 64 << 20})
			payload := benchPayload(entries, 128)
			b.SetBytes(int64(len(payload)))
			for b.Loop() {
				appendPayload(b, l, entries, payload)
				mustSync(b, l)
				pruneAll(b, l)
			}
			b.ReportMetric(float64(entries)*float64(b.N)/b.Elapsed().Seconds(), "entries/s")
			closeLog(b, l)
		})
	}
}

// BenchmarkAppend is the same without the fsync: the cost to the role goroutine.
func BenchmarkAppend(b *testing.B) {
	for _, entries := range []int{1, 100} {
		b.Run(fmt.Sprintf("entries=%d", entries), func(b *testing.B) {
			l, _ := mustOpen(b, vfs.Default, b.TempDir(), Options{Create: true, SegmentBytes: 64 << 20})
			payload := benchPayload(entries, 128)
			b.SetBytes(int64(len(payload)))
			b.ReportAllocs()
			for b.Loop() {
				appendPayload(b, l, entries, payload)
				pruneAll(b, l)
			}
			closeLog(b, l)
		})
	}
}

func appendPayload(b *testing.B, l *Log, entries int, payload []byte) {
	end := l.Last()
	r, err := replication.EncodeRecord(replication.Seal{Epoch: 1, First: end.Position + 1, Prev: end.Chain}, uint32(entries), payload)
	if err != nil {
		b.Fatal(err)
	}
	if err := l.Append(r); err != nil {
		b.Fatal(err)
	}
}

// pruneAll keeps a long benchmark from filling the disk.
func pruneAll(b *testing.B, l *Log) {
	if l.Last().Position%1000 != 0 {
		return
	}
	if err := l.Prune(l.PruneBound(1)); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkOpen recovers a log of 1 GiB that was not closed in order.
func BenchmarkOpen(b *testing.B) {
	dir := b.TempDir()
	l, _ := mustOpen(b, vfs.Default, dir, Options{Create: true, SegmentBytes: 64 << 20})
	payload := benchPayload(500, 128)
	for l.Last().Position < (1<<30)/130 {
		appendPayload(b, l, 500, payload)
	}
	mustSync(b, l)
	for b.Loop() {
		again, rep, err := Open(vfs.Default, dir, Options{SegmentBytes: 64 << 20})
		if err != nil {
			b.Fatal(err)
		}
		if again.Last() != l.Last() {
			b.Fatalf("recovered %v, want %v", again.Last(), l.Last())
		}
		b.ReportMetric(float64(rep.VerifiedBytes), "verified-B")
		for _, s := range again.segments {
			if err := s.closeFiles(); err != nil {
				b.Fatal(err)
			}
		}
	}
	closeLog(b, l)
}

// BenchmarkRead measures a follower that reads from memory, and one that reads from the segments.
func BenchmarkRead(b *testing.B) {
	for _, where := range []string{"memory", "disk"} {
		b.Run(where, func(b *testing.B) {
			o := Options{Create: true, SegmentBytes: 64 << 20, TailBytes: 256 << 20}
			if where == "disk" {
				o.TailBytes = 1
			}
			l, _ := mustOpen(b, vfs.Default, b.TempDir(), o)
			payload := benchPayload(500, 128)
			for range 1500 {
				appendPayload(b, l, 500, payload)
			}
			mustSync(b, l)
			b.SetBytes(1 << 20)
			var dst []replication.Record
			next := replication.Position(1)
			for b.Loop() {
				var err error
				if dst, err = l.Read(next, 1<<20, dst[:0]); err != nil {
					b.Fatal(err)
				}
				if next = dst[len(dst)-1].Last() + 1; next > l.Last().Position {
					next = 1
				}
			}
			closeLog(b, l)
		})
	}
}
