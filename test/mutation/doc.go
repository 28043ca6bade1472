// Package mutation breaks the protocol's rules, one at a time, and expects the simulation to notice.
//
// A rule that can be broken without any seed noticing is a hole in the tests. Each mutation is an edit of the product's source,
// passed to the compiler in place of the file (go build -overlay): the product needs no switches for it, and the file on disk
// stays untouched.
//
// May import: the standard library only. It runs the go command.
package mutation
