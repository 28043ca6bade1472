// Package wire defines what members and the operator say to each other: the JSON messages of the control port, and the
// binary frames of the peer port.
//
// May import: the standard library and replication's value types.
package wire
