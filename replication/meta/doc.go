// Package meta keeps what a member must remember besides its log and its state: who it is, what it promised, whom it
// followed, and which generation of log and state directories is current.
//
// All of it is one small file, replaced as a whole (temp, fsync, rename, fsync directory), so that any change of it is one
// step. Installing a seed is such a change: it flips log and state together. The data directory:
//
//	META            this file: a line with format, length and checksum, then JSON
//	LOCK            held while a process has the directory open
//	wal-N, state-N  log and state of generation N; State.Generation is the current one
//	quarantine      records cut from logs; belongs to no generation and is never removed
//	META.reserve    space set aside, so that a promise can be kept on a full volume
//	reserve         space set aside for the whole member; see replication/volume
//	INIT            there while the directory is being set up for the first time
//
// Invariants: a promise never falls; the incarnation, store and member of a directory never change; a generation never
// falls. A directory with content but no META is refused: whoever lost it must not come back as somebody new.
//
// May import: the standard library, vfs, replication's value types and durable.
package meta
