package resp_test

import (
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
	w.send("MULTI", "GET k", "EXEC") // not watched any more
	w.expect("+OK", "+QUEUED", "*1", "$-1")
}

// An EXEC is one entry: it is lost or kept as a whole, and so is its answer.
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
