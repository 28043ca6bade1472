// Package role runs one member of a store. At any moment at most one goroutine acts in the member's role. That
// goroutine owns the replication.Replica and everything derived from it, and leaves whatever may block to others.
//
// "The role goroutine" means whichever goroutine currently acts in the role; there is no dedicated one. A goroutine that
// has something to report takes the turn (works.turn), makes its change, runs the consequences, and gives the turn back.
// So the goroutine that evaluated a record's first entry, or whose fsync just ended, seals the record, and the goroutine
// that reads a follower's acknowledgement counts it. No other goroutine has to be woken.
//
// A leader's write, in outline: a connection evaluates its commands in the store's Sequencer and waits. The role
// goroutine takes what is queued, seals it into one record, appends the record to the log, and wakes the log's syncer and
// every follower's stream, so that the local fsync and replication run in parallel. The later of "durable here" and
// "durable on k voters" advances the commit position. The applier applies up to the commit position and wakes the
// connections that wait for it. While one fsync runs, the next batch accumulates, so the disk determines the batch size
// (group commit).
//
// There are two halves. Member makes the decisions and has no goroutines of its own; Works does whatever blocks or takes
// time. A Runner is a Member whose Works are goroutines; the simulation runs the same Member on Works of its own.
//
// Lock order: the holder of the turn may wait for the applier and for the syncer's fsync. Neither of those waits for the
// turn before it has delivered its result. If the syncer has not begun an fsync because it is still waiting for the turn
// to report the previous one, the waiter runs that fsync itself. An applier that is told to stop does not wait for room.
// The turn is held across writes to the log and to META, for as long as the disk takes, and never across the network.
//
// May import: replication and its rooms, node/store, node/latency, and the standard library. Not: Kubernetes, the client
// protocol.
package role
