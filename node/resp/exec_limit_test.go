package resp_test

import (
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/replicatedstore/replicatedstore/node/resp"
	"github.com/replicatedstore/replicatedstore/node/resp/resptest"
)

// TestExecOfReadsKeepsTheOutputLimit runs MGET within a transaction at a follower, with replies that are far longer than a client's replies
// may be, while another client holds memory for its own. The connection is closed, and no memory is taken for the replies.
func TestExecOfReadsKeepsTheOutputLimit(t *testing.T) {
	o := forwarding()
	o.MaxLong, o.MaxOutput, o.MaxLarge = 4<<20, 8<<20, 4<<20
	leader, f := pairWith(t, o)
	dial(t, leader.Addr).do("SETRANGE big 1048575 x", ":1048576")
	slow := dial(t, f.Addr)
	slow.send(slices.Repeat([]string{"GET big"}, 40)...)
	time.Sleep(300 * time.Millisecond) // until its replies wait for it
	before := heapSys()
	c := dial(t, f.Addr)
	c.renew()
	mget := encoded(append([]string{"MGET"}, slices.Repeat([]string{"big"}, 600)...)...)
	_, _ = c.nc.Write(slices.Concat([]byte("MULTI\r\n"), mget, []byte("EXEC\r\n")))
	_, _ = io.Copy(io.Discard, c.nc)
	if grown := heapSys() - before; grown > 200<<20 {
		t.Errorf("%d MiB were taken for replies that may have 8 MiB", grown>>20)
	}
}

// A transaction whose commands copy too much is refused before any of it is run: it would hold the sequencer for long, for which all writes
// and a fence wait. A follower does not send it again.
func TestExecThatReadsTooMuchIsRefused(t *testing.T) {
	const commands = 3000
	leader, follower := forwardingPair(t)
	w := dial(t, leader.Addr)
	w.do("SETRANGE k 1048575 x", ":1048576")
	tries := 0
	for name, addr := range map[string]string{"leader": leader.Addr, "follower": follower.Addr} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, addr)
			c.send("MULTI", "SET a 1", strings.Repeat("GETRANGE k 0 0\r\n", commands)+"PING")
			c.expect("+OK")
			c.expect(slices.Repeat([]string{"+QUEUED"}, commands+2)...)
			sent, queued := calls(w, "exec"), calls(w, "getrange")
			c.do("EXEC", "-EXECABORT Transaction discarded because of: its commands read more than 2 GiB of values, which would hold up other clients...")
			if got := calls(w, "exec") - sent; got != 1 {
				t.Errorf("the leader was sent it %d times", got)
			}
			if got := calls(w, "getrange") - queued; got > commands || addr == leader.Addr && got > 0 {
				t.Errorf("%d GETRANGEs were run", got)
			}
			w.do("EXISTS a", ":0")
			c.do("EXEC", "-ERR EXEC without MULTI")
			c.send("MULTI", "GETRANGE k 0 0", "EXEC")
			c.expect("+OK", "+QUEUED", "*1", "$1", "\x00")
			c.do("WATCH k", "+OK")
			w.do("APPEND k x", fmt.Sprintf(":%d", 1048577+tries))
			tries++
			c.send("MULTI", strings.Repeat("GETRANGE k 0 0\r\n", commands)+"EXEC")
			c.expect("+OK")
			c.expect(slices.Repeat([]string{"+QUEUED"}, commands)...)
			c.expect("*-1")
		})
	}
}

// While a transaction is read ahead, another client makes the value long that it copies many times. The test's disk makes sure of that: the
// first read waits until that client is answered.
func TestExecThatTurnsOutToReadTooMuchEnds(t *testing.T) {
	const commands = 20
	var between atomic.Pointer[func()]
	fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileReadAt {
			if f := between.Swap(nil); f != nil {
				(*f)()
			}
		}
		return nil
	}))
	n := resptest.StartOn(t, fs, resp.Options{})
	n.Server.ReadAtMost(64 << 20)
	other, w := dial(t, n.Addr), dial(t, n.Addr)
	other.do("SETRANGE cold 8388607 x", ":8388608") // no cache keeps it
	if _, err := n.Machine().Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		k := fmt.Sprint("k", i)
		w.send("MULTI", "SET a 1", strings.Repeat("GETRANGE "+k+" 0 0\r\n", commands)+"GETRANGE cold 0 0")
		w.expect("+OK")
		w.expect(slices.Repeat([]string{"+QUEUED"}, commands+2)...)
		queued := calls(other, "getrange")
		grow := func() { other.do("SETRANGE "+k+" 8388607 x", ":8388608") }
		between.Store(&grow)
		w.do("EXEC", "-EXECABORT Transaction discarded because of: its commands read more than 2 GiB...")
		w.do("EXISTS a", ":0")
		switch got := calls(other, "getrange") - queued; got {
		case 9:
			return
		case 0: // a read in the background came first, so the value was long before it was read ahead
		default:
			t.Fatalf("%d values of 8 MiB were copied", got)
		}
	}
	t.Error("the value never became long in time: this shows nothing")
}

func heapSys() int {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapSys)
}
