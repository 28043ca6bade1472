package wal

import (
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/replicatedstore/replicatedstore/replication"
)

// history is what a log may legally hold after a crash.
type history struct {
	// records follow base, in order, as the last operation left them.
	base    replication.Mark
	epochs  replication.EpochTable // at the base
	records []replication.Record
	durable replication.Position // at least this much must be there
	pruned  replication.Position // at most this much may be gone from the front
}

func (h *history) last() replication.Mark {
	if n := len(h.records); n > 0 {
		return h.records[n-1].Mark()
	}
	return h.base
}

// allows checks that l holds a prefix of h: from a segment at or before the pruned position, at least to the durable one.
func (h *history) allows(t *testing.T, l *Log) bool {
	t.Helper()
	got := readAll(t, l)
	if l.First() < h.base.Position+1 || l.First() > max(h.pruned, h.base.Position)+1 || l.Last().Position < h.durable || l.Last() != l.Durable() {
		return false
	}
	skip := 0
	for skip < len(h.records) && h.records[skip].Last() < l.First() {
		skip++
	}
	if skip+len(got) > len(h.records) {
		return false
	}
	for i := range got {
		if string(got[i].Raw) != string(h.records[skip+i].Raw) {
			return false
		}
	}
	want := h.base
	if skip+len(got) > 0 {
		want = h.records[skip+len(got)-1].Mark()
	}
	return l.Last() == want && l.Epochs().EpochAt(want.Position) == want.Epoch
}

// truncated returns h cut after p.
func (h *history) truncated(p replication.Position) history {
	n := len(h.records)
	for n > 0 && h.records[n-1].Last() > p {
		n--
	}
	return history{base: h.base, epochs: h.epochs, records: h.records[:n:n], durable: p, pruned: h.pruned}
}

// crasher drives a log with random operations. Each operation declares what a crash during it may leave.
type crasher struct {
	t   *testing.T
	rng *rand.Rand
	fs  *vfs.MemFS
	l   *Log
	// legal holds the legal states for a crash from now on; the last is the one that the operation leads to.
	legal []history
	epoch replication.Epoch
	// synced is the durable end when the last Append or Sync returned.
	synced atomic.Uint64
}

func (c *crasher) now() *history { return &c.legal[len(c.legal)-1] }

func (c *crasher) append() {
	h := c.now()
	if c.epoch == 0 || c.rng.IntN(20) == 0 {
		c.epoch += replication.Epoch(1 + c.rng.IntN(3))
		c.put(barrierAfter(c.t, h.last(), c.epoch))
		return
	}
	sizes := make([]int, 1+c.rng.IntN(4))
	for i := range sizes {
		sizes[i] = c.rng.IntN(3000)
		if c.rng.IntN(30) == 0 {
			sizes[i] = c.rng.IntN(2 * testSegment)
		}
	}
	c.put(dataAfter(c.t, h.last(), c.epoch, byte(c.rng.Uint32()), sizes...))
}

func (c *crasher) put(r replication.Record) {
	h := c.now()
	// Before Append, because a crash during it may or may not keep the record.
	h.records = append(h.records, r)
	if err := c.l.Append(r); err != nil {
		c.t.Fatal(err)
	}
	// Append may have synced, to bound what is unsynced.
	h.durable = max(h.durable, c.l.Durable().Position)
	c.synced.Store(uint64(h.durable))
}

func (c *crasher) sync() {
	c.now().durable = mustSync(c.t, c.l).Position
	c.synced.Store(uint64(c.now().durable))
}

func (c *crasher) truncate() {
	h := c.now()
	i := c.rng.IntN(len(h.records) + 1)
	p := h.base.Position
	if i > 0 {
		p = h.records[i-1].Last()
	}
	if p+1 < c.l.First() || p == h.last().Position {
		return
	}
	c.legal = append(c.legal, h.truncated(p))
	if _, err := c.l.TruncateAfter(p, "test"); err != nil {
		c.t.Fatal(err)
	}
	c.legal = c.legal[1:]
	// The epoch of what was cut is never written again.
	c.epoch++
}

func (c *crasher) prune() {
	h := c.now()
	if h.durable == 0 {
		return
	}
	p := replication.Position(c.rng.Uint64N(uint64(h.durable)) + 1)
	h.pruned = max(h.pruned, p)
	if err := c.l.Prune(p); err != nil {
		c.t.Fatal(err)
	}
}

func (c *crasher) reset() {
	at := replication.Mark{Epoch: c.epoch + 1, Position: c.now().last().Position/2 + 1 + replication.Position(c.rng.IntN(1000)), Chain: 77}
	table := replication.EpochTable{{Epoch: c.epoch + 1, Start: 1}}
	c.legal = append(c.legal, history{base: at, epochs: table, durable: at.Position})
	if err := c.l.Reset(at, table); err != nil {
		c.t.Fatal(err)
	}
	c.legal = c.legal[1:]
	c.epoch++
}

