// Package history holds what the soak's clients did and saw, on disk and in memory, and judges it.
//
// Two kinds of things are in a history. An Op is an operation on a register: all of them together must be linearizable. A
// View is what one connection to a follower read of a pair of keys that one writer keeps counting up: it may be old, but
// on one connection never older than what it read before, and always a prefix of what was written.
//
// Why the check may be done key by key, and why keys may be short-lived. Linearizability is local (Herlihy and Wing, 1990,
// theorem 1): a history is linearizable exactly if, for each object, the operations on that object are. A key is an object.
// So clients turn to a new key every few seconds, and each key's history is short, which is what makes the check tractable:
// its cost is exponential in the operations that are open at once, and an operation whose outcome is unknown stays open for
// ever. Nothing is cut off by that. A key's name is used in no other run, so it begins absent; every operation that was ever
// invoked on it is in its history, also those that were under way when the clients turned away; and at the end of the run
// each key is read once more, so that a value that was lost after the clients had turned away shows too.
//
// What is left out cannot change the verdict: an operation that certainly did not happen (the store refused it, or it was
// never sent), and a read whose answer nobody saw.
package history
