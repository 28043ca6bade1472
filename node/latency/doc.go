// Package latency measures durations in lock-free histograms with Prometheus buckets.
//
// May import: the standard library.
package latency
