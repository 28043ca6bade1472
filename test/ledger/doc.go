// Package ledger writes to a store through its public protocol, remembers exactly what was acknowledged, and compares that
// with what the members hold afterwards. It is how the demo and the end-to-end tests know that nothing was lost.
//
// Guarantees:
//  1. A write is "acknowledged" only if its success reply arrived, "failed" only if it cannot have happened (the store said
//     so, or it was never sent), and "unknown" otherwise. There is no automatic retry.
//  2. One connection owns a key, and has one write to it under way. A key whose write ended unknown is never written again
//     (its slot goes on under a new name). So what a key may hold afterwards is exact: the last acknowledged value, or the
//     one unknown value after it.
//  3. Verification can fail: a lost write, a write that failed and is there all the same, an older value, a damaged value
//     and a member that does not answer are each told apart; ledger_test.go shows every one.
//
// Three kinds of write see different faults. Overwrite sets keys of a bounded space again and again: it sees values that
// went back in time. Unique sets every key once, like a list that only grows: it sees single lost and resurrected writes.
// Count increments: it sees writes done twice, and a store that forgot one, at the next reply.
package ledger
