package resp_test

import (
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/node/resp"
	"github.com/replicatedstore/replicatedstore/node/resp/resptest"
)

const longLength = 6 << 20 // more than the kernel keeps

// longReply stands for a long value in expected replies; see takeLong.
const longReply = "(long)"

// Long values in replies are in memory for only a few clients at a time, however many clients ask, and whatever commands they use. (A member
// with a memory limit of 256Mi was killed by fifty clients that read 8 MiB each.)
func TestLongRepliesTakeTurns(t *testing.T) {
	const clients, most = 12, 2 * longLength
	for name, tc := range map[string]struct{ ask, want []string }{
		"GET":  {[]string{"GET long"}, []string{longReply}},
		"MGET": {[]string{"MGET long none long"}, []string{"*3", longReply, "$-1", longReply}},
		"MGET in EXEC": {[]string{"MULTI", "MGET long long", "INCR n-%d", "EXEC"},
			[]string{"+OK", "+QUEUED", "+QUEUED", "*2", "*2", longReply, longReply, ":1"}},
		"behind a write":   {[]string{"INCR n-%d", "GET long"}, []string{":1", longReply}},
		"GETDEL":           {[]string{"GETDEL long-%d"}, []string{longReply}},
		"in a transaction": {[]string{"MULTI", "GET long", "EXEC"}, []string{"+OK", "+QUEUED", "*1", longReply}},
	} {
		t.Run(name, func(t *testing.T) {
			n := resptest.Start(t, resp.Options{MaxLong: most, CommitTimeout: time.Minute})
			w := dial(t, n.Addr)
			makeLong(w, "long", longLength)
			var all []*wire
			for i := range clients {
				if name == "GETDEL" {
					makeLong(w, fmt.Sprint("long-", i), longLength)
				}
				all = append(all, dial(t, n.Addr))
			}
			measured := !strings.HasPrefix(name, "MGET") && name != "GETDEL" // one MGET may take more than its share; deleted values stay for a while
			before := settledHeap()
			for i, c := range all {
				for _, line := range tc.ask {
					c.send(strings.ReplaceAll(line, "%d", fmt.Sprint(i)))
				}
			}
			someIsHeld(t, n)
			time.Sleep(200 * time.Millisecond)
			const bound = 2*most + longLength + 16<<20
			if held := grown(before, bound); measured && held > bound {
				t.Errorf("%d MiB for %d clients that do not take their replies of %d MiB", held>>20, clients, longLength>>20)
			}
			if held := n.Server.Held(); held > 2*most+2*longLength {
				t.Errorf("%d MiB are held", held>>20)
			}
			var done sync.WaitGroup
			for _, c := range all {
				done.Go(func() { takeLong(c, tc.want...) })
			}
			done.Wait()
			noneIsHeld(t, n)
		})
	}
}

// takeLong is like expect, but want may contain longReply.
func takeLong(c *wire, want ...string) {
	for _, w := range want {
		if w != longReply {
			c.expect(w)
			continue
		}
		c.expect(fmt.Sprintf("$%d", longLength))
		if _, err := io.CopyN(io.Discard, c.r, longLength-1); err != nil {
			c.t.Errorf("in the middle of a value: %v", err)
			return
		}
		c.expect("v")
	}
}

// makeLong stores a value of n bytes: zeros, with a v at the end.
func makeLong(w *wire, key string, n int) {
	w.do(fmt.Sprintf("SETRANGE %s %d v", key, n-1), fmt.Sprintf(":%d", n))
}

