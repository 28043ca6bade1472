package wal

import (
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/durable"
)

// TestPowerLossAtEveryStep cuts the power before each change of the file system in turn, during append and roll, sync, cut,
// reset and prune. It loses none, some or all of what was not synced, page by page, so that writes tear. The random test
// explores more states; this one leaves out no step.
func TestPowerLossAtEveryStep(t *testing.T) {
	rng := seeded(t)
	for _, reused := range []bool{false, true} {
		for name, op := range map[string]func(*crasher){
			"append and roll": func(c *crasher) {
				for len(c.l.Segments()) < 5 {
					c.put(dataAfter(t, c.now().last(), c.epoch, 1, 9000, 12_000))
				}
			},
			"append and sync": func(c *crasher) {
				for range 4 {
					c.put(dataAfter(t, c.now().last(), c.epoch, 2, 5000, 1))
					c.sync()
				}
			},
			"cut": func(c *crasher) {
				n := len(c.now().records) / 3
				for c.now().records[n-1].Last() < c.l.First() {
					n++
				}
				c.cutAfter(n)
			},
			"cut the last record": func(c *crasher) {
				c.put(dataAfter(t, c.now().last(), c.epoch, 3, 700))
				c.cutAfter(len(c.now().records) - 1)
			},
			"reset": (*crasher).reset,
			"prune": func(c *crasher) {
				c.sync()
				h := c.now()
				h.pruned = h.durable
				if err := c.l.Prune(h.pruned); err != nil {
					t.Fatal(err)
				}
			},
		} {
			if reused {
				name += " in files that are written over"
			}
			t.Run(name, func(t *testing.T) {
				for _, percent := range []int{0, 30, 70, 100} {
					steps := 0
					for c := (&crasher{t: t, rng: rng}); c.lifeUpTo(steps, percent, reused, op); steps++ {
					}
					if steps < 2 {
						t.Fatalf("%d %%: only %d steps", percent, steps)
					}
				}
			})
		}
	}
}

// cutAfter cuts after the first n records.
func (c *crasher) cutAfter(n int) {
	h := c.now()
	p := h.records[n-1].Last()
	c.legal = append(c.legal, h.truncated(p))
	if _, err := c.l.TruncateAfter(p, "test"); err != nil {
		c.t.Fatal(err)
	}
}

// lifeUpTo makes a log of three segments, or one whose last segment is in a reused file, runs op on it, and cuts the power
// before the given step of op. It returns false if op has fewer steps.
func (c *crasher) lifeUpTo(step, percent int, reused bool, op func(*crasher)) bool {
	c.fs, c.legal, c.epoch = vfs.NewCrashableMem(), []history{{}}, 1
	c.synced.Store(0)
	var armed atomic.Bool
	var taken *vfs.MemFS
	var synced replication.Position
	hook := &hookFS{before: func() {
		if armed.Load() && taken == nil {
			if step--; step < 0 {
				taken = c.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: c.rng})
				loseRemoved(c.t, c.rng, taken, c.fs, percent)
				synced = replication.Position(c.synced.Load())
			}
		}
	}}
	c.l, _ = mustOpen(c.t, hook.wrap(c.fs), "d/wal", Options{Create: true, TailBytes: 20_000})
	for len(c.l.Segments()) < 3 {
		c.put(dataAfter(c.t, c.now().last(), c.epoch, byte(len(c.now().records)), 3000, 2000))
		c.sync()
	}
	for reused && !c.l.active().header.reused {
		c.put(dataAfter(c.t, c.now().last(), c.epoch, byte(len(c.now().records)), 3000, 20_000))
		c.sync()
		if segments := c.l.Segments(); len(segments) == 6 {
			c.now().pruned = segments[3].Last
			if err := c.l.Prune(c.now().pruned); err != nil {
				c.t.Fatal(err)
			}
		}
	}
	c.put(dataAfter(c.t, c.now().last(), c.epoch, 9, 5000)) // not synced
	c.l.spare.wait()
	was := *c.now()
	armed.Store(true)
	op(c)
	hook.mu.Lock()
	clone := taken
	hook.mu.Unlock()
	if clone != nil {
		// What op did after the crash promises nothing.
		legal := append([]history{was}, c.legal...)
		for i := range legal {
			legal[i].durable = min(legal[i].durable, synced)
		}
		legal[0].durable = synced
		l := c.recoverFrom(clone, legal, "at a step")
		// What recovery called durable is there after another power loss.
		end := c.asFound(l)
		closeLog(c.t, c.recoverFrom(clone.CrashClone(vfs.CrashCloneCfg{}), []history{end}, "after a second crash"))
		closeLog(c.t, l)
	}
	armed.Store(false)
	closeLog(c.t, c.l)
	return clone != nil
}

// loseRemoved lets some or all of the unsynced removals reach the disk. A plain clone brings back every file whose removal
// was not synced, although a file system may write removals before earlier changes.
func loseRemoved(t *testing.T, rng *rand.Rand, clone, live *vfs.MemFS, percent int) {
	names, err := clone.List("d/wal")
	if durable.IsNotExist(err) {
		return
	}
	for _, name := range names {
		path := live.PathJoin("d/wal", name)
		if _, statErr := live.Stat(path); durable.IsNotExist(statErr) && rng.IntN(100) >= percent {
			err = errors.Join(err, clone.Remove(path))
		}
	}
	if err = errors.Join(err, durable.SyncDir(clone, "d/wal")); err != nil {
		t.Error(err)
	}
}
