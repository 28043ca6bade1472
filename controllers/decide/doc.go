// Package decide is the operator's judgement: given what was observed of one store, it computes what to do next.
//
// It is pure: no client, no clock, no logger. The same Observed and the same now always give the same Plan. Nothing is
// remembered between two calls except what the caller feeds back in Observed.Held (how long each fact has been seen, on the
// caller's monotonic clock) and Observed.Pass (the answers to this pass's actions). Everything that must survive the
// operator is in the authority record, so an operator that dies between any two actions is followed by one that finishes the
// work.
//
// The rules that make a failover safe (fence quorum, election order) are in package replication; this package composes them
// with the record. See Record for the life of a leadership.
package decide
