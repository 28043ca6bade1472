// Package replication implements the rules of the replicated log: positions, epochs, voters, the commit rule, fencing and
// divergence. Replica is the state machine that applies them for one member.
//
// Everything here is single-threaded and deterministic: time, disk and network are passed in. The packages below it are wal
// (the log on disk), wire (frames and control messages), peer (leader-to-follower streams) and snapshot (seeding).
//
// May import: the standard library, vfs (the file system seam), and its own sub-packages' value types. It knows neither
// Kubernetes nor the client protocol.
package replication
