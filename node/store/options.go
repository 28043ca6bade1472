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
	// minGeneration and maxGeneration bound the size of a generation of recent writes, in bytes.
	minGeneration = 1 << 20
	maxGeneration = 64 << 20
	// batchBytes is where Apply ends a batch, in bytes of log. It bounds how long applied records stay invisible.
	batchBytes = 4 << 20
)

// Options are fixed while a Machine is open. The zero value is usable.
type Options struct {
	// Memory is what the block cache, memtables, recent writes and cached rows may use together, in bytes. A quarter is
	// for recent writes and an eighth for rows; the cache gets what memtables leave of the rest. Default DefaultMemory,
	// at least 16 MiB.
	//
	// Not included: by how much a generation of recent writes outgrows its share (a quarter of it and one record; there
	// are three generations until they are flushed); what flushes and compactions have in hand (a few blocks, and one of
	// each table that is read, where a long value is a block); a sixteenth more while batches of many keys are prepared
	// (Foresight); and, in builds without cgo, where all of it is in the Go heap, what the garbage collector has not
	// freed yet.
	Memory int64
	// Part, unless 0, is how many bytes the database may be about to write. It bounds the memtables together, the base
	// level and, by smaller tables, what a compaction writes before it can remove anything.
	Part int64
	// Log receives the database's messages; the zero Logger is silent.
	Log logr.Logger
	// OnError receives errors that nobody waits for: a failed flush or compaction, or damage that was found. It may be
	// called by any goroutine, several times for one cause. It must not block and must not call the Machine. Applying may
	// stall soon after, because memtables can no longer be flushed; a node reports the error and stops. A full volume is
	// not such an error: what did not fit is retried, and applying stalls until it fits.
	OnError func(error)
}

func (o Options) withDefaults() Options {
	o.Memory = max(cmp.Or(o.Memory, DefaultMemory), minMemory)
	if o.OnError == nil {
		o.OnError = func(error) {}
	}
	return o
}

// recentBytes returns the size of a generation of recent writes; there are two of them. The larger it is, the more
// overwrites happen within it, and the fewer and larger are the tables to compact. Measured (values of 128 bytes of a
// hundred thousand keys, 50 connections with a pipeline of 16, rate): 4 MiB 0.69, 8 MiB 0.89, 16 MiB 1, 32 MiB 1.16.
func recentBytes(o Options) int64 {
	size := min(max(o.Memory/8, minGeneration), maxGeneration)
	if o.Part > 0 {
		size = max(min(size, o.Part/5), minGeneration) // twice as much is being written, and a generation may grow by half as much again
	}
	return size
}

// rowBytes returns how much of memory the rows take.
func rowBytes(memory int64) int64 { return memory / 8 }

// memTableSize is half of a generation. Most pours are a batch of a whole generation, which Pebble keeps as it is until
// it is flushed. Only what readers have had poured earlier goes into memtables.
func memTableSize(o Options) uint64 { return uint64(recentBytes(o)) / 2 }

// queueBytes returns how much may wait to be flushed before nothing more is poured: while one generation is being
// flushed, the next one fills.
func queueBytes(o Options) uint64 { return uint64(recentBytes(o)) }

// mostSublevels is how many L0 sublevels may wait to be compacted before nothing more is poured. Reads that are slow for
// a while are better than applying nothing (Pebble's default is 12).
const mostSublevels = 1000

// mostLoads is how many blocks are read from the disk at a time.
const mostLoads = 16

// pebbleOptions returns Pebble's options for this use. Writes come from one goroutine, in batches, and must never wait
// for compactions, because a stalled leader delays every acknowledgement. Reads are point reads, often of absent keys.
// The disk is shared with the log, whose fsyncs are what clients wait for. The machine may be small.
func pebbleOptions(fs vfs.FS, o Options) *pebble.Options {
	p := &pebble.Options{
		FS: fs,
		// The replicated log replaces the WAL: a crash loses the memtable, and replay from the applied mark restores it.
		DisableWAL: true,
		// Set explicitly, so that a new version of Pebble does not silently change the format of existing directories.
		FormatMajorVersion: pebble.FormatValueSeparation,
		// This includes the memtables: Pebble takes what is not flushed yet out of the cache's budget.
		CacheSize: o.Memory - rowBytes(o.Memory) - 2*recentBytes(o),
		// A long value is a block of its own, which is in memory in addition to the cache while it is read.
		LoadBlockSema: fifo.NewSemaphore(mostLoads),
		MemTableSize:  memTableSize(o),
		// Machine.admit waits instead, at queueBytes and mostSublevels.
		MemTableStopWritesThreshold: math.MaxInt32,
		L0StopWritesThreshold:       math.MaxInt32,
		// A pour spans all keys, so each compaction of L0 rewrites the whole level below. That is not worthwhile for
		// two pours already, although every sublevel slows down each read. Measured (4 KiB of a hundred thousand keys, rate of SET, and of
		// GET afterwards): 2 is 1, 4 is 1.10, 6 is 1.15 to 1.23 and 1.00, 8 is 1.17 to 1.25 and 0.86.
		L0CompactionThreshold: 6,
		// L1 of 64 MiB: add a level only once it pays.
		LBaseMaxBytes: 64 << 20,
		// Split flushes, so that L0 compactions stay small and can run in parallel.
		FlushSplitBytes: 2 << 20,
		// No timer-driven flushes.
		FlushDelayDeleteRange: 0,
		FlushDelayRangeKey:    0,
		// Write tables back steadily, so that the log's fsync does not find a page cache full of them ahead of it.
		BytesPerSync: 1 << 20,
		// Delete obsolete tables steadily too: a burst of unlinks stalls the log on many file systems. But not too
		// slowly: a checkpoint waits until all due deletions are done (at 128 MiB/s that took 50 s after 10 GB had been
		// written at once).
		TargetByteDeletionRate: 512 << 20,
		// One compaction normally; up to half of the processors when behind.
		CompactionConcurrencyRange: func() (int, int) { return 1, max(1, runtime.GOMAXPROCS(0)/2) },
		Logger:                     pebbleLogger{log: o.Log, onError: o.OnError},
		EventListener:              eventListener(o),
	}
	// Tables of 4 MiB in L0, doubling per level from L1 on; Pebble's default of 2 MiB makes many files.
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
		// Ten bits per key: 99 % of lookups of absent keys (SETNX, EXISTS, a first INCR) read no data block.
		p.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
		p.Levels[i].FilterType = pebble.TableFilter
		// 8 KiB blocks: values are small, and point reads dominate.
		p.Levels[i].BlockSize = 8 << 10
		p.Levels[i].IndexBlockSize = 64 << 10
	}
	return p
}
