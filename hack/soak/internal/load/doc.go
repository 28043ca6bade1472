// Package load is the soak's clients: concurrent operations on a few registers, reads at single members, and readers of followers.
// It runs as a separate process on the cluster's client machine (Serve) and is controlled from outside (Remote), so that all its
// times are from one monotonic clock. It records in a history what it does and sees.
package load
