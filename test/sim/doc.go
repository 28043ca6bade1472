// Package sim plays whole stores in virtual time: the real replication.Replica, log, META, snapshots and role.Member of every
// member, and the real decide of two operators, over simulated disks, networks, clocks and an API server. One seed is one
// world: its members, its clients, its user and its faults. The same seed is the same course of events, to the last one.
//
// What is real and what is not:
//
//	real        replication (all of it), wal, meta, snapshot, peer.Sender, node/role.Member, controllers/decide
//	            with what the operator remembers between passes
//	rewritten   what carries them: goroutines become events (works.go), streams carry messages in place of frames
//	            (process.go), the state machine is a file of registers in place of Pebble (state.go), the operator's observe
//	            and act ask a simulated API server (observe.go, act.go), node/lease.Holder's pace (leaseholder.go)
//	simulated   disks (disk.go: torn, lost and dropped writes, full, slow, hung, failing fsyncs), network (net.go, conn.go:
//	            loss, delay, duplicates, late orders, one-way cuts, resets), clocks (clock.go: rates, skew, jumps), API server
//	            and caches (kube.go, cache.go: slow, down, conflicts, lost answers, stale lists), kubelets (kubelet.go)
//
// After every step of a member the invariants of docs/protocol.md are asserted (check.go). At the end of a world the faults
// stop, the store must come back whole, and what clients were answered must be linearizable (history.go, by porcupine); what
// followers showed must be a prefix of one order and never go back.
//
// May import: everything but cmd, Kubernetes clients and real time.
package sim
