// Package history holds what the soak's clients did and saw, on disk and in memory, and judges it.
//
// A history contains two kinds of things. An Op is an operation on a register: all of them together must be linearizable. A View
// is what one connection to a follower read of a pair of keys that one writer keeps counting up: it may be old, but on one
// connection never older than what it read before, and always a prefix of what was written.
//
// Why the check may be done key by key, and why keys may be short-lived: Linearizability is local (Herlihy and Wing, 1990, theorem
// 1): a history is linearizable if and only if, for each object, the operations on that object are. A key is an object. So clients
// turn to a new key every few seconds, and each key's history is short. This makes the check tractable, since its cost is
// exponential in the number of concurrently open operations, and an operation of unknown outcome stays open forever. The short
// histories omit nothing. No other run uses the same key name, so a key begins absent. Every operation ever invoked on a key is in
// its history, including those in flight when the clients turned away. And at the end of the run each key is read once more, so
// that a value that was lost after the clients had turned away shows, too.
//
// What is left out cannot change the verdict: an operation that certainly did not happen (the store refused it, or it was never
// sent), and a read whose answer nobody saw.
package history
