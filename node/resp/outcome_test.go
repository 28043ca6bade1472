package resp_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/node/resp"
	"github.com/replicatedstore/replicatedstore/node/resp/resptest"
	"github.com/replicatedstore/replicatedstore/node/store"
)

// A deposed leader answers writes in flight with an unknown outcome, keeps the replies that do not depend on them, and closes the
// connection.
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
		"-OUTCOMEUNKNOWN the outcome of this write is unknown; it may or may not have been applied: outcome unknown: deposed by epoch 99",
		"+PONG", "-OUTCOMEUNKNOWN this command follows a write...", "-OUTCOMEUNKNOWN the outcome...")
	w.closed()
}

// A member that no longer leads refuses writes with the error that makes clients look for another leader.
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
	w.do("SET a 1", "-OUTCOMEUNKNOWN the outcome of this write is unknown; it may or may not have been applied: "+
		"outcome unknown: the leader and enough synchronous followers did not have it on disk within 50ms")
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

// While a handover holds the sequencer, writes wait. Those that wait too long are not run, and are answered accordingly.
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
	eventually(t, func() string { // most likely the write waits by then; the reply is the same if not
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
		"$1", "2", // this GET waited for the commit of the write before it, which proves the leadership
		"-MASTERDOWN...")
	n.RefuseReads(resp.ErrLoading)
	w.do("GET a", "-LOADING Redis is loading the dataset in memory")
	n.RefuseReads(nil)
	w.do("GET a", "$1", "2")
}

// A write whose effects exceed the size limit of an entry is refused as a whole.
func TestEntryTooLarge(t *testing.T) {
	n := resptest.Start(t, resp.Options{}, store.SequencerOptions{MaxEntryBytes: 1000})
	w := dial(t, n.Addr)
	value := string(make([]byte, 600))
	request := "*5\r\n$4\r\nMSET\r\n$1\r\na\r\n$600\r\n" + value + "\r\n$1\r\nb\r\n$600\r\n" + value + "\r\n"
	w.send("SET a 1", request+"GET a")
	w.expect("+OK", "-ERR write is too large...", "$1", "1")
}

// The reply to a write without effect is a read: it must not come from a leader that has been replaced. Only a committed entry of its own
// proves that the leader has not been.
func TestWriteWithoutEffectPassesTheReadGate(t *testing.T) {
	for _, without := range []string{"SETNX old 2", "DEL missing", "SET old 2 NX", "EXPIRE missing 10", "EXEC"} {
		t.Run(without, func(t *testing.T) {
			n := resptest.Start(t, resp.Options{})
			w := dial(t, n.Addr)
			w.do("SET old 1", "+OK")
			n.RefuseReads(resp.ErrStale)
			w.do("SET a 1", "+OK") // its own commit proves the leadership
			if without == "EXEC" {
				w.send("MULTI", "SETNX old 2")
				w.expect("+OK", "+QUEUED")
			}
			w.do(without, "-MASTERDOWN...")
			w.closed()
		})
	}
}

// A write in a batch proves the leadership for everything else that was evaluated in the batch.
func TestReadsBesideAWriteNeedNoGate(t *testing.T) {
	n := resptest.Start(t, resp.Options{})
	w := dial(t, n.Addr)
	n.RefuseReads(resp.ErrStale)
	w.send("SET a 1", "SETNX a 2", "GET a")
	w.expect("+OK", ":0", "$1", "1")
}

// deposedBetween is deposed and elected again when the server next asks the read gate, which it does to find out whether it may answer a batch
// that only read.
type deposedBetween struct {
	*resptest.Node
	depose atomic.Bool
}

func (d *deposedBetween) ReadGate(ctx context.Context) error {
	if d.depose.CompareAndSwap(true, false) {
		d.Depose() // another member may lead now, and write
		d.Lead()
	}
	return d.Node.ReadGate(ctx)
}

// A leader is deposed and elected again between two batches of a pipeline: the second batch's commit does not prove the reads of the first.
func TestReadsOfALeadershipThatIsOver(t *testing.T) {
	d := &deposedBetween{Node: resptest.Start(t, resp.Options{})}
	w := dial(t, serve(t, d, resp.Options{Now: time.Now}))
	w.do("SET old 1", "+OK")
	d.RefuseReads(resp.ErrStale)
	d.depose.Store(true)
	w.send("SETNX old 5", "PING", "SET a 1")
	w.expect("-MASTERDOWN...", "+PONG")
}

// If a command of a pipeline waits for memory for too long, the writes before it do not get an unknown outcome, and the commands after it have
// their full time.
func TestBatchThatTarriesHasItsOwnTime(t *testing.T) {
	n := resptest.Start(t, resp.Options{MaxLong: 3 << 20, StallTimeout: time.Hour})
	addr := withSmallBuffers(t, n)
	w := dial(t, n.Addr)
	w.do("SETRANGE big 2000000 x", ":2000001")
	for range 4 { // one has all the memory for long replies, and another what is lent
		slow := dial(t, addr)
		_ = slow.nc.(*net.TCPConn).SetReadBuffer(16 << 10)
		slow.send("GET big")
	}
	eventually(t, func() string {
		if held, waiting := n.Server.Replies(); held < 4_000_000 || waiting == 0 {
			return fmt.Sprintf("%d bytes are held, and %d clients wait", held, waiting)
		}
		return ""
	})
	n.Server.SetCommitTimeout(5 * time.Second)
	c := dial(t, n.Addr)
	c.send(strings.Repeat("SET k v\r\n", 70)+"GETSET big y", "SET b 2")
	for range 70 {
		c.expect("+OK")
	}
	c.expect("-TRYAGAIN nothing was written...", "+OK")
}
