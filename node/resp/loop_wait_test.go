package resp_test

import (
	"fmt"
	"net"
	"runtime"
	"testing"
	"time"
)

// If enough followers hold the write, its connection stays in the loop during a WAIT, whether after a write or alone.
func TestWaitInTheLoop(t *testing.T) {
	n, _ := startPair(t)
	var conns []*wire
	for range 50 {
		w := dial(t, n.Addr)
		looped(w)
		conns = append(conns, w)
	}
	before := runtime.NumGoroutine()
	for i, w := range conns {
		w.send(fmt.Sprint("SET a ", i), "WAIT 1 0")
		w.expect("+OK", ":1")
		w.do("WAIT 1 0", ":1")
		w.send("SET a 2", "WAITAOF 1 1 0")
		w.expect("+OK", "*2", ":1", ":1")
	}
	if now := runtime.NumGoroutine(); now > before+10 {
		t.Fatalf("%d goroutines more", now-before)
	}
}

// A WAIT waits for the commit of the writes before it, however long that takes, and later commands wait for the WAIT.
func TestWaitForASlowCommitInTheLoop(t *testing.T) {
	n, _ := startPair(t)
	for _, pause := range []time.Duration{20 * time.Millisecond, 400 * time.Millisecond} { // longestCommit is 250 ms
		w, other := dial(t, n.Addr), dial(t, n.Addr)
		looped(w)
		looped(other)
		n.Stall()
		w.send("SET a 1", "WAIT 1 0")
		time.Sleep(pause)
		w.send("GET a", "SET a 22", "WAIT 0 0")
		other.do("GET looped", "$1", "1")
		n.Resume()
		w.expect("+OK", ":1", "$1", "1", "+OK", ":1")
	}
}

// A WAIT for more followers than there are waits outside of the loop, until its timeout, and the loop goes on in the meantime.
func TestWaitInVainInTheLoop(t *testing.T) {
	n, _ := startPair(t)
	w, other := dial(t, n.Addr), dial(t, n.Addr)
	looped(w)
	looped(other)
	w.send("SET a 1", "WAIT 2 100")
	other.do("GET looped", "$1", "1")
	w.expect("+OK", ":1")
	n.Lag(1)
	for range 3 {
		for range 70 { // more than warmEnough, so that the connection returns to the loop
			w.do("SET a 1", "+OK")
		}
		w.send("SET a 1", "WAIT 1 1")
		w.expect("+OK", ":0")
		w.do("WAIT 1 1", ":0")
	}
	w.send("SET a 1", "WAIT 1 x")
	w.expect("+OK", "-ERR timeout is not an integer or out of range")
	w.do("WAIT x 1", "-ERR value is not an integer or out of range")
	w.do("WAIT 1", "-ERR wrong number of arguments for 'wait' command")
}

// WAIT in the middle of a pipeline.
func TestWaitAmongOthersInTheLoop(t *testing.T) {
	n, _ := startPair(t)
	w := dial(t, n.Addr)
	looped(w)
	for range 100 {
		w.send("SET a 1", "WAIT 1 0", "SET b 2", "GET a", "WAIT 1 0", "WAIT 0 0", "DEL b", "WAIT 1 0")
		w.expect("+OK", ":1", "+OK", "$1", "1", ":1", ":1", ":1", ":1")
		looped(w)
	}
}

// The leadership ends before the commit that a WAIT waits for.
func TestDeposedWhileAWaitIsInTheLoop(t *testing.T) {
	n, _ := startPair(t)
	w := dial(t, n.Addr)
	looped(w)
	n.Stall()
	w.send("SET a 1", "WAIT 1 0")
	eventually(t, func() string {
		if !n.InFlight() {
			return "the write does not arrive"
		}
		return ""
	})
	n.Depose()
	w.expect("-OUTCOMEUNKNOWN the outcome of this write is unknown; it may or may not have been applied: outcome unknown: deposed by epoch 99")
	w.closed()
}

// A client closes the connection, or shuts down its write side, while its WAIT is waiting for a commit.
func TestClientThatEndsBeforeItsWaitInTheLoop(t *testing.T) {
	n, _ := startPair(t)
	for range 50 {
		gone, shut := dial(t, n.Addr), dial(t, n.Addr)
		looped(gone)
		looped(shut)
		n.Stall()
		gone.send("SET a 1", "WAIT 1 0")
		shut.send("SET a 1", "WAIT 1 0")
		_ = gone.nc.Close()
		_ = shut.nc.(*net.TCPConn).CloseWrite()
		n.Resume()
		shut.expect("+OK", ":1")
		shut.closed()
	}
}
