package store

import (
	"cmp"
	"math"
	"runtime"

	"github.com/cockroachdb/crlib/fifo"
	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/go-logr/logr"
)

const (
	// DefaultMemory is Options.Memory when it is 0.
	DefaultMemory = 256 << 20
	minMemory     = 16 << 20
	// minGeneration and maxGeneration bound what a generation of recent writes may take, in bytes.
	minGeneration = 1 << 20
	maxGeneration = 64 << 20
	// batchBytes is where Apply closes a batch, in bytes of log: it bounds how long nothing of it is seen.
	batchBytes = 4 << 20
)

// Options are fixed while a Machine is open. The zero value is usable.
type Options struct {
	// Memory is what block cache, memtables, recent writes and the rows read last may use together, in bytes: a quarter is for recent
	// writes, an eighth for rows, and the cache has what memtables leave of the rest. Default DefaultMemory, at least 16 MiB. Not included:
	// by how much a generation of recent writes outgrows its share, a quarter and one record, of which there are three until they are
	// flushed; what flushes and compactions have in hand, a few blocks and one of each table that is read, where a long value is a block; a
	// sixteenth more while batches of many keys are prepared (Foresight); and, in builds without cgo, where all of it is in the Go heap, what
	// the garbage collector has not taken back yet.
	Memory int64
	// Part, unless 0, is how many bytes the database may be about to write: it bounds the memtables together, the base level
	// and, by smaller tables, what a compaction writes before it can remove anything.
	Part int64
	// Log receives what the database has to say; the zero Logger is silent.
	Log logr.Logger
	// OnError is told of errors nobody waits for: a flush or compaction that failed, or damage that was found. It may be
	// called from any goroutine, several times for one cause, must not block and must not call the Machine. Applying may stall
	// soon after, because memtables can no longer be emptied; a node says so and stops. A full volume is none: what did not
	// fit is tried again, and applying stalls until it fits.
	OnError func(error)
}

func (o Options) withDefaults() Options {
	o.Memory = max(cmp.Or(o.Memory, DefaultMemory), minMemory)
	if o.OnError == nil {
		o.OnError = func(error) {}
	}
	return o
}

// recentBytes is the share of a generation of recent writes; there are two of them. The larger it is, the more of what overwrites itself
// does so there, and the fewer and larger are the tables to compact. Measured (values of 128 bytes of a hundred thousand keys, 50
// connections with a pipeline of 16, rate): 4 MiB 0.69, 8 MiB 0.89, 16 MiB 1, 32 MiB 1.16.
func recentBytes(o Options) int64 {
	size := min(max(o.Memory/8, minGeneration), maxGeneration)
	if o.Part > 0 {
		size = max(min(size, o.Part/5), minGeneration) // twice as much is being written, and a generation may take half as much again
	}
	return size
}

// rowBytes is how much of memory the rows take.
func rowBytes(memory int64) int64 { return memory / 8 }

// memTableSize is half of a generation. Most of what is poured is a batch of a whole one, which Pebble keeps as it is until it is flushed;
// what readers have had poured before it was full goes into memtables.
func memTableSize(o Options) uint64 { return uint64(recentBytes(o)) / 2 }

// queueBytes is how much may wait to be flushed before nothing more is poured: while one generation is, the next one fills.
func queueBytes(o Options) uint64 { return uint64(recentBytes(o)) }

// mostSublevels is how many layers of tables may wait to be compacted before nothing more is poured: rather read slowly for a while than
// stop applying (Pebble's default is 12).
const mostSublevels = 1000

// mostLoads is how many blocks are read from the disk at a time.
const mostLoads = 16

// pebbleOptions returns how this use wants Pebble: writes come from one goroutine, in batches, and must never wait for
// compactions, because a stalled leader delays every acknowledgement; reads are points, often of absent keys; the disk is
// shared with the log, whose fsyncs are what clients wait for; the machine may be small.
func pebbleOptions(fs vfs.FS, o Options) *pebble.Options {
	p := &pebble.Options{
		FS: fs,
		// The replicated log is the log: a crash costs the memtable, and replay from the applied mark brings it back.
		DisableWAL: true,
		// Named, so that a new Pebble does not change the format of directories behind our back.
		FormatMajorVersion: pebble.FormatValueSeparation,
		// One number for all: Pebble takes what is not flushed yet out of the cache's budget.
		CacheSize: o.Memory - rowBytes(o.Memory) - 2*recentBytes(o),
		// A long value is a block of its own, which is in memory beside the cache while it is read.
		LoadBlockSema: fifo.NewSemaphore(mostLoads),
		MemTableSize:  memTableSize(o),
		// Machine.admit waits instead, at queueBytes and mostSublevels.
		MemTableStopWritesThreshold: math.MaxInt32,
		L0StopWritesThreshold:       math.MaxInt32,
		// What is poured spans all keys, so each compaction of L0 writes the whole level below anew: not for two pours, although
		// every sublevel costs each read. Measured (4 KiB of a hundred thousand keys, rate of SET, and of GET afterwards): 2 is 1, 4 is
		// 1.10, 6 is 1.15 to 1.23 and 1.00, 8 is 1.17 to 1.25 and 0.86.
		L0CompactionThreshold: 6,
		// L1 of 64 MiB: a level more only once it pays.
		LBaseMaxBytes: 64 << 20,
		// Split flushes, so that L0 compactions stay small and can run side by side.
		FlushSplitBytes: 2 << 20,
		// No flushes that Pebble starts on a timer.
		FlushDelayDeleteRange: 0,
		FlushDelayRangeKey:    0,
		// Write tables back steadily, so that the log's fsync does not find a full page cache in front of it.
		BytesPerSync: 1 << 20,
		// Delete obsolete tables steadily too: a burst of unlinks stalls the log on many file systems. Not too slowly: a checkpoint
		// waits until all that is due is deleted (at 128 MiB/s for 50 s, after 10 GB were written at once).
		TargetByteDeletionRate: 512 << 20,
		// One compaction on a small machine; half of the processors may help when behind.
		CompactionConcurrencyRange: func() (int, int) { return 1, max(1, runtime.GOMAXPROCS(0)/2) },
		Logger:                     pebbleLogger{log: o.Log, onError: o.OnError},
		EventListener:              eventListener(o),
	}
	// Tables of 4 MiB from L1 on double per level; Pebble's default of 2 MiB makes many files.
	p.TargetFileSizes[0] = 4 << 20
	if o.Part > 0 {
		// A compaction takes one table and some ten times as much from the level below, or all of L0 and the base level.
		p.TargetFileSizes[0] = min(4<<20, max(o.Part/32, 128<<10))
		p.LBaseMaxBytes = min(p.LBaseMaxBytes, max(o.Part, minGeneration))
		p.FlushSplitBytes = min(p.FlushSplitBytes, p.TargetFileSizes[0])
		if int64(p.L0CompactionThreshold)*recentBytes(o) > o.Part {
			p.L0CompactionThreshold = 2
		}
	}
	for i := range p.Levels {
		// Ten bits a key: 99 % of lookups of absent keys (SETNX, EXISTS, a first INCR) read no data block.
		p.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
		p.Levels[i].FilterType = pebble.TableFilter
		// 8 KiB blocks: values are small, and point reads dominate.
		p.Levels[i].BlockSize = 8 << 10
		p.Levels[i].IndexBlockSize = 64 << 10
	}
	return p
}
