package store

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/replicatedstore/replicatedstore/replication"
)

// newRand returns a generator whose seed is printed when the test fails; seed 0 draws one.
func newRand(t testing.TB, seed uint64) *rand.Rand {
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 1))
}

// settleLate is settleWithin for tests that are not about it: a busy machine may give the database no time for long.
const settleLate = 10 * time.Minute

// openMachine opens a machine with little memory, so that tests exercise flushes and compactions; benchmarks get the
// default.
func openMachine(t testing.TB, fs vfs.FS, dir string) *Machine {
	t.Helper()
	memory := int64(minMemory)
	if _, ok := t.(*testing.B); ok {
		memory = DefaultMemory
	}
	m, err := Open(fs, dir, Options{Memory: memory, OnError: func(err error) { t.Errorf("background: %v", err) }})
	if err != nil {
		t.Fatal(err)
	}
	m.settleWithin = settleLate
	t.Cleanup(func() { _ = m.Close() })
	return m
}

// quietly runs f, more than once if need be, until the database does nothing of its own meanwhile: compactions, and what
// it gathers about new tables, read the disk and use the cache as well.
func quietly(t *testing.T, m *Machine, f func()) {
	t.Helper()
	rests := func(known *pebble.Metrics) bool {
		// A table has an unknown compression until the database has read what it gathers about it.
		tables := known.Table
		return known.Compact.NumInProgress == 0 && known.Flush.NumInProgress == 0 &&
			tables.InitialStatsCollectionComplete && tables.PendingStatsCollectionCount == 0 && tables.CompressedCountUnknown == 0
	}
	for began := time.Now(); time.Since(began) < 5*time.Minute; time.Sleep(10 * time.Millisecond) {
		before := m.db.Metrics()
		if !rests(before) {
			continue
		}
		f()
		if after := m.db.Metrics(); rests(after) && after.Compact.Count == before.Compact.Count && after.Flush.Count == before.Flush.Count {
			return
		}
	}
	t.Fatalf("the database never rests:\n%v", m.db.Metrics())
}

// fakeClock is a wall clock in unix ms and a monotonic clock, both set by tests.
type fakeClock struct {
	now  int64
	mono time.Duration
}

func (c *fakeClock) read() int64              { return c.now }
func (c *fakeClock) elapsed() time.Duration   { return c.mono }
func (c *fakeClock) pass(d time.Duration)     { c.now, c.mono = c.now+d.Milliseconds(), c.mono+d }
func (c *fakeClock) setAhead(d time.Duration) { c.now += d.Milliseconds() }

// leader is a machine, its sequencer, and the log between them.
type leader struct {
	t     testing.TB
	m     *Machine
	s     *Sequencer
	clock *fakeClock
	epoch replication.Epoch
	end   replication.Mark
	log   []replication.Record // everything that was sealed and not cut
	sent  int                  // number of records of log that were applied
}

func newLeader(t testing.TB, o SequencerOptions) *leader {
	l := &leader{t: t, m: openMachine(t, vfs.NewMem(), "state"), clock: &fakeClock{now: 1_000_000}}
	if o.Clock == nil {
		o.Clock, o.Monotonic = l.clock.read, l.clock.elapsed
	}
	l.s = NewSequencer(l.m, o)
	l.lead()
	return l
}

// lead opens the next epoch, with a barrier.
func (l *leader) lead() {
	l.t.Helper()
	l.epoch++
	barrier, err := replication.EncodeBarrier(l.nextSeal())
	if err != nil {
		l.t.Fatal(err)
	}
	l.add(barrier)
	l.apply(len(l.log))
	if err := l.s.Open(l.epoch, l.end.Position+1); err != nil {
		l.t.Fatal(err)
	}
}

func (l *leader) add(r replication.Record) {
	l.log = append(l.log, r)
	l.end = r.Mark()
}

// seal seals one record; it returns false if nothing was queued.
func (l *leader) seal(maxBytes int) bool {
	first, n, payload := l.s.Take(maxBytes)
	if n == 0 {
		return false
	}
	if first != l.end.Position+1 {
		l.t.Fatalf("took first position %d, log ends at %v", first, l.end)
	}
	r, err := replication.EncodeRecord(l.nextSeal(), uint32(n), payload)
	if err != nil {
		l.t.Fatal(err)
	}
	l.add(r)
	return true
}

