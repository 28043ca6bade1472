// Package role runs one member: at any moment one goroutine at most acts in its role, owning the replication.Replica and everything that
// follows from it, and asks other goroutines for whatever may block.
//
// That goroutine is called the role goroutine, whichever it is: whoever has something to tell takes the turn (works.turn), says it,
// draws the consequences, and gives the turn back. So a record is sealed by the goroutine that has evaluated its first entry or whose
// fsync has ended, and counted by the one that reads a follower's acknowledgement; nobody is woken for it.
//
// Outline of a leader's write: a connection evaluates its commands in the store's Sequencer and waits; the role goroutine
// takes what is queued, seals it into one record, appends it to the log, and wakes the log's syncer and every follower's
// stream, so that the local fsync and the shipping run at the same time; whichever of "durable here" and "durable on k
// voters" comes last moves the commit position; the applier applies up to it and answers whoever waits. While one
// fsync runs the next batch gathers, so that the disk sets the size of the batches (group commit).
//
// Two halves: Member decides, as an object without goroutines of its own; Works does what blocks or takes time. Runner is a
// Member whose Works are goroutines. The simulation runs the same Member over Works of its own.
//
// Who waits for whom: whoever has the turn may wait for the applier and for the syncer's fsync; neither waits for the turn before it has
// delivered (an fsync that the syncer has not begun, because it waits for the turn to tell of the one before, is done by whoever waits), and an applier that is told to end does not wait for room. The turn is held across writes to the log and to META, as long as the disk takes for them, and never across the network.
//
// May import: replication and its rooms, node/store, node/latency, and the standard library. Not: Kubernetes, the client protocol.
package role