// settledHeap returns the size of the heap without garbage, in bytes.
func settledHeap() int64 {
	runtime.GC()
	runtime.GC() // the second collection empties the pools
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// grown returns by how much the heap has grown since it was of size before. If that is more than most, it looks again, up to ten times: what
// is allocated just for a moment does not count.
func grown(before, most int64) (held int64) {
	for range 10 {
		if held = settledHeap() - before; held <= most {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	return held
}

// The bound also holds for replies of the leader that a member passes on.
func TestForwardedLongRepliesTakeTurns(t *testing.T) {
	const clients, most = 6, 2 * longLength
	leader := resptest.StartWaiting(t, forwarding())
	o := forwarding()
	o.MaxLong = most
	follower := leader.Follow(o)
	leader.Lead()
	follower.Point(leader.Addr)
	makeLong(dial(t, leader.Addr), "long", longLength)
	var all []*wire
	for range clients {
		c := dial(t, follower.Addr)
		c.do("INCR n", fmt.Sprintf(":%d", len(all)+1)) // binds the connection: from here on the leader answers
		all = append(all, c)
	}
	for _, c := range all {
		c.send("GET long")
	}
	eventually(t, func() string {
		if _, waiting := follower.Server.Replies(); waiting < clients-4 { // two replies fit, and two more may be lent
			return fmt.Sprintf("%d clients wait for their turn", waiting)
		}
		return ""
	})
	if held := follower.Server.Held(); held > 2*most {
		t.Errorf("it holds %d MiB", held>>20)
	}
	var done sync.WaitGroup
	for _, c := range all {
		done.Go(func() { takeLong(c, longReply) })
	}
	done.Wait()
}

// A reply that exceeds the output limit closes its connection, and takes nothing from the others.
func TestLongRepliesBeyondTheOutputLimit(t *testing.T) {
	n := resptest.Start(t, resp.Options{MaxLong: longLength, MaxOutput: 3 * longLength})
	w, other := dial(t, n.Addr), dial(t, n.Addr)
	makeLong(w, "long", longLength)
	w.send("MGET long long long long")
	w.closed()
	other.send("GET long", "MGET long long")
	takeLong(other, longReply, "*2", longReply, longReply)
	noneIsHeld(t, n)
}

func someIsHeld(t *testing.T, n *resptest.Node) {
	t.Helper()
	eventually(t, func() string {
		if n.Server.Held() == 0 {
			return "nothing is held"
		}
		return ""
	})
}

func noneIsHeld(t *testing.T, n *resptest.Node) {
	t.Helper()
	eventuallyNone(t, n.Server.Held)
}

// eventuallyNone waits until nothing is held.
func eventuallyNone(t *testing.T, held func() int) {
	t.Helper()
	eventually(t, func() string {
		if n := held(); n != 0 {
			return fmt.Sprintf("%d bytes are held for nobody", n)
		}
		return ""
	})
}

// Many shorter values in one reply are bounded like a single long one.
func TestRepliesOfManyValuesTakeTurns(t *testing.T) {
	const clients, most, size, values = 24, 8 << 20, 100 << 10, 60
	ask := "MGET" + strings.Repeat(" short", values)
	for name, tc := range map[string]struct {
		ask    []string
		before []string // replies before the values
	}{
		"MGET":           {[]string{ask}, []string{fmt.Sprintf("*%d", values)}},
		"behind a write": {[]string{"INCR n-%d", ask}, []string{":1", fmt.Sprintf("*%d", values)}},
		"in EXEC":        {[]string{"MULTI", ask, "EXEC"}, []string{"+OK", "+QUEUED", "*1", fmt.Sprintf("*%d", values)}},
		"EXEC of many":   {append(append([]string{"MULTI"}, slices.Repeat([]string{"GET short"}, values)...), "EXEC"), append(append([]string{"+OK"}, slices.Repeat([]string{"+QUEUED"}, values)...), fmt.Sprintf("*%d", values))},
	} {
		for _, forwarded := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, forwarded %t", name, forwarded), func(t *testing.T) {
				o := forwarding()
				o.MaxLong, o.CommitTimeout = most, 5*time.Minute // a member answers one client after the other
				leader := resptest.StartWaiting(t, o)
				n := leader
				if forwarded {
					n = leader.Follow(o)
				}
				leader.Lead()
				w := dial(t, leader.Addr)
				makeLong(w, "short", size)
				if forwarded {
					n.Point(leader.Addr)
				}
				var all []*wire
				for range clients {
					c := dial(t, n.Addr)
					c.do("INCR bound", fmt.Sprintf(":%d", len(all)+1)) // binds the connection: from here on the leader answers
					all = append(all, c)
				}
				before := settledHeap()
				for i, c := range all {
					for _, line := range tc.ask {
						c.send(strings.ReplaceAll(line, "%d", fmt.Sprint(i)))
					}
				}
				someIsHeld(t, n)
				time.Sleep(200 * time.Millisecond)
				// A reply may take twice its length in memory, slow clients may hold as much again, and the leader holds its own replies.
				const bound = 2*4*most + 32<<20
				if held := grown(before, bound); held > bound {
					t.Errorf("%d MiB for %d clients that do not take their replies of %d MiB", held>>20, clients, size*values>>20)
				}
				var done sync.WaitGroup
				for _, c := range all {
					done.Go(func() {
						c.expect(tc.before...)
						c.discard(values, size)
					})
				}
				done.Wait()
				noneIsHeld(t, n)
				noneIsHeld(t, leader)
			})
		}
	}
}

