// Package snapshot seeds a member: it transfers a copy of another member's state machine, and the place in the log where
// that copy ends, over a connection.
//
// The source makes a checkpoint of its state machine at one mark of the log (Pebble files, hard links), and serves it file
// by file in chunks. The receiver first checks that its volume has room, then writes into a seed directory and verifies
// every chunk (crc32c) and every file (XXH64). A broken transfer resumes at the byte where it stopped, as long as the
// source still has that checkpoint. Install then makes a new generation of log and state directories from the seed, and one
// replacement of the META file makes it current. A crash at any point leaves either the old generation or the new one; as
// long as it is the old one, the seed is still there.
//
// A conversation, each message one frame:
//
//	receiver: request (store, id of the seed it has begun, position that the snapshot must reach)
//	source:   wait... manifest (id, mark, epoch table, files)
//	receiver: have (bytes it holds of each file)
//	source:   chunk... file-end, for every file that is not complete
//	receiver: done (everything is verified and durable)
//
// Either side may send a refusal instead and end the conversation.
//
// May import: the standard library, vfs, xxhash, replication's value types, durable, volume, meta and wal.
package snapshot