func (c *crasher) step() {
	switch n := c.rng.IntN(100); {
	case n < 60:
		c.append()
	case n < 85:
		c.sync()
	case n < 92:
		c.prune()
	case n < 97:
		c.truncate()
	case n < 98:
		c.reset()
	default:
		closeLog(c.t, c.l)
		c.now().durable = c.now().last().Position
		c.l, _ = mustOpen(c.t, c.fs, "d/wal", Options{TailBytes: 20_000})
	}
}

// recoverFrom opens a crashed copy and checks that it holds one of the legal states.
func (c *crasher) recoverFrom(fs *vfs.MemFS, legal []history, when string) *Log {
	c.t.Helper()
	l, rep, err := Open(fs, "d/wal", Options{SegmentBytes: testSegment, TailBytes: 20_000})
	if err != nil {
		c.t.Fatalf("recovery %s: %v\n%s", when, err, fs)
	}
	for i := range legal {
		if legal[i].allows(c.t, l) {
			return l
		}
	}
	c.t.Fatalf("%s: recovered first %d, last %s (%+v), which is none of %d legal states; the newest ends in %s, durable to %d, pruned to %d",
		when, l.First(), describe(l.Last()), rep, len(legal), describe(legal[len(legal)-1].last()), legal[len(legal)-1].durable, legal[len(legal)-1].pruned)
	return nil
}

// TestRandomCrashes appends, syncs, rolls, prunes, truncates, resets and reopens at random, and cuts the power at random
// moments: at rest, and in the middle of an operation, before a random one of its writes reaches the file system.
func TestRandomCrashes(t *testing.T) {
	rng := seeded(t)
	runs := 60
	if testing.Short() {
		runs = 15
	}
	for range runs {
		c := &crasher{t: t, rng: rng, fs: vfs.NewCrashableMem(), legal: []history{{}}}
		c.l, _ = mustOpen(t, c.fs, "d/wal", Options{Create: true, TailBytes: 20_000})
		for range 3 {
			c.life()
		}
		closeLog(t, c.l)
	}
}

// life runs one random life up to a crash, and continues with what the crash left.
func (c *crasher) life() {
	for range c.rng.IntN(200) {
		c.step()
	}
	clone, when := c.crashMidway()
	l := c.recoverFrom(clone, c.legal, when)
	// A crash during or right after recovery must lose nothing that recovery called durable.
	end := c.asFound(l)
	again := clone.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: c.rng.IntN(101), RNG: c.rng})
	closeLog(c.t, c.recoverFrom(again, []history{end}, "after a second crash"))
	closeLog(c.t, c.l)
	c.l, c.fs, c.legal = l, clone, []history{end}
	c.epoch++
}

// asFound returns the history of a log that was just recovered: all of it is durable.
func (c *crasher) asFound(l *Log) history {
	m, ok := l.MarkAt(l.First() - 1)
	if !ok {
		c.t.Fatal("the base of the log has no mark")
	}
	return history{base: m, epochs: l.Epochs(), records: readAll(c.t, l), durable: l.Last().Position, pruned: m.Position}
}

// crashMidway takes a crashed copy in the middle of one more operation, at a random one of its file system calls.
func (c *crasher) crashMidway() (*vfs.MemFS, string) {
	percent := []int{0, 20, 50, 80, 100}[c.rng.IntN(5)]
	clone := func() *vfs.MemFS {
		return c.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: c.rng})
	}
	if c.rng.IntN(2) == 0 {
		return clone(), "after a crash at rest"
	}
	// The next segment is prepared in the background. The hook is called there too, and needs a random source of its own.
	var taken atomic.Pointer[vfs.MemFS]
	left, rng := c.rng.IntN(30), rand.New(rand.NewPCG(c.rng.Uint64(), 0))
	fs := c.fs
	hook := &hookFS{before: func() {
		if left--; left == 0 {
			taken.Store(fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rng}))
		}
	}}
	closeLog(c.t, c.l)
	c.now().durable = c.now().last().Position
	c.l, _ = mustOpen(c.t, hook.wrap(c.fs), "d/wal", Options{TailBytes: 20_000})
	when := "after a crash in open"
	for n := 0; taken.Load() == nil && n < 30; n++ {
		when = "after a crash in " + c.step1(&taken)
	}
	if taken.Load() == nil {
		return clone(), "after a crash at rest"
	}
	return taken.Load(), when
}

// step1 is a step during which a crash may have happened: the legal states are those that the operation may leave.
func (c *crasher) step1(taken *atomic.Pointer[vfs.MemFS]) (name string) {
	was := *c.now()
	c.legal = []history{was}
	switch c.rng.IntN(5) {
	case 0:
		name = "append"
		c.append()
		if taken.Load() != nil {
			c.now().durable = was.durable
		}
	case 1:
		name = "sync"
		c.sync()
		if taken.Load() != nil {
			c.legal = []history{was}
		}
	case 2:
		name = "truncate"
		c.truncate()
		if taken.Load() != nil {
			c.legal = []history{was, *c.now()}
		}
	case 3:
		name = "reset"
		c.reset()
		if taken.Load() != nil {
			c.legal = []history{was, *c.now()}
		}
	default:
		name = "prune"
		c.prune()
	}
	return name
}
