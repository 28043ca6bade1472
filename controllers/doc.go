// Package controllers reconciles stores. Each pass observes a store, asks package decide for a plan, carries the plan out
// and publishes the result; the package makes no decisions of its own. Between passes it remembers only durations, measured
// on its own monotonic clock, and what it last reported. Losing them with the process costs patience and repeated events,
// never safety.
package controllers
