package resp_test

import (
	"bytes"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/replicatedstore/replicatedstore/node/resp"
	"github.com/replicatedstore/replicatedstore/node/resp/resptest"
)

// While a command reads many keys from disk that are not in memory, others can write. The test's disk makes sure of that: from time to time a
// read waits until another client's SET is answered.
func TestManyColdKeysHoldUpNobody(t *testing.T) {
	const n, part = 6000, 1500
	keys := func(from int) string {
		var b strings.Builder
		for i := from; i < from+part; i++ {
			fmt.Fprintf(&b, " key%05d", i)
		}
		return b.String()
	}
	var other atomic.Pointer[func(read int64)]
	var reads atomic.Int64
	fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if f := other.Load(); f != nil && op.Kind == errorfs.OpFileReadAt && reads.Add(1)%16 == 0 {
			(*f)(reads.Load())
		}
		return nil
	}))
	node := resptest.StartOn(t, fs, resp.Options{})
	w := dial(t, node.Addr)
	value := bytes.Repeat([]byte("v"), 4000) // n of them exceed all caches
	for i := range n {
		w.do(fmt.Sprintf("SET key%05d %s", i, value), "+OK")
	}
	if _, err := node.Machine().Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	set := make(chan struct{}, 1)
	set <- struct{}{}
	writer := dial(t, node.Addr)
	hook := func(read int64) {
		select {
		case <-set: // reads come from several goroutines
		default:
			return
		}
		defer func() { set <- struct{}{} }()
		done := make(chan struct{})
		go func() {
			defer close(done)
			writer.do("SET other 1", "+OK")
		}()
		select {
		case <-done:
		case <-time.After(testTimeout / 2):
			t.Errorf("a SET is not answered while the disk is read for the %dth time", read)
			other.Store(nil)
		}
	}
	for name, run := range map[string]func(){
		"DEL": func() { w.do("DEL"+keys(0), fmt.Sprintf(":%d", part)) },
		"EXISTS behind a write": func() {
			w.send("SET mine 1", "EXISTS"+keys(2*part))
			w.expect("+OK", fmt.Sprintf(":%d", part))
		},
		"EXEC": func() {
			w.do("MULTI", "+OK")
			for _, k := range strings.Fields(keys(3 * part)) {
				w.do("EXISTS "+k, "+QUEUED")
			}
			w.send("EXEC")
			w.expect(fmt.Sprintf("*%d", part))
			for range part {
				w.expect(":1")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			reads.Store(0)
			other.Store(&hook)
			run()
			other.Store(nil)
			if got := reads.Load(); got < 100 {
				t.Errorf("the disk was read %d times: this shows nothing", got)
			}
		})
	}
}

// Commands read many keys, some of them twice, and some of them written earlier in the same transaction.
func TestManyKeysReadWhatWasWrittenBefore(t *testing.T) {
	node := resptest.Start(t, resp.Options{})
	w := dial(t, node.Addr)
	var del strings.Builder
	for i := range 100 {
		w.do(fmt.Sprintf("SET k%d %d", i, i), "+OK")
		fmt.Fprintf(&del, " k%d k%d absent%d", i, i, i)
	}
	w.do("MULTI", "+OK")
	w.do("INCR k7", "+QUEUED")
	w.do("SET absent3 5", "+QUEUED")
	w.do("INCR k7", "+QUEUED")
	w.do("APPEND k8 x", "+QUEUED")
	w.do("DEL"+del.String(), "+QUEUED")
	w.do("EXISTS"+del.String(), "+QUEUED")
	w.do("INCR k7", "+QUEUED")
	w.send("EXEC")
	w.expect("*7", ":8", "+OK", ":9", ":2", ":101", ":0", ":1")
	w.do("GET k7", "$1")
	w.expect("1")
}
