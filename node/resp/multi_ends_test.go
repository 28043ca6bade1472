package resp_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/replicatedstore/replicatedstore/node/resp"
	"github.com/replicatedstore/replicatedstore/node/resp/resptest"
	"github.com/replicatedstore/replicatedstore/node/store"
)

// calls returns how often a command was run or queued.
func calls(w *wire, name string) (n int) {
	w.t.Helper()
	w.send("INFO commandstats")
	_, rest, found := strings.Cut(w.bulk(), "cmdstat_"+name+":calls=")
	if !found {
		return 0
	}
	if _, err := fmt.Sscanf(rest, "%d,", &n); err != nil {
		w.t.Fatal(err)
	}
	return n
}

// Once a transaction is refused, nothing more of it is run: it would occupy the sequencer, for which all writes and a fence wait.
func TestRefusedTransactionEndsAtOnce(t *testing.T) {
	n := resptest.Start(t, resp.Options{}, store.SequencerOptions{MaxEntryBytes: 100_000})
	w := dial(t, n.Addr)
	w.do("SETRANGE big 39999 x", ":40000")
	c := dial(t, n.Addr)
	c.send("MULTI", "SET a 1", strings.Repeat("APPEND big x\r\n", 50)+"GET big")
	c.expect("+OK")
	for range 52 {
		c.expect("+QUEUED")
	}
	queued := calls(w, "append")
	c.do("EXEC", "-ERR write is too large...")
	if got := calls(w, "append") - queued; got != 3 {
		t.Errorf("%d APPENDs were run, the third was too much", got)
	}
	w.do("EXISTS a", ":0")
	w.do("STRLEN big", ":40000")
}

// Once the replies of a transaction are too long, it reads nothing more, but its writes take effect.
func TestTransactionWithTooLongRepliesReadsNoMore(t *testing.T) {
	n := resptest.Start(t, resp.Options{MaxOutput: 100_000})
	w := dial(t, n.Addr)
	w.do("SETRANGE big 39999 x", ":40000")
	for _, write := range []string{"SET a 1", "PING"} {
		c := dial(t, n.Addr)
		c.send("MULTI", strings.Repeat("GET big\r\n", 50)+write)
		c.expect("+OK")
		for range 51 {
			c.expect("+QUEUED")
		}
		queued := calls(w, "get")
		c.send("EXEC")
		c.closed()
		if got := calls(w, "get") - queued; got != 3 {
			t.Errorf("%s: %d GETs were run, the third was too much", write, got)
		}
		w.do("EXISTS a", ":1")
	}
}

// A HELLO in a transaction counts from its own reply on, as in Redis. One that was not executed does not count.
func TestHelloInATransaction(t *testing.T) {
	leader, follower := forwardingPair(t)
	hello := func(w *wire, head, proto string) {
		w.t.Helper()
		w.expect(head, "$6", "server", "$5", "redis", "$7", "version", "$6", "...", "$5", "proto", ":"+proto, "$2", "id", ":...",
			"$4", "mode", "$10", "standalone", "$4", "role", "$...", "...", "$7", "modules", "*0")
	}
	for name, n := range map[string]*resptest.Node{"leader": leader, "follower": follower} {
		t.Run(name, func(t *testing.T) {
			w := dial(t, n.Addr)
			w.send("MULTI", "GET none", "HELLO 3", "GET none", "HELLO 2", "GET none", "HELLO 4", "HELLO 3", "EXEC", "GET none")
			w.expect("+OK", "+QUEUED", "+QUEUED", "+QUEUED", "+QUEUED", "+QUEUED", "+QUEUED", "+QUEUED", "*7", "$-1")
			hello(w, "%7", "3")
			w.expect("_")
			hello(w, "*14", "2")
			w.expect("$-1", "-NOPROTO unsupported protocol version")
			hello(w, "%7", "3")
			w.expect("_")
		})
	}
	w := dial(t, leader.Addr)
	w.send("MULTI", "HELLO 3", "DISCARD", "GET none")
	w.expect("+OK", "+QUEUED", "+OK", "$-1")
	w.send("SET a 1", "WATCH a", "SET a 2", "MULTI", "HELLO 3", "EXEC", "GET none")
	w.expect("+OK", "+OK", "+OK", "+OK", "+QUEUED", "*-1", "$-1")
}

// If the store refuses a transaction, its HELLO does not count either.
func TestHelloInARefusedTransaction(t *testing.T) {
	n := resptest.Start(t, resp.Options{}, store.SequencerOptions{MaxEntryBytes: 1000})
	w := dial(t, n.Addr)
	w.send("MULTI", "HELLO 3", "SETRANGE a 2000 x", "EXEC", "GET none", "CLIENT INFO")
	w.expect("+OK", "+QUEUED", "+QUEUED", "-ERR write is too large...", "$-1")
	if info := w.bulk(); !strings.Contains(info, " resp=2 ") {
		t.Error(info)
	}
}
