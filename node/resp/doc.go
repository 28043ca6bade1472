// Package resp implements the client protocol of the data node: connections, RESP2 and RESP3, the command table, and the way a
// pipeline becomes sequencer batches, one wait and one write.
//
// A pipeline is processed as follows (see round.go):
//
//  1. Everything buffered is parsed, in bounded chunks. Arguments point into the connection's buffer.
//  2. Reads before the first write run on a store.View of the applied state. From the first write on, everything runs inside
//     the sequencer, so that a read sees the writes before it.
//  3. Replies are held back until the last position of the pipeline is committed and applied: one wait.
//  4. The replies are sent in one write.
//
// If a reply depends on a write whose fate cannot be learned (the leader was deposed, or the wait timed out), it is replaced by
// an OUTCOMEUNKNOWN error and the connection is closed. Such a write is never reported as failed.
//
// A member that does not lead forwards what needs the leader (see forward.go).
//
// The package knows nothing about roles, the election of epochs or Kubernetes: all of that is behind Backend.
package resp
