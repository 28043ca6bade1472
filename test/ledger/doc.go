// Package ledger writes to a store through its public protocol, remembers exactly what was acknowledged, and afterwards compares
// that with what the members hold. It is how the demo and the end-to-end tests know that nothing was lost.
//
// Guarantees:
//  1. A write is "acknowledged" only if its success reply arrived, "failed" only if it cannot have happened (the store said
//     so, or it was never sent), and "unknown" otherwise. There is no automatic retry.
//  2. One connection owns a key, and has at most one write to it in flight. A key with a write of unknown outcome is never
//     written again (its slot continues under a new name). So what a key may hold afterwards is exact: the last acknowledged
//     value, or the one unknown value after it.
//  3. Verification can fail. It distinguishes a lost write, a failed write that took effect all the same, an older value, a
//     damaged value and a member that does not answer; ledger_test.go shows each of them.
//
// Three kinds of write detect different faults. Overwrite sets keys of a bounded space again and again: it detects values that
// went back in time. Unique sets every key once, like a list that only grows: it detects single lost and resurrected writes. Count
// increments: it detects writes that were applied twice, and a store that forgot one, at the next reply.
package ledger
