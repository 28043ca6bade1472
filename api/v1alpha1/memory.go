package v1alpha1

// leastSpare is for the program's own pages, the kernel's buffers, and pages of files that are being written, in bytes.
const leastSpare = 48 << 20

// WithinMemory divides a container's memory limit, all in bytes, where nobody says otherwise.
//
// The Go runtime gets nine tenths of it, and leastSpare less than all at least, but half. Caches and write buffers get a quarter: the rest is for connections,
// values under way and the log's tail. The longest value is 1/64: one that is written is in memory some ten times until it has reached the
// tables, and is not the only one. Measured on the local cluster with a limit of 256Mi, where 4 connections write the longest values and 30
// read them, memory in use at most: 219 MiB in ten rounds. With 1/32 for values, members were killed while 8 connections wrote the longest.
func WithinMemory(limit int64) (runtime, caches, value int64) {
	return max(limit-max(limit/10, leastSpare), limit/2), limit / 4, limit / 64
}
