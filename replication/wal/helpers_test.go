package wal

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/randtest"
)

const testSegment = 64 << 10

func seeded(t *testing.T) *rand.Rand { return randtest.New(t) }

// dataAfter seals entries of the given sizes to follow end.
func dataAfter(tb testing.TB, end replication.Mark, epoch replication.Epoch, fill byte, sizes ...int) replication.Record {
	tb.Helper()
	var payload []byte
	for i, n := range sizes {
		entry := make([]byte, n)
		for j := range entry {
			entry[j] = fill + byte(i+j)
		}
		payload = append(binary.AppendUvarint(payload, uint64(n)), entry...)
	}
	r, err := replication.EncodeRecord(replication.Seal{
		Epoch: epoch, First: end.Position + 1, UnixMilli: int64(end.Position), Prev: end.Chain,
	}, uint32(len(sizes)), payload)
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

func barrierAfter(tb testing.TB, end replication.Mark, epoch replication.Epoch) replication.Record {
	tb.Helper()
	r, err := replication.EncodeBarrier(replication.Seal{Epoch: epoch, First: end.Position + 1, Prev: end.Chain})
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

func mustOpen(tb testing.TB, fs vfs.FS, dir string, o Options) (*Log, Recovery) {
	tb.Helper()
	if o.SegmentBytes == 0 {
		o.SegmentBytes = testSegment
	}
	l, rep, err := Open(fs, dir, o)
	if err != nil {
		tb.Fatal(err)
	}
	return l, rep
}

// appendSome appends n records of a few entries each and returns them.
func appendSome(tb testing.TB, l *Log, epoch replication.Epoch, n, size int) []replication.Record {
	tb.Helper()
	var out []replication.Record
	for i := range n {
		r := dataAfter(tb, l.Last(), epoch, byte(i), size, size/2, 1)
		if err := l.Append(r); err != nil {
			tb.Fatal(err)
		}
		out = append(out, r)
	}
	return out
}

func mustSync(tb testing.TB, l *Log) replication.Mark {
	tb.Helper()
	m, err := l.Sync()
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

// readAll returns every retained record.
func readAll(tb testing.TB, l *Log) []replication.Record {
	tb.Helper()
	var out []replication.Record
	for next := l.First(); next <= l.Last().Position; {
		recs, err := l.Read(next, 10_000, nil)
		if err != nil {
			tb.Fatalf("read from %d: %v", next, err)
		}
		if len(recs) == 0 {
			tb.Fatalf("read from %d returned nothing before the end %v", next, l.Last())
		}
		out = append(out, recs...)
		next = recs[len(recs)-1].Last() + 1
	}
	return out
}

// sameRecords fails unless got is byte for byte want.
func sameRecords(tb testing.TB, got, want []replication.Record) {
	tb.Helper()
	if len(got) != len(want) {
		tb.Fatalf("%d records, want %d", len(got), len(want))
	}
	for i := range got {
		if string(got[i].Raw) != string(want[i].Raw) {
			tb.Fatalf("record %d (%d/%d) differs from %d/%d", i, got[i].Epoch, got[i].First, want[i].Epoch, want[i].First)
		}
	}
}

// untilStopped calls f repeatedly until stop is closed or f fails.
func untilStopped(stop <-chan struct{}, f func() error) error {
	for {
		select {
		case <-stop:
			return nil
		default:
		}
		if err := f(); err != nil {
			return err
		}
	}
}

func closeLog(tb testing.TB, l *Log) {
	tb.Helper()
	if err := l.Close(); err != nil {
		tb.Fatal(err)
	}
}

func describe(m replication.Mark) string { return fmt.Sprintf("%v chain %08x", m, m.Chain) }
