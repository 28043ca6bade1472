package resp_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/node/resp"
	"github.com/replicatedstore/replicatedstore/node/resp/resptest"
	"github.com/replicatedstore/replicatedstore/node/store"
)

// A deposed leader answers what is in flight with an unknown outcome, keeps the replies that do not depend on it, and
// closes.
func TestDeposedInFlight(t *testing.T) {
	n := resptest.Start(t, resp.Options{})
	w := dial(t, n.Addr)
	w.do("SET old 1", "+OK")
	n.Stall()
	w.send("GET old", "SET a 1", "PING", "GET a", "CLIENT REPLY SKIP", "SET b 1", "INCR c")
	eventually(t, func() string {
		if !n.InFlight() {
			return "the write does not arrive"
		}
		return ""
	})
	n.Depose()
	w.expect("$1", "1",
		"-OUTCOMEUNKNOWN the outcome of this write is unknown, it may or may not have been applied: outcome unknown: deposed by epoch 99",
		"+PONG", "-OUTCOMEUNKNOWN this command follows a write...", "-OUTCOMEUNKNOWN the outcome...")
	w.closed()
}

// A member that stopped leading refuses writes in the words that make clients look for another.
func TestDeposedBefore(t *testing.T) {
	n := resptest.Start(t, resp.Options{})
	w := dial(t, n.Addr)
	w.do("SET a 1", "+OK")
	n.Depose()
	w.closed()
	w = dial(t, n.Addr)
	w.send("SET a 2", "GET a", "MULTI", "SET a 3", "EXEC")
	w.expect("-READONLY You can't write against a read only replica.", "$1", "1",
		"+OK", "-READONLY You can't...", "-EXECABORT Transaction discarded because of previous errors.")
}

func TestCommitTimeout(t *testing.T) {
	n := resptest.Start(t, resp.Options{})
	w := dial(t, n.Addr)
	w.do("CONFIG SET commit-timeout-ms 50", "+OK")
	n.Stall()
	w.do("SET a 1", "-OUTCOMEUNKNOWN the outcome of this write is unknown, it may or may not have been applied: "+
		"outcome unknown: the leader and enough of its synchronous followers did not have it on disk within 50ms")
	w.closed()
	n.Resume()
	w = dial(t, n.Addr)
	eventually(t, func() string {
		w.send("GET a")
		if w.line() != "$1" {
			return "the write is not applied"
		}
		w.expect("1")
		return ""
	})
}

// While a handover holds the sequencer, writes wait; those that wait too long have not happened, and say so.
func TestHold(t *testing.T) {
	n := resptest.Start(t, resp.Options{CommitTimeout: 50 * time.Millisecond})
	w := dial(t, n.Addr)
	n.Hold()
	w.do("SET a 1", "-TRYAGAIN nothing was written...")
	w.do("GET a", "$-1")
	n.Release()
	w.do("CONFIG SET commit-timeout-ms 20000", "+OK")
	w.do("SET a 2", "+OK")
}

func TestHoldThenDeposed(t *testing.T) {
	n := resptest.Start(t, resp.Options{})
	w := dial(t, n.Addr)
	n.Hold()
	w.send("SET a 1")
	eventually(t, func() string { // most likely it waits by then; the reply is the same if not
		if n.Server.Busy() == 0 {
			return "the write does not arrive"
		}
		return ""
	})
	n.Depose()
	w.expect("-READONLY You can't write against a read only replica.")
	w.closed()
}

func TestReadGate(t *testing.T) {
	n := resptest.Start(t, resp.Options{})
	w := dial(t, n.Addr)
	w.do("SET a 1", "+OK")
	n.RefuseReads(resp.ErrStale)
	w.send("GET a", "PING", "SET a 2", "GET a", "KEYS *")
	w.expect("-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.", "+PONG", "+OK",
		"$1", "2", // it waited for the commit of the write before it, which proves the leadership
		"-MASTERDOWN...")
	n.RefuseReads(resp.ErrLoading)
	w.do("GET a", "-LOADING Redis is loading the dataset in memory")
	n.RefuseReads(nil)
	w.do("GET a", "$1", "2")
}

