// Package wal keeps a member's replicated log on disk: sealed records in segments, checksummed as one chain.
//
// # Files
//
// A segment is `<first position, 20 digits>.log`: a header, then records and notes, then zeros to the end of the file. It
// is zero-filled and fsynced in the background before it is used, so that a later fdatasync writes data and no metadata.
// The header names the mark the segment continues (its base), the segment before it, and the epoch table there.
//
// While there is room on the volume, files of pruned segments of full size wait as `free-*.tmp` to be segments again, without being
// filled with zeros first. The header says so (version 2). What such a file holds behind the end of its last record is left of its earlier
// lives, and no part of the log: those records have earlier positions, and notes another number.
//
// A note is 32 bytes between records that say "everything before offset N of this segment was fsynced" (or "closed in
// order"). It is what tells a torn tail from damage: after a power loss any subset of the pages written since the last
// fsync may be missing, in any order, and whole records may follow a hole. Recovery therefore cuts only what no note
// vouches for, and refuses to start when a vouched byte is bad. Notes carry a random number of their segment, which never
// leaves the member, so that no client can write a value that looks like one.
//
// # From memory to the disk
//
// Append leaves records in memory, where readers find them, and Sync writes all there is and fsyncs it: with one call, unless it is long;
// then in pieces, so that whoever waits can tell a disk that gets on from one that hangs. On Linux it writes
// past the page cache where the file system can do that (O_DIRECT); readers of what is no longer in memory, and all else, go
// through the page cache, whose pages the kernel drops where they are written beside it. A killed process loses what it had not synced,
// as it does with the power.
//
// # What is verified when
//
// Every record is verified when it is appended and again whenever it is read from disk; Open verifies the last segment, and
// the one before it when nothing vouches for it. Damage in an older segment is found by whoever reads it, or by Scrub, and
// names file and offset. A segment's base is chained into the one before, so a missing or foreign segment is found by Open.
//
// # Crash safety
//
//   - Writes go to the end only, in whole blocks of 4 KiB. The last one is written again with what comes after it: what was durable
//     of it is the same bytes then, so that a torn write harms none. Open zeroes everything behind the end, so that nothing it
//     cuts can come back.
//   - A segment after a roll counts only once the one before it, the directory and its own header are durable: the
//     "settled" mark at the end of the header says so. At most one segment is unsettled at any time.
//   - What a cut takes out is in a quarantine file first, which Keep may have written ahead, under another name.
//   - TruncateAfter and Reset write a new segment beside the log and rename it into place: that is the one step. Its
//     sequence number is higher than that of every segment it makes obsolete, so leftovers are recognised and removed.
//   - Prune removes or renames oldest first and syncs the directory each time, so that no gap can appear. Only then may the file be
//     written to; and its new header is durable before it gets a segment's name again, so that under that name a bad one is damage.
//   - Positions that are written again are those of a cut or of Reset: a cut removes its segments and never goes below what was
//     pruned, and Reset removes the files that wait.
//   - Open rewrites and fsyncs what no note vouches for, before it calls it durable: bytes read back after a crash of the
//     process may be in a cache only, the kernel's or the disk's, or may be what an earlier failed fsync left there as clean.
//   - A failed write or fsync is final for the Log: every later call returns it. Nothing retries.
//
// May import: the standard library, vfs, x/sys (the page cache), replication's value types and durable.
package wal
