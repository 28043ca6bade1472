// Package admin serves a member's control port: the operator's orders and the status stream, probes, metrics and, where
// nobody else can reach them, profiles. It decides nothing: orders go to a Node, and its answers come back as HTTP.
//
// Paths and messages are those of package wire. Status codes: 200; 400 the request is malformed; 409 the member's state
// forbids it (a replication.Refusal, with the member's status); 503 it cannot answer now; 500 anything else.
package admin
