// Package admin serves a member's control port: the operator's orders and the status stream, probes, metrics and, on
// loopback addresses only, profiles. It makes no decisions: it passes orders to a Node and returns the answers over HTTP.
//
// Paths and messages are those of package wire. Status codes: 200; 400 the request is malformed; 409 the member's state
// forbids the order (a replication.Refusal, sent with the member's status); 421 the request is addressed to another
// member or store; 503 the member cannot answer now; 500 anything else.
package admin
