package resp_test

import (
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/node/resp"
	"github.com/replicatedstore/replicatedstore/node/resp/resptest"
)

// A leader that has heard too few followers for as long as a write may wait refuses writes, which could only end as of unknown
// outcome; it goes on reading, and takes writes again once it hears them.
func TestWritesWhileTooFewFollowersAreHeard(t *testing.T) {
	n := resptest.Start(t, resp.Options{CommitTimeout: 5 * time.Second})
	c := dial(t, n.Addr)
	c.do("SET a 1", "+OK")
	n.SetUnheard(4900 * time.Millisecond) // they may be back before it is given up
	c.do("SET a 2", "+OK")
	n.SetUnheard(5 * time.Second)
	const refused = "NOREPLICAS nothing was written: too few synchronous followers have been heard for 5s; try again once they are back"
	c.do("SET a 3", "-"+refused)
	c.do("DEL a", "-"+refused)
	c.do("GET a", "$1", "2")
	c.do("PING", "+PONG")
	c.do("MULTI", "+OK")
	c.do("GET a", "+QUEUED")
	c.do("SET a 4", "-"+refused)
	c.do("EXEC", "-EXECABORT Transaction discarded because of previous errors.")
	c.do("MULTI", "+OK")
	c.do("GET a", "+QUEUED")
	c.do("EXEC", "*1", "$1", "2")
	n.SetUnheard(0)
	c.do("MULTI", "+OK")
	c.do("SET a 5", "+QUEUED")
	n.SetUnheard(time.Minute)
	c.do("EXEC", "-EXECABORT Transaction discarded because of: NOREPLICAS nothing was written: too few synchronous followers have been heard for 1m0s; "+
		"try again once they are back")
	n.SetUnheard(0)
	c.do("GET a", "$1", "2")
	c.do("SET a 6", "+OK")
}

// However short writes may wait, moments are not enough.
func TestMomentsAloneAreNoReasonToRefuse(t *testing.T) {
	n := resptest.Start(t, resp.Options{CommitTimeout: 100 * time.Millisecond})
	c := dial(t, n.Addr)
	n.SetUnheard(2900 * time.Millisecond)
	c.do("SET a 1", "+OK")
	n.SetUnheard(3 * time.Second)
	c.do("SET a 2", "-NOREPLICAS nothing was written: too few synchronous followers have been heard for 3s; try again once they are back")
}
