// Package role runs one member: a single goroutine owns the replication.Replica and everything that follows from its
// role, and asks other goroutines for whatever may block.
//
// Outline of a leader's write: a connection evaluates its commands in the store's Sequencer and waits; the role goroutine
// takes what is queued, seals it into one record, appends it to the log, and wakes the log's syncer and every follower's
// stream, so that the local fsync and the shipping run at the same time; whichever of "durable here" and "durable on k
// voters" comes last moves the commit position; the applier applies up to it and wakes the waiting connections. While one
// fsync runs the next batch gathers, so that the disk sets the size of the batches (group commit).
//
// Two halves: Member decides, as an object without goroutines of its own; Works does what blocks or takes time. Runner is a
// Member whose Works are goroutines. The simulation runs the same Member over Works of its own.
//
// Order of ownership: role goroutine -> (applier, syncer, streams, dialler); those post back into the role goroutine and
// never wait for each other. No lock is held across I/O.
//
// May import: replication and its rooms, node/store, and the standard library. Not: Kubernetes, the client protocol.
package role
