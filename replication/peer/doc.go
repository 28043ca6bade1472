// Package peer carries the log from a leader to its followers, over one connection for each.
//
// A follower dials the leader's peer port and says Hello. The two agree on where the follower's log continues (truncating
// it by epoch if necessary), or that it needs a snapshot. Then records flow one way and acknowledgements the other.
// replication.Replica decides on both sides what the messages mean; this package only moves them.
//
// May import: the standard library, replication and replication/wire.
package peer
