// Package controllers reconciles stores: it observes, lets package decide judge, acts, and publishes. It holds no judgement
// of its own. All that it remembers between passes are durations on its own monotonic clock, and what it said last; losing
// them with the process costs patience and repeated events, never safety.
package controllers
