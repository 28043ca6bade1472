package resp_test

import (
	"testing"

	"github.com/replicatedstore/replicatedstore/node/resp/resptest"
)

// TestNothingIsWatchedAfterTwoUpstreams sets watches over two connections to leaders, one after the other, and ends them.
func TestNothingIsWatchedAfterTwoUpstreams(t *testing.T) {
	for name, end := range map[string]func(c *wire){
		"UNWATCH": func(c *wire) { c.do("UNWATCH", "+OK") },
		"EXEC":    func(c *wire) { c.send("MULTI", "GET k", "EXEC"); c.expect("+OK", "+QUEUED", "*-1") },
		"DISCARD": func(c *wire) { c.send("MULTI", "DISCARD"); c.expect("+OK", "+OK") },
	} {
		t.Run(name, func(t *testing.T) {
			a := resptest.StartWaiting(t, forwarding())
			b, f := a.Follow(forwarding()), a.Follow(forwarding())
			a.Lead()
			f.Point(a.Addr)
			c := dial(t, f.Addr)
			c.do("WATCH k", "+OK")
			a.HandOver(b)
			f.Point(b.Addr)
			c.do("WATCH j", "+OK")
			end(c)
			dial(t, b.Addr).do("SET j 1", "+OK")
			c.send("MULTI", "SET x 1", "EXEC")
			c.expect("+OK", "+QUEUED", "*1", "+OK")
		})
	}
}
