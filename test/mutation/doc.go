// Package mutation breaks the protocol's rules, one at a time, and asks the simulation to notice.
//
// A rule whose breaking no seed finds is a hole in the tests. Each mutation is an edit of the product's source that the
// compiler is given in place of the file (go build -overlay): the product has no switches for it, and the file on disk is
// not touched.
//
// May import: the standard library only. It runs the go command.
package mutation
