// Package fake is an in-memory store for tests of the operator. Every member runs the real replication.Replica on an
// in-memory log, moved step by step under a clock that the test advances, with crashes, network cuts and lost disks. Only
// the disk, the network and client connections are missing. Its members answer nodeclient.Client directly, or over HTTP.
package fake
