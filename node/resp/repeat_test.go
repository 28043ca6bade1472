package resp_test

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/node/resp"
	"github.com/replicatedstore/replicatedstore/node/resp/resptest"
)

// repeated encodes a command that contains the last of words times times.
func repeated(times int, words ...string) string {
	var b strings.Builder
	last := words[len(words)-1]
	fmt.Fprintf(&b, "*%d\r\n", len(words)-1+times)
	for _, word := range words[:len(words)-1] {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(word), word)
	}
	b.WriteString(strings.Repeat(fmt.Sprintf("$%d\r\n%s\r\n", len(last), last), times))
	return strings.TrimSuffix(b.String(), "\r\n")
}

// A client that is asked for twice is listed twice, as in Redis, in both protocol versions.
func TestClientListOfTheSame(t *testing.T) {
	n := resptest.Start(t, resp.Options{})
	w := dial(t, n.Addr)
	id := strings.TrimPrefix(func() string { w.send("CLIENT ID"); return w.line() }(), ":")
	for _, hello := range []string{"", "HELLO 3"} {
		if hello != "" {
			w.send(hello, "ECHO ready")
			for w.line() != "ready" {
			}
		}
		w.send("CLIENT LIST ID " + id + " 999 " + id)
		lines := strings.Split(strings.TrimPrefix(w.bulk(), "txt:"), "\n")
		if len(lines) != 3 || !strings.HasPrefix(lines[0], "id="+id+" ") || !strings.HasPrefix(lines[1], "id="+id+" ") || lines[2] != "" {
			t.Errorf("%s: %q", hello, lines)
		}
		w.send("CLIENT LIST ID 999")
		if got := strings.TrimPrefix(w.bulk(), "txt:"); got != "" {
			t.Errorf("%s: nobody is %q", hello, got)
		}
	}
}

// A reply that repeats something small closes its connection once it exceeds the output limit. It is not produced completely before that.
func TestRepetitionsBeyondTheOutputLimit(t *testing.T) {
	n := resptest.Start(t, resp.Options{MaxOutput: 1 << 20})
	w := dial(t, n.Addr)
	w.do("CLIENT ID", ":1") // the client that is listed
	for name, tc := range map[string]struct {
		queue int // number of COMMANDs to queue
		ask   string
	}{
		"CLIENT LIST":  {0, repeated(200_000, "CLIENT", "LIST", "ID", "1")},
		"COMMAND INFO": {0, repeated(200_000, "COMMAND", "INFO", "get")},
		"EXEC":         {3000, "EXEC"},
	} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, n.Addr)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			if tc.queue > 0 {
				c.send("MULTI", "SET k 1", strings.Repeat("COMMAND\r\n", tc.queue)+"PING")
				c.expect("+OK", "+QUEUED", "+QUEUED")
				for range tc.queue {
					c.expect("+QUEUED")
				}
			}
			c.send(tc.ask)
			c.closed()
			if runtime.ReadMemStats(&after); after.TotalAlloc-before.TotalAlloc > 100<<20 { // most of this is for the request
				t.Errorf("%d MiB allocated", (after.TotalAlloc-before.TotalAlloc)>>20)
			}
			if tc.queue > 0 {
				w.do("EXISTS k", ":1") // the write took effect all the same
			}
		})
	}
}

// Replies that are long because they repeat something take turns as well.
func TestRepetitionsTakeTurns(t *testing.T) {
	const clients, most = 3, 1 << 20
	for name, ask := range map[string]string{
		"CLIENT LIST":  repeated(30_000, "CLIENT", "LIST", "ID", "1"),
		"COMMAND INFO": repeated(8_000, "COMMAND", "INFO", "get"),
	} {
		t.Run(name, func(t *testing.T) {
			n := resptest.Start(t, resp.Options{MaxLong: most})
			dial(t, n.Addr).do("CLIENT ID", ":1") // the client that is listed
			var all []*wire
			for range clients {
				all = append(all, dial(t, n.Addr))
			}
			for _, c := range all {
				c.send(ask, "ECHO end")
			}
			someIsHeld(t, n)
			time.Sleep(200 * time.Millisecond)
			if held := n.Server.Held(); held > 4*most {
				t.Errorf("%d MiB are held", held>>20)
			}
			var done sync.WaitGroup
			for _, c := range all {
				done.Go(func() {
					for c.line() != "end" {
					}
				})
			}
			done.Wait()
			noneIsHeld(t, n)
		})
	}
}
