// Package conformance compares the data node with Redis: both receive the same commands, and their replies must be identical
// bytes. Intended differences are listed in known_test.go, each with its reason.
//
// The tests need redis-server in PATH; `make conformance` installs it. Every random list of commands is generated from a seed. A
// failure prints that seed with the shortest list that still fails. Set CONFORMANCE_SEED to run a seed again, and
// CONFORMANCE_ROUNDS to run more of them. CONFORMANCE_BINARY names a node binary to test instead of the client protocol alone.
package conformance
