// Package node is the data node. It wires the client protocol, the state machine, the role goroutine, the peer port and
// the control port into one process.
//
// May import: its own rooms, replication and its rooms. Only node/lease knows Kubernetes.
package node
