// Package load is the soak's clients: concurrent operations on a few registers, reads that ask single members, and readers
// of followers. It runs as a process of its own in the cluster's client machine (Serve) and is commanded from outside it
// (Remote), so that all its times are of one monotonic clock. What it does and sees goes to a history.
package load
