// Package nodeclient talks to the control port of data nodes (package replication/wire): orders with a deadline each, typed
// refusals, and status streams that wake the reconciler.
package nodeclient
