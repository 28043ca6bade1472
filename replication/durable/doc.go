// Package durable holds the few file operations that survive a power loss: a file replaced as a whole, a directory made, a
// directory's entries synced. wal, meta and snapshot are built on them.
//
// A file is durable when its content was fsynced and the directory that names it was fsynced after that. Every function
// here returns only then.
//
// May import: the standard library and the file system seam (vfs).
package durable
