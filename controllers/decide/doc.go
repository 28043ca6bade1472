// Package decide is the operator's judgement: from what was observed of one store it computes what to do next.
//
// It is pure: no client, no clock, no logger. The same Observed and the same now give the same Plan. Nothing is remembered
// between two calls but what the caller feeds back in Observed.Held (how long something has been seen, on the caller's
// monotonic clock) and Observed.Pass (answers to the actions of this pass). Everything that must survive the operator is
// in the authority record, so that an operator that dies between any two actions is followed by one that finishes.
//
// What makes a failover safe is in package replication (fence quorum, election order); this package composes it with the
// record. See Record for the life of a leadership.
package decide
