package resp_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/replicatedstore/replicatedstore/node/resp"
	"github.com/replicatedstore/replicatedstore/node/resp/resptest"
)

// A client whose WAIT may last for ever does not keep others from sending long requests. If nothing long follows the WAIT, it does not even
// hold any of their memory.
func TestWaitHoldsUpNoLongRequests(t *testing.T) {
	const length = 1_500_000
	long := strings.Repeat("x", length)
	for name, tc := range map[string]struct {
		off    bool // CLIENT REPLY OFF
		behind string
	}{
		"behind a long reply": {},
		"without replies":     {off: true},
		"before more":         {behind: "SET after 1"},
		"before a long one":   {behind: string(encoded("SET", "after", long))},
	} {
		t.Run(name, func(t *testing.T) {
			n := resptest.Start(t, resp.Options{MaxLarge: 4 << 20})
			c := dial(t, n.Addr)
			if tc.off {
				c.send("CLIENT REPLY OFF")
			}
			c.send(string(encoded("SET", "k", long, "EX", "100")) + "GET k\r\nWAIT 2 0\r\n" + tc.behind)
			if !tc.off {
				c.expect("+OK")
				c.discard(1, length)
			}
			w := dial(t, n.Addr)
			eventually(t, func() string {
				w.send("INFO clients")
				if !strings.Contains(w.bulk(), "blocked_clients:1\r\n") {
					return "it does not wait"
				}
				return ""
			})
			if held := n.Server.Rationed(); held > 0 && len(tc.behind) < length {
				t.Errorf("it holds %d bytes", held)
			}
			for i := range 3 {
				w.send(string(encoded("SET", fmt.Sprint("other", i), long+long)))
				w.expect("+OK")
			}
		})
	}
}

// What a client sends behind a WAIT is run as usual, although the memory of what came before the WAIT was given back.
func TestWhatFollowsAWaitBehindALongRequest(t *testing.T) {
	n := resptest.Start(t, resp.Options{MaxLarge: 4 << 20})
	c := dial(t, n.Addr)
	long := string(encoded("SET", "k", strings.Repeat("x", 300_000)))
	for range 20 {
		c.send(long+"WAIT 2 1\r\nSET a 1\r\n"+string(encoded("SET", "b", "2", "GET"))+"MGET a b", long+"WAIT 2 1", "DEL a b\r\n*2\r\n$3\r\nGET\r\n$1")
		c.expect("+OK", ":0", "+OK", "$-1", "*2", "$1", "1", "$1", "2", "+OK", ":0", ":2")
		c.do("k", "$300000")
		if rest := c.line(); len(rest) != 300_000 {
			t.Fatalf("%d bytes", len(rest))
		}
	}
}