// The tables of LCS take turns as well. LCS LEN needs no table.
func TestLCSTakesTurns(t *testing.T) {
	const clients, size, most = 12, 2000, 20 << 20 // tables of 16 MB
	n := resptest.Start(t, resp.Options{MaxLong: most})
	w := dial(t, n.Addr)
	for key, c := range map[string]string{"a": "x", "b": "y"} {
		w.do(fmt.Sprintf("SET %s %s", key, strings.Repeat(c, size)+"z"), "+OK")
	}
	before := settledHeap()
	var heap int64
	var all []*wire
	for i := range clients {
		c := dial(t, n.Addr)
		c.send(fmt.Sprintf("SET n%d 1", i), "LCS a b", "LCS a b LEN")
		all = append(all, c)
	}
	for range 20 {
		heap = max(heap, settledHeap()-before)
	}
	for _, c := range all {
		c.expect("+OK", "$1", "z", ":1")
	}
	if heap > 128<<20 { // of 183 MiB
		t.Errorf("%d MiB for tables of 16 MB", heap>>20)
	}
	noneIsHeld(t, n)
}

// A long LCS is refused in a transaction, where others would wait for it.
func TestLongLCSInATransaction(t *testing.T) {
	n := resptest.Start(t, resp.Options{})
	w := dial(t, n.Addr)
	w.do(fmt.Sprintf("MSET a %s b %[1]s short x", strings.Repeat("x", 2000)), "+OK")
	w.send("MULTI", "LCS a b LEN", "LCS a short", "EXEC", "LCS a b LEN")
	w.expect("+OK", "+QUEUED", "+QUEUED", "*2", "-ERR LCS of strings this long is refused in a transaction...", "$1", "x", ":2000")
}

// Commands queued in transactions take turns with long requests. A client that holds its memory for long does not hold up the others
// forever.
func TestQueuedTransactionsTakeTurns(t *testing.T) {
	const clients, sets, most = 24, 60, 8 << 20
	n := resptest.Start(t, resp.Options{MaxLarge: most})
	set := fmt.Sprintf("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$%d\r\n%s", 100<<10, strings.Repeat("v", 100<<10))
	var all []*wire
	for range clients {
		all = append(all, dial(t, n.Addr))
	}
	before := settledHeap()
	for _, c := range all {
		go func() {
			c.send("MULTI")
			for range sets {
				c.send(set)
			}
		}()
	}
	eventually(t, func() string {
		if n.Server.Rationed() == 0 {
			return "nothing is rationed"
		}
		return ""
	})
	time.Sleep(500 * time.Millisecond)
	if heap := grown(before, 7*most); heap > 7*most { // of 144 MB
		t.Errorf("%d MiB are queued at once", heap>>20)
	}
	var done sync.WaitGroup
	for i, c := range all {
		done.Go(func() {
			c.expect("+OK")
			for range sets {
				c.expect("+QUEUED")
			}
			if i%3 == 0 {
				c.do("DISCARD", "+OK")
				return
			}
			c.send("EXEC")
			c.expect(fmt.Sprintf("*%d", sets))
			for range sets {
				c.expect("+OK")
			}
		})
	}
	done.Wait()
	eventuallyNone(t, n.Server.Rationed)
}

// A connection stays in the loop even after it has read, in total, more than it may hold at once.
func TestReadsStayInTheLoop(t *testing.T) {
	n := resptest.Start(t, resp.Options{MaxLong: 8 << 20})
	w := dial(t, n.Addr)
	value := strings.Repeat("v", 1000)
	w.do("SET k "+value, "+OK")
	inLoop := 0
	const reads = 2000
	for range reads {
		w.do("GET k", "$1000", value)
		inLoop += n.Server.Parked()
	}
	if inLoop < reads*9/10 {
		t.Errorf("after %d of %d reads the loop had the connection", inLoop, reads)
	}
}
