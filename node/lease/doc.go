// Package lease is the leader's side of the store's Lease: it renews the Lease while its disk works and the authority
// record still names its epoch, knows until when it may lead without having been able to, and learns there that it was
// deposed.
//
// The operator creates the Lease and writes its holder, its duration and the record; the leader writes spec.renewTime and
// nothing else, under the resourceVersion it read. So a renewal and the operator's take-over never both succeed on one
// version of the object: whoever is second reads again.
//
// With K >= 1 the Lease detects a dead leader; with K = 0 it also protects: see Holder.Valid.
//
// The Lease's renewTime is for people and for "it changed"; nobody may order it against a clock of his own
// (Kubernetes' leader election and Gray & Cheriton, "Leases", SOSP 1989, §2).
package lease
