package resp_test

import (
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/node/resp/resptest"
)

// Connections that members open to the leader for their clients count against its maxclients. Clients for which there is no room get TRYAGAIN.
func TestForwardedClientsCountAtTheLeader(t *testing.T) {
	o := forwarding()
	o.Park = time.Second
	follower := resptest.StartWaiting(t, o)
	o.MaxClients = 2
	leader := resptest.Start(t, o)
	follower.Point(leader.Addr)
	a, b, c := dial(t, follower.Addr), dial(t, follower.Addr), dial(t, follower.Addr)
	a.do("SET a 1", "+OK")
	b.do("SET a 2", "+OK")
	c.do("SET a 3", "-TRYAGAIN nothing was written: no leader was reached within 1s: ...")
	dial(t, leader.Addr).expect("-ERR max number of clients reached")
	_ = b.nc.Close()
	eventually(t, func() string {
		c.send("SET a 3")
		if reply := c.line(); reply != "+OK" {
			return reply
		}
		return ""
	})
}
