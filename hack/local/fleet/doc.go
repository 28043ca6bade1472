// Package fleet runs a store's members as processes on this machine, on loopback, and does for them what the operator does in
// Kubernetes: it fences, promotes, points followers at the leader and admits voters, over the members' control ports and by the
// same pure rules of package replication.
//
// It is meant for trying things out, for tests and for benchmarks. It is not an operator: the authority record lives in the memory
// of this process. So whoever starts a fleet on directories that already hold a store must have all members there.
package fleet
