// Package wal keeps a member's replicated log on disk: sealed records in segments, checksummed as one chain.
//
// # Files
//
// A segment is `<first position, 20 digits>.log`: a header, then records and notes, then zeros to the end of the file. It
// is zero-filled and fsynced in the background before it is used, so that a later fdatasync writes data but no metadata.
// The header names the mark that the segment continues (its base), the segment before it, and the epoch table at that
// point.
//
// While the volume has room, the files of pruned full-size segments are kept as `free-*.tmp` and become segments again
// without being zero-filled first. The header says so (version 2). Whatever such a file holds after its last record is left
// over from its earlier lives and is not part of the log: the leftover records have earlier positions, and the leftover
// notes carry another salt.
//
// A note is 32 bytes between records that say "everything before offset N of this segment was fsynced" (or "... and the log
// was closed in order"). Notes distinguish a torn tail from damage. After a power loss, any subset of the pages written
// since the last fsync may be missing, in any order, and whole records may follow a hole. Recovery therefore cuts only what
// no note vouches for, and refuses to start when a vouched byte is bad. Notes carry a random salt of their segment that
// never leaves the member, so no client can write a value that passes for a note.
//
// # From memory to disk
//
// Append leaves records in memory, where readers find them. Sync writes everything pending and fsyncs it: with one call, or
// in pieces if it is long, so that a waiter can tell a disk that makes progress from one that hangs. On Linux, Sync
// bypasses the page cache where the file system supports that (O_DIRECT). All other I/O, including reads of records that
// are no longer in memory, goes through the page cache; the kernel drops cached pages when a direct write overwrites them.
// A killed process loses what it had not synced, just as a power loss does.
//
// # What is verified when
//
// Every record is verified when it is appended and again whenever it is read from disk. Open verifies the last segment, and
// the one before it if nothing vouches for that one. Damage in an older segment is found by its next reader or by Scrub,
// and is reported with file and offset. A segment's header names the base of the segment before it, so Open detects
// a missing or foreign segment.
//
// # Crash safety
//
//   - Writes go only to the end, in whole blocks of 4 KiB. The last block is rewritten together with what follows; its
//     durable bytes stay the same, so a torn write cannot harm them. Open zeroes everything after the end, so that nothing
//     it cuts can come back.
//   - After a roll, the new segment counts only once the segment before it, the directory and its own header are durable.
//     The "settled" note at the end of its header says so. At most one segment is unsettled at any time.
//   - What a cut removes is in a quarantine file first. Keep may have written that file ahead of time, under another name.
//   - TruncateAfter and Reset write a new segment beside the log and rename it into place; the rename is the atomic step.
//     The new sequence number is higher than that of every segment it makes obsolete, so Open recognises and removes
//     leftovers.
//   - Prune removes or renames segments oldest first and syncs the directory each time, so that no gap can appear. Only
//     after that may the file be overwritten. The new header of a reused file is durable before the file gets a segment's
//     name again, so a bad header under that name is damage.
//   - Positions are written again only after a cut or a Reset. A cut removes its segments and never goes below what was
//     pruned; Reset removes the files kept for reuse.
//   - Open rewrites and fsyncs what no note vouches for before it calls it durable. After a process crash, bytes that read
//     back correctly may exist only in a cache (the kernel's or the disk's), or in pages that an earlier failed fsync left
//     marked clean.
//   - A failed write or fsync is final for the Log: every later call returns its error. Nothing retries.
//
// May import: the standard library, vfs, x/sys (the page cache), replication's value types and durable.
package wal
