// Package peer carries the log from a leader to its followers, one connection for each.
//
// A follower dials the leader's peer port and says Hello; the two agree on where the follower's log continues (cutting it
// back by epoch if it must be), or that a snapshot is needed; then records flow one way and acknowledgements the other.
// What the messages mean is decided by replication.Replica on both sides; this package only moves them.
//
// May import: the standard library, replication and replication/wire.
package peer
