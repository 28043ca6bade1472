package sim

import (
	"strings"
	"testing"
	"time"

	"github.com/replicatedstore/replicatedstore/replication"
)

func TestHistories(t *testing.T) {
	type step func(h *History, wait func())
	get := func(client int, value uint64) step {
		return func(h *History, wait func()) {
			o := h.Get(client, 1)
			wait()
			o.Read(value)
		}
	}
	put := func(client int, value uint64) step {
		return func(h *History, wait func()) {
			o := h.Put(client, 1, value)
			wait()
			o.Done()
		}
	}
	maybe := func(client int, value uint64) step {
		return func(h *History, wait func()) {
			o := h.Put(client, 1, value)
			wait()
			o.Unknown()
		}
	}
	tests := map[string]struct {
		steps []step
		wrong string
	}{
		"nothing was written":                     {[]step{get(1, 0)}, ""},
		"what was written is read":                {[]step{put(1, 5), get(2, 5)}, ""},
		"a stale read":                            {[]step{put(1, 5), put(1, 6), get(2, 5)}, "not linearizable"},
		"a lost write":                            {[]step{put(1, 5), get(2, 0)}, "not linearizable"},
		"a value from nowhere":                    {[]step{put(1, 5), get(2, 7)}, "not linearizable"},
		"a write of unknown outcome did happen":   {[]step{put(1, 5), maybe(2, 6), get(1, 6)}, ""},
		"it did not":                              {[]step{put(1, 5), maybe(2, 6), get(1, 5)}, ""},
		"it happens late":                         {[]step{maybe(2, 6), put(1, 5), get(1, 5), get(1, 6)}, ""},
		"it happens twice":                        {[]step{maybe(2, 6), get(1, 6), put(1, 5), get(1, 5), get(1, 6)}, "not linearizable"},
		"many unknown writes cost nothing":        {append(manySteps(60, func(n int) step { return maybe(100+n, uint64(100+n)) }), get(1, 0)), ""},
		"many unknown writes hide nothing":        {append(manySteps(60, func(n int) step { return maybe(100+n, uint64(100+n)) }), get(1, 5)), "not linearizable"},
		"a failed write must not be read":         {[]step{failing(7), get(1, 7)}, "not linearizable"},
		"a read that failed is asked no question": {[]step{func(h *History, wait func()) { o := h.Get(1, 1); wait(); o.Failed() }, get(1, 0)}, ""},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			l := NewLoop(1)
			h := l.NewHistory()
			for _, s := range tc.steps {
				s(h, func() { l.Run(l.Now() + time.Millisecond) })
				l.Run(l.Now() + time.Millisecond)
			}
			verdict(t, h, tc.wrong)
		})
	}
}

func manySteps[T any](n int, step func(int) T) (out []T) {
	for i := range n {
		out = append(out, step(i))
	}
	return out
}

func failing(value uint64) func(h *History, wait func()) {
	return func(h *History, wait func()) {
		o := h.Put(1, 1, value)
		wait()
		o.Failed()
	}
}

// verdict checks that exactly the expected problem is found, or none if wrong is "".
func verdict(t *testing.T, h *History, wrong string) {
	t.Helper()
	problems, undecided := h.Check(time.Minute)
	switch {
	case len(undecided) > 0:
		t.Fatal("undecided")
	case wrong == "" && len(problems) > 0:
		t.Fatal(problems)
	case wrong != "" && (len(problems) != 1 || !strings.Contains(problems[0], wrong)):
		t.Fatalf("found %q, want one that says %q", problems, wrong)
	}
}

func TestConcurrentOperationsMayTakeEitherOrder(t *testing.T) {
	for _, last := range []uint64{5, 6} {
		l := NewLoop(1)
		h := l.NewHistory()
		a, b := h.Put(1, 1, 5), h.Put(2, 1, 6)
		l.Run(time.Second)
		a.Done()
		b.Done()
		l.Run(2 * time.Second)
		h.Get(3, 1).Read(last)
		verdict(t, h, "")
	}
}

func TestLooks(t *testing.T) {
	at := func(p replication.Position) replication.Mark { return replication.Mark{Epoch: 1, Position: p} }
	tests := map[string]struct {
		looks func(h *History)
		wrong string
	}{
		"a prefix":             {func(h *History) { h.Look("a", 1, 0, at(1)); h.Look("a", 1, 10, at(2)); h.Look("a", 1, 30, at(5)) }, ""},
		"each at its own pace": {func(h *History) { h.Look("a", 1, 30, at(4)); h.Look("b", 1, 10, at(3)) }, ""},
		"backwards":            {func(h *History) { h.Look("a", 1, 30, at(4)); h.Look("a", 1, 10, at(3)) }, "after it had answered at 4"},
		"too new":              {func(h *History) { h.Look("a", 1, 30, at(3)) }, "the log says 10"},
		"too old":              {func(h *History) { h.Look("a", 2, 0, at(3)) }, "the log says 20"},
		"members disagree":     {func(h *History) { h.Committed(3, 2, 21) }, "position 3 was applied as"},
		"lost with consent":    {func(h *History) { h.Forget(3); h.Committed(4, 1, 31); h.Look("a", 1, 31, at(4)) }, ""},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			h := NewLoop(1).NewHistory()
			h.Committed(4, 1, 30) // the order in which members report does not matter
			h.Committed(2, 1, 10)
			h.Committed(3, 2, 20)
			h.Committed(2, 1, 10)
			tc.looks(h)
			verdict(t, h, tc.wrong)
		})
	}
}
