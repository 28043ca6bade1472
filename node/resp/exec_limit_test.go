package resp_test

import (
	"io"
	"runtime"
	"slices"
	"testing"
	"time"
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

func heapSys() int {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapSys)
}
