// Package latency counts how long things took, without a lock, in the classes of a Prometheus histogram.
//
// May import: the standard library.
package latency