// A write whose effects exceed what an entry may hold is refused as a whole.
func TestEntryTooLarge(t *testing.T) {
	n := resptest.Start(t, resp.Options{}, store.SequencerOptions{MaxEntryBytes: 1000})
	w := dial(t, n.Addr)
	value := string(make([]byte, 600))
	request := "*5\r\n$4\r\nMSET\r\n$1\r\na\r\n$600\r\n" + value + "\r\n$1\r\nb\r\n$600\r\n" + value + "\r\n"
	w.send("SET a 1", request+"GET a")
	w.expect("+OK", "-ERR write is too large...", "$1", "1")
}

// What a write without effect answers is a read: it must not come from a leader that another has replaced. Only an entry of
// its own that is committed shows that there is none.
func TestWriteWithoutEffectPassesTheReadGate(t *testing.T) {
	for _, without := range []string{"SETNX old 2", "DEL missing", "SET old 2 NX", "EXPIRE missing 10", "EXEC"} {
		t.Run(without, func(t *testing.T) {
			n := resptest.Start(t, resp.Options{})
			w := dial(t, n.Addr)
			w.do("SET old 1", "+OK")
			n.RefuseReads(resp.ErrStale)
			w.do("SET a 1", "+OK") // its commit is proof enough
			if without == "EXEC" {
				w.send("MULTI", "SETNX old 2")
				w.expect("+OK", "+QUEUED")
			}
			w.do(without, "-MASTERDOWN...")
			w.closed()
		})
	}
}

// A write earlier in the pipeline is proof for what was evaluated with it.
func TestReadsBesideAWriteNeedNoGate(t *testing.T) {
	n := resptest.Start(t, resp.Options{})
	w := dial(t, n.Addr)
	n.RefuseReads(resp.ErrStale)
	w.send("SET a 1", "SETNX a 2", "GET a")
	w.expect("+OK", ":0", "$1", "1")
}

// deposedBetween is cut off from its followers, and is deposed and elected again as soon as the server has looked whether a batch that
// only read may be answered.
type deposedBetween struct {
	*resptest.Node
	depose atomic.Bool
}

func (d *deposedBetween) ReadGate(ctx context.Context) error {
	if d.depose.CompareAndSwap(true, false) {
		d.Depose() // another leads, and changes what is there
		d.Lead()
	}
	return d.Node.ReadGate(ctx)
}

// Deposed and elected again between two batches of one pipeline: what the first one read is not proved by the second one's commit.
func TestReadsOfALeadershipThatIsOver(t *testing.T) {
	d := &deposedBetween{Node: resptest.Start(t, resp.Options{})}
	w := dial(t, serve(t, d, resp.Options{Now: time.Now}))
	w.do("SET old 1", "+OK")
	d.RefuseReads(resp.ErrStale)
	d.depose.Store(true)
	w.send("SETNX old 5", "PING", "SET a 1")
	w.expect("-MASTERDOWN...", "+PONG")
}

// Of a pipeline of which one command waits for memory for too long, what was evaluated earlier is not called of unknown outcome, and what
// comes later has all its time.
func TestBatchThatTarriesHasItsOwnTime(t *testing.T) {
	n := resptest.Start(t, resp.Options{CommitTimeout: 300 * time.Millisecond, MaxLong: 3 << 20})
	w := dial(t, n.Addr)
	w.do("SETRANGE big 2000000 x", ":2000001")
	slow := dial(t, n.Addr) // takes all that long replies may take, for two seconds
	slow.send(strings.Repeat("GET big\r\n", 8) + "PING")
	time.Sleep(200 * time.Millisecond)
	c := dial(t, n.Addr)
	c.send(strings.Repeat("SET k v\r\n", 70)+"GETSET big y", "SET b 2")
	for range 70 {
		c.expect("+OK")
	}
	c.expect("-TRYAGAIN nothing was written...", "+OK")
}
