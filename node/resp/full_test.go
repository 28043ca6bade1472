package resp_test

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/node/resp"
	"github.com/replicatedstore/replicatedstore/node/resp/resptest"
)

// What a leader accepts depends on how full its volume is. It refuses first commands that add to the data, and then also those that rewrite
// values. It always accepts reads and commands that only remove.
func TestWritesByWhatTheyNeedOfTheVolume(t *testing.T) {
	n := resptest.Start(t, resp.Options{})
	c := dial(t, n.Addr)
	c.do("SET a 1", "+OK")
	c.do("SET b 2", "+OK")
	const refused = "-STORAGEFULL nothing was written: why"
	n.SetRoom(resp.Room{Add: 0, Rewrite: true, Why: "why"})
	c.do("SET a 3", refused)
	c.do("APPEND a 3", refused)
	c.do("INCR a", refused)
	c.do("MSET x 1 y 2", refused)
	c.do("EXPIRE a 100", ":1")
	c.do("PERSIST a", ":1")
	c.do("RENAME b c", "+OK")
	n.SetRoom(resp.Room{Why: "why"})
	c.do("EXPIRE a 100", refused)
	c.do("RENAME c b", refused)
	c.do("GET a", "$1", "1")
	c.do("MULTI", "+OK")
	c.do("DEL a", "+QUEUED")
	c.do("SET a 1", refused)
	c.do("EXEC", "-EXECABORT Transaction discarded because of previous errors.")
	c.do("DEL a", ":1")
	c.do("UNLINK c", ":1")
	c.do("FLUSHALL", "+OK")
	n.SetRoom(resp.Room{Add: 1 << 10, Rewrite: true, Why: "why"})
	c.do("SET small x", "+OK")
	c.do("SET large "+strings.Repeat("x", 1<<10), refused)
	c.do("SETRANGE small 2000 x", refused)
}

// A transaction that was queued while there was room is refused as a whole if there is none at EXEC.
func TestATransactionThatFindsTheVolumeFull(t *testing.T) {
	n := resptest.Start(t, resp.Options{})
	c := dial(t, n.Addr)
	c.do("MULTI", "+OK")
	c.do("SET a 1", "+QUEUED")
	c.do("SET b 1", "+QUEUED")
	n.SetRoom(resp.Room{Add: 8, Rewrite: true, Why: "why"}) // enough for one of the two writes
	c.do("EXEC", "-EXECABORT Transaction discarded because of: STORAGEFULL nothing was written: why")
	c.do("EXISTS a b", ":0")
}

// fullForAMoment has no room at the n-th call of Room from now on, and has room at all others.
type fullForAMoment struct {
	*resptest.Node
	n atomic.Int64
}

func (f *fullForAMoment) Room() resp.Room {
	if f.n.Add(-1) == 0 {
		return resp.Room{Why: "why"}
	}
	return f.Node.Room()
}

// If the reason to refuse a command disappears before it is answered, the command is run, or still refused for that reason. (It used to be
// answered with an empty error.)
func TestRoomThatComesBackMeanwhile(t *testing.T) {
	f := &fullForAMoment{Node: resptest.Start(t, resp.Options{})}
	c := dial(t, serve(t, f, resp.Options{Now: time.Now}))
	for n := range int64(8) {
		f.n.Store(n)
		c.send("INCR a", "INCR a", "INCR a")
		for range 3 {
			if line := c.line(); !strings.HasPrefix(line, ":") && line != "-STORAGEFULL nothing was written: why" {
				t.Errorf("full at the look number %d: %q", n, line)
			}
		}
	}
}
