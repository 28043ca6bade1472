package resp_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/node/resp"
	"github.com/replicatedstore/replicatedstore/node/resp/resptest"
)

func TestWatch(t *testing.T) {
	for name, tt := range map[string]struct {
		before, between string
		aborted         bool
	}{
		"untouched":          {"SET k 1", "SET other 1", false},
		"set by another":     {"SET k 1", "SET k 1", true},
		"deleted":            {"SET k 1", "DEL k", true},
		"delete of nothing":  {"DEL k", "DEL k", false},
		"created":            {"DEL k", "SETNX k 1", true},
		"expiry changed":     {"SET k 1", "EXPIRE k 100", true},
		"renamed away":       {"SET k 1", "RENAME k other", true},
		"renamed onto":       {"SET other 1", "RENAME other k", true},
		"flushed":            {"SET k 1", "FLUSHALL", true},
		"flushed, absent":    {"DEL k", "FLUSHALL", false},
		"read":               {"SET k 1", "GETEX k", false},
		"refused write":      {"SET k 1", "SETNX k 2", false},
		"changed and undone": {"SET k 1", "MSET k 2 k 1", true},
	} {
		t.Run(name, func(t *testing.T) {
			n := resptest.Start(t, resp.Options{})
			a, b := dial(t, n.Addr), dial(t, n.Addr)
			b.send(tt.before)
			b.line()
			a.do("WATCH k x", "+OK")
			b.send(tt.between)
			b.line()
			a.send("MULTI", "SET k mine", "EXEC")
			a.expect("+OK", "+QUEUED")
			if tt.aborted {
				a.expect("*-1")
			} else {
				a.expect("*1", "+OK")
			}
			a.do("PING", "+PONG")
		})
	}
}

func TestWatchExpires(t *testing.T) {
	n := resptest.Start(t, resp.Options{})
	w := dial(t, n.Addr)
	w.do("SET k 1 EX 100", "+OK")
	w.do("WATCH k", "+OK")
	n.Advance(101 * time.Second)
	w.send("MULTI", "GET k", "EXEC")
	w.expect("+OK", "+QUEUED", "*-1")
	w.send("MULTI", "GET k", "EXEC") // no longer watched
	w.expect("+OK", "+QUEUED", "*1", "$-1")
}

// An EXEC is one entry: it is lost or kept as a whole, and so is its reply.
func TestExecOutcomeUnknown(t *testing.T) {
	n := resptest.Start(t, resp.Options{})
	w := dial(t, n.Addr)
	w.do("PING", "+PONG")
	n.Stall()
	w.send("MULTI", "SET a 1", "PING", "GET a", "EXEC", "PING")
	eventually(t, func() string {
		if !n.InFlight() {
			return "the write does not arrive"
		}
		return ""
	})
	n.Depose()
	w.expect("+OK", "+QUEUED", "+QUEUED", "+QUEUED", "-OUTCOMEUNKNOWN...", "+PONG")
	w.closed()
}

// watchMany watches keys keys of 16 bytes. Different values of names give different keys.
func (w *wire) watchMany(names, keys int) {
	w.t.Helper()
	var b strings.Builder
	for i := range keys {
		fmt.Fprintf(&b, " %06d-%09d", names, i)
	}
	w.send("WATCH" + b.String())
}

// A WATCH that exceeds the size limit, which is the one for MULTI, is refused. The keys watched before stay watched.
func TestWatchedKeysAreBounded(t *testing.T) {
	n := resptest.Start(t, resp.Options{Limits: resp.Limits{MaxRequest: 64 << 10}})
	w := dial(t, n.Addr)
	for i := range 2 {
		w.watchMany(i, 100)
		w.expect("+OK")
	}
	for range 2 {
		w.watchMany(3, 100)
		w.expect("-ERR the watched keys are longer than client-query-buffer-limit")
		w.watchMany(1, 100) // again
		w.expect("+OK")
	}
	dial(t, n.Addr).do("SET 000003-000000001 x", "+OK") // not watched
	w.send("MULTI", "PING", "EXEC")
	w.expect("+OK", "+QUEUED", "*1", "+PONG")
	w.watchMany(3, 100)
	w.expect("+OK")
}

// Watched keys take turns with long requests until they are no longer watched.
func TestWatchedKeysTakeTurns(t *testing.T) {
	const commands, keys = 8, 1000 // 2 MiB
	n := resptest.Start(t, resp.Options{MaxLarge: 3 << 20})
	watchAll := func(w *wire) {
		for i := range commands {
			w.watchMany(i, keys)
		}
	}
	watched := func(w *wire) {
		t.Helper()
		for range commands {
			w.expect("+OK")
		}
	}
	for name, end := range map[string]func(*wire){
		"UNWATCH": func(w *wire) { w.do("UNWATCH", "+OK") },
		"EXEC":    func(w *wire) { w.send("MULTI", "EXEC"); w.expect("+OK", "*0") },
		"DISCARD": func(w *wire) { w.send("MULTI", "DISCARD"); w.expect("+OK", "+OK") },
		"RESET":   func(w *wire) { w.do("RESET", "+RESET") },
		"the end": func(w *wire) { _ = w.nc.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			a, b := dial(t, n.Addr), dial(t, n.Addr)
			watchAll(a)
			watched(a)
			if n.Server.Rationed() < commands*keys*256 {
				t.Errorf("only %d bytes are rationed", n.Server.Rationed())
			}
			watchAll(b)
			time.Sleep(200 * time.Millisecond)
			if got := n.Server.Counted(); got > 3<<20 { // on a busy machine, what a has may be lent by now
				t.Errorf("%d bytes are watched at once", got)
			}
			end(a)
			watched(b)
			end(b)
			eventuallyNone(t, n.Server.Rationed)
		})
	}
	a, b := dial(t, n.Addr), dial(t, n.Addr)
	watchAll(a)
	watched(a)
	watchAll(b)
	watched(b) // b does not wait forever, although a keeps watching
}

// UNWATCH, DISCARD and an EXEC that is refused keep a follower's connection to the leader.
func TestUnwatchKeepsTheConnectionToTheLeader(t *testing.T) {
	leader, follower := forwardingPair(t)
	l, f := dial(t, leader.Addr), dial(t, follower.Addr)
	f.do("SET a 1", "+OK")
	made := func() (n int) {
		l.send("INFO stats")
		for line := range strings.SplitSeq(l.bulk(), "\r\n") {
			_, _ = fmt.Sscanf(line, "total_connections_received:%d", &n)
		}
		return n
	}
	before := made()
	for i := range 20 {
		f.do("WATCH a", "+OK")
		f.do("GET a", "$1", "1")
		f.do("UNWATCH", "+OK")
		f.do("GET a", "$1", "1")
		f.send("WATCH a", "MULTI", "GET a", "DISCARD", "GET a")
		f.expect("+OK", "+OK", "+QUEUED", "+OK", "$1", "1")
		f.send("WATCH a", "UNWATCH", "WATCH b", "MULTI", "SET", "EXEC")
		f.expect("+OK", "+OK", "+OK", "+OK", "-ERR wrong number...", "-EXECABORT...")
		f.do("WATCH b", "+OK")
		f.do("UNWATCH", "+OK")
		l.do(fmt.Sprintf("SET b %d", i), "+OK")
		f.send("WATCH a", "MULTI", "SET a 1", "EXEC") // a did not change, and b is no longer watched
		f.expect("+OK", "+OK", "+QUEUED", "*1", "+OK")
	}
	if n := made() - before; n > 0 {
		t.Errorf("%d connections were made to the leader", n)
	}
}
