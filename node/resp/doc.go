// Package resp is the client protocol of the data node: connections, RESP2 and RESP3, the command table, and the way a
// pipeline becomes sequencer batches, one wait and one write.
//
// The path of a pipeline (see round.go):
//
//  1. everything that is buffered is parsed, in bounded chunks; arguments point into the connection's buffer;
//  2. reads before the first write run on a store.View of the applied state; from the first write on, everything runs
//     inside the sequencer, so that a read sees the writes before it;
//  3. replies are kept back until the last position of the pipeline is committed and applied: one wait;
//  4. the replies leave in one write.
//
// A reply that depends on a write whose fate cannot be learned (leader deposed, time-out) is replaced by an OUTCOMEUNKNOWN
// error and the connection is closed. It never says "failed".
//
// A member that does not lead sends on what needs the leader (see forward.go).
//
// The package knows nothing of roles, epochs' election or Kubernetes: all that comes in through Backend.
package resp
