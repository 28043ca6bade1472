package v1alpha1

// leastSpare, in bytes, is what WithinMemory keeps outside the Go runtime: for the program's own pages, the kernel's buffers, and dirty file
// pages.
const leastSpare = 48 << 20

// WithinMemory divides a container's memory limit into the defaults for the Go runtime's memory limit, for caches and write buffers, and for
// the longest value. All are in bytes.
//
//   - The Go runtime gets nine tenths of the limit. At least leastSpare is left beside it, but never more than half of the limit.
//   - Caches and write buffers get a quarter. The rest is for connections, values in flight and the log's tail.
//   - The longest value is 1/64: until a written value has reached the tables, it is in memory about ten times, and it is not the only one.
//
// Measured on the local cluster with a limit of 256Mi, where 4 connections wrote values of the maximum length and 30 read them: memory in use
// peaked at 219 MiB in ten rounds. With 1/32 for values, members were OOM-killed while 8 connections wrote values of the maximum length.
func WithinMemory(limit int64) (runtime, caches, value int64) {
	return max(limit-max(limit/10, leastSpare), limit/2), limit / 4, limit / 64
}
