package resp_test

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/node/resp"
	"github.com/replicatedstore/replicatedstore/node/resp/resptest"
)

// Long values in replies are in memory for a few clients at a time, however many ask, and whatever they ask with. (A member with a limit of
// 256Mi was killed by fifty clients that read 8 MiB.)
func TestLongRepliesTakeTurns(t *testing.T) {
	const long, clients, most = 12 << 20, 12, 24 << 20
	value := longValue(long)
	bulk := []string{fmt.Sprintf("$%d", long), value}
	array := func(n int, of ...string) []string { return append([]string{fmt.Sprintf("*%d", n)}, of...) }
	for name, tc := range map[string]struct {
		ask  []string
		want []string
		over int // bytes more that one client may hold, having begun
	}{
		"GET":               {[]string{"GET long-%d"}, bulk, 0},
		"MGET":              {[]string{"MGET long-%d none long-%d"}, array(3, slices.Concat(bulk, []string{"$-1"}, bulk)...), long},
		"behind a write":    {[]string{"INCR n-%d", "GET long-%d"}, append([]string{":1"}, bulk...), 0},
		"GETSET":            {[]string{"GETSET long-%d short"}, bulk, 0},
		"in a transaction":  {[]string{"MULTI", "GET long-%d", "EXEC"}, append([]string{"+OK", "+QUEUED"}, array(1, bulk...)...), 0},
		"after one another": {[]string{"GET long-%d", "PING", "GET long-%d"}, slices.Concat(bulk, []string{"+PONG"}, bulk), 0},
	} {
		t.Run(name, func(t *testing.T) {
			o := forwarding()
			o.MaxLong = most
			leader := resptest.StartWaiting(t, o)
			leader.Lead()
			w := dial(t, leader.Addr)
			for i := range clients {
				makeLong(w, fmt.Sprint("long-", i), long)
			}
			before := settledHeap()
			var all []*wire
			for i := range clients {
				c := dial(t, leader.Addr)
				for _, line := range tc.ask {
					c.send(strings.ReplaceAll(line, "%d", fmt.Sprint(i)))
				}
				all = append(all, c)
			}
			time.Sleep(500 * time.Millisecond)
			if held := settledHeap() - before; held > most+long+int64(tc.over)+16<<20 {
				t.Errorf("%d MiB for %d clients that do not take their replies of %d MiB", held>>20, clients, long>>20)
			}
			var done sync.WaitGroup
			for _, c := range all {
				c.renew()
				done.Go(func() {
					defer func() { _ = c.nc.Close() }()
					c.expect(tc.want...)
				})
			}
			done.Wait()
			eventually(t, func() string {
				if n := leader.Server.Held(); n != 0 {
					return fmt.Sprintf("%d bytes are held for nobody", n)
				}
				return ""
			})
		})
	}
}

func longValue(n int) string { return strings.Repeat("\x00", n-1) + "v" }

func makeLong(w *wire, key string, n int) {
	w.do(fmt.Sprintf("SETRANGE %s %d v", key, n-1), fmt.Sprintf(":%d", n))
}

// settledHeap is what the heap holds, without garbage.
func settledHeap() int64 {
	runtime.GC()
	runtime.GC() // pools are emptied by the second
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// Who forwards holds no more of the leader's replies.
func TestForwardedLongRepliesTakeTurns(t *testing.T) {
	const long, clients, most = 12 << 20, 8, 24 << 20
	value := longValue(long)
	leader := resptest.StartWaiting(t, forwarding())
	o := forwarding()
	o.MaxLong = most
	follower := leader.Follow(o)
	leader.Lead()
	follower.Point(leader.Addr)
	makeLong(dial(t, leader.Addr), "long", long)
	var all []*wire
	for range clients {
		c := dial(t, follower.Addr)
		c.do("INCR n", fmt.Sprintf(":%d", len(all)+1)) // from here on the leader answers
		all = append(all, c)
	}
	for _, c := range all {
		c.send("GET long")
	}
	time.Sleep(300 * time.Millisecond)
	if held := follower.Server.Held(); held == 0 || held > most {
		t.Errorf("it holds %d MiB", held>>20)
	}
	var done sync.WaitGroup
	for _, c := range all {
		c.renew()
		done.Go(func() { c.expect(fmt.Sprintf("$%d", long), value) })
	}
	done.Wait()
}

// A reply longer than one client may be sent closes its connection, and takes nothing of the others'.
func TestLongRepliesBeyondTheOutputLimit(t *testing.T) {
	n := resptest.Start(t, resp.Options{MaxLong: 1 << 20, MaxOutput: 2 << 20})
	w, other := dial(t, n.Addr), dial(t, n.Addr)
	value := longValue(400 << 10)
	makeLong(w, "long", len(value))
	w.send("MGET long long long long long long")
	w.closed()
	other.do("GET long", fmt.Sprintf("$%d", len(value)), value)
	other.do("MGET long long long long", "*4", fmt.Sprintf("$%d", len(value)), value, fmt.Sprintf("$%d", len(value)), value,
		fmt.Sprintf("$%d", len(value)), value, fmt.Sprintf("$%d", len(value)), value)
	if n := n.Server.Held(); n != 0 {
		t.Errorf("%d bytes are held for nobody", n)
	}
}
