// Package fake is a store of members in memory, for tests of the operator: the real replication.Replica of every member on
// a log in memory, moved step by step under a clock that the test advances, with crashes, cuts and lost disks. Only disk,
// network and client connections are missing. Its members answer nodeclient.Client directly, or over HTTP.
package fake
