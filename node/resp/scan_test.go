package resp_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/node/resp"
	"github.com/replicatedstore/replicatedstore/node/resp/resptest"
)

// longNames stores keys with names of size bytes, which start with the key's number.
func longNames(w *wire, keys, size int) {
	for i := range keys {
		w.do(fmt.Sprintf("SET %s 1", longName(i, size)), "+OK")
	}
}

func longName(i, size int) string { return fmt.Sprintf("%06d", i) + strings.Repeat("n", size-6) }

// Long lists of keys take turns, as long values do.
func TestListsOfKeysTakeTurns(t *testing.T) {
	const clients, keys, size, most = 12, 1200, 10 << 10, 16 << 20
	n := resptest.Start(t, resp.Options{MaxLong: most})
	w := dial(t, n.Addr)
	longNames(w, keys, size)
	var all []*wire
	for range clients {
		all = append(all, dial(t, n.Addr))
	}
	before := settledHeap()
	for _, c := range all {
		c.send("KEYS *")
	}
	someIsHeld(t, n)
	time.Sleep(500 * time.Millisecond)
	// There may be as many lists as fit, as many again of slow clients, and one that has just begun. A reply may take twice its length in memory.
	const bound = 2 * (2*most + keys*size)
	if held := grown(before, bound); held > bound {
		t.Errorf("%d MiB for %d clients that do not take their lists of %d MiB", held>>20, clients, keys*size>>20)
	}
	var done sync.WaitGroup
	for _, c := range all {
		done.Go(func() {
			c.expect(fmt.Sprintf("*%d", keys))
			c.discard(keys, size)
		})
	}
	done.Wait()
	noneIsHeld(t, n)
	w.do("KEYS none*", "*0")
}

// SCAN ends once its reply is long, whatever COUNT says, and the next call continues after the last key visited.
func TestScanOfLongNames(t *testing.T) {
	const keys, size = 1000, 10 << 10
	n := resptest.Start(t, resp.Options{})
	w := dial(t, n.Addr)
	longNames(w, keys, size)
	for name, tc := range map[string]struct {
		options string
		want    int // number of keys
	}{
		"all":           {"COUNT 100000", keys},
		"a pattern":     {"MATCH *[02468]n* COUNT 100000", keys / 2},
		"a type":        {"TYPE string COUNT 100000", keys},
		"another type":  {"TYPE hash COUNT 100000", 0},
		"a few at once": {"COUNT 7", keys},
	} {
		t.Run(name, func(t *testing.T) {
			seen := map[string]int{}
			cursor := "0"
			for {
				w.do(fmt.Sprintf("SCAN %s %s", cursor, tc.options), "*2")
				cursor = w.bulk()
				var names int
				if _, err := fmt.Sscanf(w.line(), "*%d", &names); err != nil {
					t.Fatal(err)
				}
				if names*size > 1<<20+size {
					t.Errorf("%d names of %d bytes in one reply", names, size)
				}
				for range names {
					seen[w.bulk()]++
				}
				if cursor == "0" {
					break
				}
			}
			if len(seen) != tc.want {
				t.Errorf("%d keys, want %d", len(seen), tc.want)
			}
			for name, times := range seen {
				if times != 1 {
					t.Errorf("%s... came %d times", name[:6], times)
				}
			}
		})
	}
}

// A client that has memory for only a part of its reply waits in line for the rest, and so gets it once the parts of slow clients are lent.
func TestRepliesThatBeganWaitInLine(t *testing.T) {
	const most, size, values = 24 << 20, 1 << 20, 12
	n := resptest.Start(t, resp.Options{MaxLong: most})
	w, slow := dial(t, n.Addr), dial(t, n.Addr)
	makeLong(w, "long", most*2/3)
	makeLong(w, "short", size)
	slow.send("GET long")
	someIsHeld(t, n)
	w.send("MGET" + strings.Repeat(" short", values))
	w.expect(fmt.Sprintf("*%d", values))
	for range values {
		w.bulk()
	}
	lookups := func() string {
		for _, line := range strings.Split(text(t, n.Addr, "INFO stats"), "\r\n") {
			if hits, ok := strings.CutPrefix(line, "keyspace_hits:"); ok {
				return hits
			}
		}
		return ""
	}
	if got := lookups(); len(got) > 2 {
		t.Errorf("%s values were read for %d", got, values)
	}
}
