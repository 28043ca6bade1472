// Package conformance compares the data node with Redis: the same commands go to both, and the replies must be the same
// bytes. What differs on purpose is listed in known_test.go, each with its reason.
//
// The tests need redis-server in PATH; `make conformance` installs it. Every random list of commands comes from a seed
// that is printed with the shortest list that still fails; run that seed again with CONFORMANCE_SEED, or more of them with
// CONFORMANCE_ROUNDS. CONFORMANCE_BINARY names a node binary to test instead of the client protocol alone.
package conformance
