package resp_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/node/resp/resptest"
)

// Connections that members open to the leader for their clients count against its maxclients. Clients for which there is no room get TRYAGAIN.
func TestForwardedClientsCountAtTheLeader(t *testing.T) {
	o := forwarding()
	o.Park = 3 * time.Second
	follower := resptest.StartWaiting(t, o)
	o.MaxClients = 2
	leader := resptest.Start(t, o)
	follower.Point(leader.Addr)
	a, b, c := dial(t, follower.Addr), dial(t, follower.Addr), dial(t, follower.Addr)
	a.do("SET a 1", "+OK")
	b.do("SET a 2", "+OK")
	c.do("SET a 3", "-TRYAGAIN nothing was written: no leader was reached within 3s: ...")
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

// Silent clients of other members keep no connections to the leader, unless they watch keys over them. They go on as if nothing had happened.
func TestSilentClientsKeepNoConnectionToTheLeader(t *testing.T) {
	for _, park := range []bool{false, true} { // silent for so long that a loop has the connections
		t.Run(fmt.Sprintf("in a loop %t", park), func(t *testing.T) {
			o := forwarding()
			o.Park = 3 * time.Second
			follower := resptest.StartWaiting(t, o)
			o.MaxClients = 2
			leader := resptest.Start(t, o)
			follower.Point(leader.Addr)
			a, b := dial(t, follower.Addr), dial(t, follower.Addr)
			a.do("INCR n", ":1")
			b.do("WATCH n", "+OK")
			dial(t, leader.Addr).expect("-ERR max number of clients reached")
			if park {
				eventually(t, func() string {
					if n := follower.Server.Parked(); n != 2 {
						return fmt.Sprintf("%d are in a loop", n)
					}
					return ""
				})
			}
			follower.Server.RestUpstreams(10 * time.Millisecond)
			var own *wire
			eventually(t, func() string {
				own = dial(t, leader.Addr)
				_, _ = own.nc.Write([]byte("PING\r\n")) // a failure shows in the reply
				if reply, err := own.r.ReadString('\n'); reply != "+PONG\r\n" {
					return fmt.Sprintf("%q, %v", reply, err)
				}
				return ""
			})
			time.Sleep(1500 * time.Millisecond) // in which b would have lost its connection, too
			follower.Server.RestUpstreams(time.Hour)
			b.send("MULTI", "INCR n", "EXEC")
			b.expect("+OK", "+QUEUED", "*1", ":2")
			own.do("QUIT", "+OK")
			own.closed()
			eventually(t, func() string {
				a.send("INCR n")
				if reply := a.line(); reply != ":3" {
					return reply
				}
				return ""
			})
		})
	}
}
