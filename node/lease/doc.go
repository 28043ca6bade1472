// Package lease is the leader's side of the store's Lease. It renews the Lease as long as the disk works and the
// authority record still names the leader's epoch. It knows until when the member may lead if renewals fail, and it is
// how a leader learns that it was deposed.
//
// The operator creates the Lease and writes its holder, its duration and the record. The leader writes only
// spec.renewTime, conditional on the resourceVersion it read. So a renewal and a takeover by the operator can never both
// succeed on the same version of the object: the loser must read again.
//
// With K >= 1 the Lease only detects a dead leader. With K = 0 it also protects against two leaders: see Holder.Valid.
//
// The Lease's renewTime is informational and shows that the Lease changed. Nobody may compare it with a local clock
// (Kubernetes' leader election and Gray & Cheriton, "Leases", SOSP 1989, §2).
package lease
