package resp_test

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/replicatedstore/replicatedstore/node/resp"
	"github.com/replicatedstore/replicatedstore/node/resp/resptest"
	"github.com/replicatedstore/replicatedstore/node/store"
)

// readCounter runs a node on a disk that counts reads. The node holds one value of 8 MiB at key long, which no cache keeps.
func readCounter(t *testing.T, o resp.Options) (n *resptest.Node, reads *atomic.Int64) {
	reads = new(atomic.Int64)
	n = resptest.StartOn(t, errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileReadAt {
			reads.Add(1)
		}
		return nil
	})), o)
	dial(t, n.Addr).do("SETRANGE long 8388607 x", ":8388608")
	if _, err := n.Machine().Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	reads.Store(0)
	return n, reads
}

// Many commands of a transaction name one long value. It is read ahead of them once, and they take no more memory than their replies, or what
// they write, may have.
func TestALongValueIsReadAheadOnce(t *testing.T) {
	const commands, output = 50, 20 << 20
	for name, tc := range map[string]struct{ queued, reply string }{
		"EXEC of many": {strings.Repeat("GET long\r\n", commands), ""},
		"one MGET":     {"MGET" + strings.Repeat(" long", commands) + "\r\n", ""},
		"with a write": {strings.Repeat("APPEND long x\r\n", commands), "-ERR write is too large"},
	} {
		t.Run(name, func(t *testing.T) {
			n, reads := readCounter(t, resp.Options{MaxLong: 1 << 20, MaxLarge: 1 << 20, MaxOutput: output})
			held, rationed := 0, 0
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				c := dial(t, n.Addr)
				c.send("MULTI", tc.queued+"EXEC")
				for line, err := "", error(nil); err == nil && (tc.reply == "" || !strings.HasPrefix(line, tc.reply)); {
					line, err = c.r.ReadString('\n')
				}
			}()
			for done := false; !done; {
				select {
				case <-ended:
					done = true
				case <-time.After(100 * time.Microsecond):
				}
				held, rationed = max(held, n.Server.Held()), max(rationed, n.Server.Rationed())
			}
			if got := reads.Load(); got > commands {
				t.Errorf("%d reads of the disk", got)
			}
			if held > output || rationed > store.MaxEntryBytes {
				t.Errorf("%d MiB for replies, %d MiB for writes", held>>20, rationed>>20)
			}
		})
	}
}

// Commands that need no more of a long value than its type, length or expiry do not read it from the disk while others wait. They neither
// count as reading it, nor are they refused.
func TestHeadsOfLongValuesAreReadAheadOnce(t *testing.T) {
	n, reads := readCounter(t, resp.Options{})
	n.Server.ReadAtMost(100 << 20)
	w := dial(t, n.Addr)
	exec := func(commands, replies []string) {
		t.Helper()
		w.send(slices.Concat([]string{"MULTI"}, commands, []string{"EXEC"})...)
		w.expect("+OK")
		w.expect(slices.Repeat([]string{"+QUEUED"}, len(commands))...)
		w.expect(append([]string{fmt.Sprintf("*%d", len(commands))}, replies...)...)
	}
	few := func(t *testing.T) {
		if got := reads.Swap(0); got > 25 {
			t.Errorf("%d reads of the disk", got)
		}
	}
	var all, allReplies []string
	for _, c := range []struct{ text, reply string }{
		{"STRLEN long", ":8388608"}, {"TYPE long", "+string"}, {"TTL long", ":-1"}, {"PEXPIRETIME long", ":-1"}, {"EXISTS long", ":1"},
		{"MEMORY USAGE long", ":8388629"}, {"OBJECT REFCOUNT long", ":1"}, {"OBJECT ENCODING long", "$3 raw"}, {"SETNX long x", ":0"},
		{"SET long x NX", "$-1"},
	} {
		t.Run(c.text, func(t *testing.T) {
			w.t = t
			exec(slices.Repeat([]string{c.text}, 50), slices.Repeat(strings.Fields(c.reply), 50))
			few(t)
		})
		all, allReplies = append(all, slices.Repeat([]string{c.text}, 6)...), append(allReplies, slices.Repeat(strings.Fields(c.reply), 6)...)
	}
	t.Run("in a batch", func(t *testing.T) {
		w.t = t
		w.send(append([]string{"SET other 1"}, all...)...)
		w.expect(append([]string{"+OK"}, allReplies...)...)
		few(t)
	})
	t.Run("with a foresight", func(t *testing.T) {
		w.t = t
		exec(slices.Concat(all, all), slices.Concat(allReplies, allReplies))
		few(t)
	})
}

// A WATCH of one long key that is named again and again reads it once.
func TestWatchOfOneLongKeyManyTimes(t *testing.T) {
	n, reads := readCounter(t, resp.Options{})
	w := dial(t, n.Addr)
	watch := append([]string{"WATCH"}, slices.Repeat([]string{"long"}, 10_000)...)
	if _, err := w.nc.Write(encoded(watch...)); err != nil {
		t.Fatal(err)
	}
	w.expect("+OK")
	if got := reads.Load(); got > 25 {
		t.Errorf("%d reads of the disk", got)
	}
	dial(t, n.Addr).do("APPEND long x", ":8388609")
	w.send("MULTI", "PING", "EXEC")
	w.expect("+OK", "+QUEUED", "*-1")
}

// What makes a reply too long to be sent is not read any further.
func TestTooLongRepliesAreReadNoFurther(t *testing.T) {
	const keys = 50
	for name, most := range map[string]int{"long replies take turns": 1 << 20, "they do not": 0} {
		for where, before := range map[string]string{"on a view": "", "in a batch": "SET a 1\r\n"} {
			t.Run(name+", "+where, func(t *testing.T) {
				n, reads := readCounter(t, resp.Options{MaxLong: most, MaxOutput: 20 << 20})
				c := dial(t, n.Addr)
				c.send(before + "MGET" + strings.Repeat(" long", keys))
				c.closed()
				if got := reads.Load(); got > keys {
					t.Errorf("%d reads of the disk", got)
				}
			})
		}
	}
}
