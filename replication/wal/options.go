package wal

import (
	"cmp"
	"errors"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/replicatedstore/replicatedstore/replication"
)

// DefaultSegmentBytes is Options.SegmentBytes when it is 0.
const DefaultSegmentBytes = 64 << 20

// Options of a Log; the zero value means the defaults.
type Options struct {
	// Create allows Open to start an empty log where there is none. Without it a directory without segments is ErrNoLog:
	// a log that vanished must not come back as an empty one.
	Create bool
	// SegmentBytes is the size of a segment's file; default 64 MiB, at least 8 KiB. A new log's first segment is a
	// sixteenth of it, so that small stores stay small. One larger record gets a segment of its own size.
	SegmentBytes int64
	// TailBytes bounds the newest records kept in memory for readers; default 32 MiB. The newest record is always kept,
	// and so are those that are not written yet.
	TailBytes int64
	// QuarantineDir is where cut records and torn tails are kept; default dir/quarantine. A log that a seed may replace
	// needs one outside its own directory.
	QuarantineDir string
	// Growth makes the files of segments for data, and Vital that of a segment for a barrier when there is no room otherwise:
	// other views of the file system that Open is given, which differ in what they leave of a volume that is nearly full.
	// Default: that file system.
	Growth, Vital vfs.FS
	// Logf reports what recovery and background work did; default: nothing is reported.
	Logf func(format string, args ...any)
	// Wrote is told of each write to the disk that has ended, of the many that what takes long is made of: a disk may be slow and work.
	// Called from anywhere; default: nobody is told.
	Wrote func()
	// Spawn runs f beside the caller, or at once where nothing may run beside it; default: a goroutine.
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

// Errors that callers tell apart. All but ErrFailed and ErrDamaged leave the log as it was.
var (
	// ErrNoLog: the directory holds no log and Options.Create is not set.
	ErrNoLog = errors.New("no log in this directory")
	// ErrDamaged: bytes that were durable are bad or missing. The error names file and offset and what to do.
	ErrDamaged = errors.New("log is damaged")
	// ErrPruned: the position is older than what is retained.
	ErrPruned = errors.New("position is pruned from the log")
	// ErrBeyond: the position is after the end of the log.
	ErrBeyond = errors.New("position is beyond the end of the log")
	// ErrBoundary: the position is not where a record begins (Read) or ends (TruncateAfter).
	ErrBoundary = errors.New("position is not a record boundary")
	// ErrNoSpace: no room for the next segment. Nothing of the record that did not fit was written; the log works on and
	// Append may be tried again from Last.
	ErrNoSpace = replication.ErrNoSpace
	// ErrFailed: an earlier write or fsync failed. The log takes no more: end the process.
	ErrFailed = errors.New("log has failed")
	// ErrUnreadable: the file system failed to read a segment.
	ErrUnreadable = errors.New("log cannot be read")
	// ErrClosed: Close was called.
	ErrClosed = errors.New("log is closed")
)

// Recovery is what Open found and did.
type Recovery struct {
	// Last is the end of the log; all of it is durable.
	Last   replication.Mark
	Epochs replication.EpochTable
	// Created: there was no log, and an empty one was made.
	Created bool
	// Segments kept, and VerifiedBytes of them read and checked.
	Segments      int
	VerifiedBytes int64
	// Removed names leftovers of an interrupted step that were removed.
	Removed []string
	// TornBytes were cut from the end: written before the crash, never synced, so never acknowledged by this member.
	TornBytes int64
	// TornCopy is where they are kept; "" when there were none, or when TornCopyErr says that the volume had no room.
	TornCopy    string
	TornCopyErr error
}
