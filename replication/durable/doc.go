// Package durable holds the few file operations that survive a power loss: replacing a file as a whole, making a directory,
// syncing a directory's entries. wal, meta and snapshot are built on them.
//
// A file is durable once its content was fsynced, and after that the directory that names it. A function here that promises
// durability returns only then.
//
// May import: the standard library and the file system seam (vfs).
package durable