func (l *leader) nextSeal() replication.Seal {
	return replication.Seal{Epoch: l.epoch, First: l.end.Position + 1, UnixMilli: max(l.s.Now(), l.m.AppliedTime()), Prev: l.end.Chain}
}

// apply applies records until upTo records of the log are applied.
func (l *leader) apply(upTo int) {
	l.t.Helper()
	if upTo <= l.sent {
		return
	}
	if err := l.m.Apply(l.log[l.sent:upTo]); err != nil {
		l.t.Fatal(err)
	}
	l.sent = upTo
	l.s.Applied(l.m.Applied().Position)
}

// settle seals and applies everything.
func (l *leader) settle() {
	l.t.Helper()
	for l.seal(1 << 20) {
	}
	l.apply(len(l.log))
}

// deposed closes the sequencer and cuts the log to what is applied.
func (l *leader) deposed(err error) {
	l.s.Close(err)
	l.log = l.log[:l.sent]
	l.end = l.m.Applied()
}

// write runs one transaction.
func (l *leader) write(f func(tx *Tx)) Ticket {
	l.t.Helper()
	ticket, err := l.s.Run(l.t.Context(), func(b *Batch) {
		f(b.Begin())
		if err := b.End(); err != nil {
			l.t.Error(err)
		}
	})
	if err != nil {
		l.t.Fatal(err)
	}
	return ticket
}

func (l *leader) put(key, data string, expireAt int64) Ticket {
	l.t.Helper()
	return l.write(func(tx *Tx) { tx.Put([]byte(key), str(data, expireAt)) })
}

// get reads key at the tail; "" if it is absent.
func (l *leader) get(key string) (out string) {
	l.t.Helper()
	if _, err := l.s.Run(l.t.Context(), func(b *Batch) {
		v, _, err := b.Get([]byte(key))
		if err != nil {
			l.t.Error(err)
		}
		out = string(v.Data)
	}); err != nil {
		l.t.Fatal(err)
	}
	return out
}

func str(data string, expireAt int64) Value {
	return Value{Type: TypeString, ExpireAt: expireAt, Data: []byte(data)}
}

// entryOf encodes effects as an entry.
func entryOf(effects ...func([]byte) []byte) []byte {
	e := []byte{entryVersion}
	for _, f := range effects {
		e = f(e)
	}
	return e
}

func putOf(key, data string, expireAt int64) func([]byte) []byte {
	return func(b []byte) []byte { return appendPut(b, []byte(key), str(data, expireAt)) }
}

func deleteOf(key string) func([]byte) []byte {
	return func(b []byte) []byte { return appendDelete(b, []byte(key)) }
}

// record seals entries after end.
func record(t testing.TB, end replication.Mark, epoch replication.Epoch, unixMilli int64, entries ...[]byte) replication.Record {
	t.Helper()
	var b replication.Builder
	for _, e := range entries {
		if err := b.Add(e); err != nil {
			t.Fatal(err)
		}
	}
	r, err := b.Seal(replication.Seal{Epoch: epoch, First: end.Position + 1, UnixMilli: unixMilli, Prev: end.Chain})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// dump returns every stored byte of m, one line a pair.
func dump(t testing.TB, m *Machine) string {
	t.Helper()
	out, err := tryDump(m)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func tryDump(m *Machine) (_ string, err error) {
	if err := m.pour(); err != nil {
		return "", err
	}
	it, err := m.db.NewIter(&pebble.IterOptions{})
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	var out bytes.Buffer
	for it.First(); it.Valid(); it.Next() {
		value, err := it.ValueAndErr()
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&out, "%x = %x\n", it.Key(), value)
	}
	return out.String(), it.Error()
}

// contents returns the keys and values that a view shows.
func contents(t testing.TB, v View) map[string]string {
	t.Helper()
	out := map[string]string{}
	if err := v.ForEach(t.Context(), func(e Entry) bool {
		out[string(e.Key)] = fmt.Sprintf("%s@%d", e.Value.Data, e.Value.ExpireAt)
		return true
	}); err != nil {
		t.Fatal(err)
	}
	return out
}
