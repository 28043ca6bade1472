// Package meta keeps what a member must remember besides its log and its state: who it is, what it promised, whom it
// followed, and which generation of log and state directories is current.
//
// All of it is in one small file that is replaced as a whole (write a temporary file, fsync, rename, fsync the directory),
// so every change is atomic. Installing a seed is such a change: it switches log and state together. The data directory:
//
//	META            this file: a line with format, length and checksum, then JSON
//	LOCK            held while a process has the directory open
//	wal-N, state-N  log and state of generation N; State.Generation is the current one
//	quarantine      records cut from logs; belongs to no generation and is never removed
//	META.reserve    space set aside, so that a promise can be kept on a full volume
//	reserve         space set aside for the whole member; see replication/volume
//	INIT            there while the directory is being set up for the first time
//
// Invariants: a promise never falls; the store and the member of a directory never change, and its incarnation changes only
// through Store.Renew and Store.Install; a generation never falls. A directory with content but no META is refused: a
// member that lost META must not come back as somebody new.
//
// May import: the standard library, vfs, replication's value types and durable.
package meta
