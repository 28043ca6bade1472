// Package nodeclient talks to the control port of data nodes (package replication/wire): orders, each with its own deadline;
// typed refusals; and status streams that wake the reconciler.
package nodeclient
