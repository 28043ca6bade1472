// Package meta keeps a member's identity and promises: the META file at the root of its data directory.
//
// The file is replaced whole (temp file, fsync, rename, fsync of the directory), so that after a crash it holds what the
// last finished Update wrote or what the unfinished one did. It also names which generation of log and state is in force,
// so that installing a snapshot is one rename.
//
// May import: the standard library, vfs, uuid, replication's value types and durable.
package meta
