package wal

import (
	"cmp"
	"errors"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/replicatedstore/replicatedstore/replication"
)

// DefaultSegmentBytes is the default of Options.SegmentBytes.
const DefaultSegmentBytes = 64 << 20

// Options configure a Log. The zero value means the defaults.
type Options struct {
	// Create allows Open to start an empty log where there is none. Without it, Open returns ErrNoLog for a directory
	// without segments: a log that vanished must not come back as an empty one.
	Create bool
	// SegmentBytes is the size of a segment file; default 64 MiB, at least 8 KiB. The first segment of a new log is a
	// sixteenth of it, so that small stores stay small. A record larger than a segment gets a segment of its own size.
	SegmentBytes int64
	// TailBytes bounds the newest records kept in memory for readers; default 32 MiB. The newest record and records that
	// are not written yet are always kept.
	TailBytes int64
	// QuarantineDir is where cut records and torn tails are kept; default dir/quarantine. A log that a seed may replace
	// needs one outside its own directory.
	QuarantineDir string
	// Growth creates segment files for data. Vital creates the one for a barrier when there is no room otherwise. Both are
	// views of the file system that Open is given; they differ in how much they leave of a nearly full volume. Default:
	// that file system.
	Growth, Vital vfs.FS
	// Logf reports what recovery and background work did. By default nothing is reported.
	Logf func(format string, args ...any)
	// Wrote is called after each of the many writes that make up a long operation, so that a disk that is merely slow can
	// be told from one that hangs. It may be called from any goroutine. By default nothing is called.
	Wrote func()
	// Spawn runs f concurrently with the caller, or synchronously where concurrency is not allowed. By default it starts a
	// goroutine.
	Spawn func(f func())
}

func (o Options) withDefaults(fs vfs.FS, dir string) Options {
	o.SegmentBytes = max(cmp.Or(o.SegmentBytes, DefaultSegmentBytes), 8<<10)
	o.TailBytes = cmp.Or(o.TailBytes, 32<<20)
	o.QuarantineDir = cmp.Or(o.QuarantineDir, fs.PathJoin(dir, "quarantine"))
	o.Growth = cmp.Or(o.Growth, fs)
	o.Vital = cmp.Or(o.Vital, fs)
	if o.Logf == nil {
		o.Logf = func(string, ...any) {}
	}
	if o.Wrote == nil {
		o.Wrote = func() {}
	}
	if o.Spawn == nil {
		o.Spawn = func(f func()) { go f() }
	}
	return o
}

// Errors that callers distinguish. All but ErrFailed and ErrDamaged leave the log as it was.
var (
	// ErrNoLog means that the directory holds no log, and Options.Create is not set.
	ErrNoLog = errors.New("no log in this directory")
	// ErrDamaged means that bytes that were durable are bad or missing. The error names file and offset and what to do.
	ErrDamaged = errors.New("log is damaged")
	// ErrPruned means that the position is older than what is retained.
	ErrPruned = errors.New("position is pruned from the log")
	// ErrBeyond means that the position is after the end of the log.
	ErrBeyond = errors.New("position is beyond the end of the log")
	// ErrBoundary means that no record begins (Read) or ends (TruncateAfter) at the position.
	ErrBoundary = errors.New("position is not a record boundary")
	// ErrNoSpace means that there is no room for the next segment. Nothing of the record that did not fit was written. The log still
	// works, and Append may be retried from Last.
	ErrNoSpace = replication.ErrNoSpace
	// ErrFailed means that an earlier write or fsync failed. The log accepts nothing more; end the process.
	ErrFailed = errors.New("log has failed")
	// ErrUnreadable means that the file system failed to read a segment.
	ErrUnreadable = errors.New("log cannot be read")
	// ErrClosed means that Close was called.
	ErrClosed = errors.New("log is closed")
)

// Recovery reports what Open found and did.
type Recovery struct {
	// Last is the end of the log; all of it is durable.
	Last   replication.Mark
	Epochs replication.EpochTable
	// Created means that there was no log, and Open made an empty one.
	Created bool
	// Segments is the number of segments; VerifiedBytes is how much of them was read and checked.
	Segments      int
	VerifiedBytes int64
	// Removed lists the leftovers of interrupted steps that Open removed.
	Removed []string
	// TornBytes were cut from the end. They were written before the crash but never synced, so this member never
	// acknowledged them.
	TornBytes int64
	// TornCopy is where the torn bytes are kept. It is "" if there were none, or if the volume had no room (see
	// TornCopyErr).
	TornCopy    string
	TornCopyErr error
}
