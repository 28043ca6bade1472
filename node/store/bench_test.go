package store

import (
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/replicatedstore/replicatedstore/replication"
)

// benchLoop runs f on a leader that seals and applies every 64 transactions, keeping no log.
func benchLoop(b *testing.B, f func(batch *Batch, i int)) {
	l := newLeader(b, SequencerOptions{})
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, err := l.s.Run(b.Context(), func(batch *Batch) { f(batch, i) }); err != nil {
			b.Fatal(err)
		}
		if i%64 == 63 {
			l.settle()
			l.log, l.sent = l.log[:0], 0
		}
	}
}

// BenchmarkSet is Run, Take, seal, Apply and Applied of blind SETs of 128 bytes.
func BenchmarkSet(b *testing.B) {
	v := Value{Type: TypeString, Data: make([]byte, 128)}
	b.SetBytes(128)
	var key []byte
	benchLoop(b, func(batch *Batch, i int) {
		key = fmt.Appendf(key[:0], "key:%08d", i*7919%1_000_000)
		batch.Begin().Put(key, v)
		_ = batch.End()
	})
}

// BenchmarkSetRun is the part of BenchmarkSet that runs under the sequencer's lock.
func BenchmarkSetRun(b *testing.B) {
	v := Value{Type: TypeString, Data: make([]byte, 128)}
	l := newLeader(b, SequencerOptions{MaxBytes: 1 << 40, MaxEntries: 1 << 40})
	var key []byte
	b.ReportAllocs()
	i := 0
	f := func(batch *Batch) {
		key = fmt.Appendf(key[:0], "key:%08d", i*7919%1_000_000)
		batch.Begin().Put(key, v)
		_ = batch.End()
	}
	for ; b.Loop(); i++ {
		if _, err := l.s.Run(b.Context(), f); err != nil {
			b.Fatal(err)
		}
		if i%10_000 == 9_999 {
			b.StopTimer()
			l.settle()
			l.log, l.sent = l.log[:0], 0
			b.StartTimer()
		}
	}
}

// BenchmarkIncr is the whole loop for counters: one hot counter, and many that are read from applied state.
func BenchmarkIncr(b *testing.B) {
	for _, keys := range []int{1, 100_000} {
		b.Run(fmt.Sprintf("keys=%d", keys), func(b *testing.B) {
			var key []byte
			benchLoop(b, func(batch *Batch, i int) {
				key = fmt.Appendf(key[:0], "counter:%08d", i*7919%keys)
				tx := batch.Begin()
				v, _, _ := tx.Get(key)
				n := 0
				for _, c := range v.Data {
					n = 10*n + int(c-'0')
				}
				tx.Put(key, Value{Type: TypeString, Data: fmt.Append(nil, n+1)})
				_ = batch.End()
			})
		})
	}
}

// BenchmarkApply applies records of 256 SETs of 128 bytes; ns/op is per SET.
func BenchmarkApply(b *testing.B) {
	const perRecord = 256
	m := openMachine(b, vfs.NewMem(), "state")
	data := string(make([]byte, 128))
	entries := make([][]byte, perRecord)
	b.ReportAllocs()
	b.SetBytes(128)
	for i := 0; b.Loop(); i++ {
		if i%perRecord != 0 {
			continue
		}
		b.StopTimer()
		for j := range entries {
			entries[j] = entryOf(putOf(fmt.Sprintf("key:%08d", (i+j)*7919%1_000_000), data, 0))
		}
		r := record(b, m.Applied(), 1, 1, entries...)
		b.StartTimer()
		if err := m.Apply([]replication.Record{r}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkGet reads keys of 128-byte values, present and absent, without a lock.
func BenchmarkGet(b *testing.B) {
	const keys = 200_000
	m := openMachine(b, vfs.NewMem(), "state")
	data := string(make([]byte, 128))
	var entries [][]byte
	for i := range keys {
		entries = append(entries, entryOf(putOf(fmt.Sprintf("key:%08d", i), data, 0)))
	}
	applyEntries(b, m, entries...)
	for name, prefix := range map[string]string{"present": "key:", "absent": "nope:"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				v := m.View(0)
				var key []byte
				for i := 0; pb.Next(); i++ {
					key = fmt.Appendf(key[:0], "%s%08d", prefix, i*7919%keys)
					if _, err := v.Read(key, func(Value) {}); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}
