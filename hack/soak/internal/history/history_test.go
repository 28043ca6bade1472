package history

import (
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// op returns a finished operation of client c between two moments.
func op(c int, call, ret int64, k Kind, arg, value string, found bool) Op {
	return Op{Client: c, Kind: k, Key: "x", Arg: arg, Value: value, Found: found, Call: call, Return: ret}
}

func get(c int, call, ret int64, value string) Op {
	return op(c, call, ret, Get, "", value, value != "")
}
func set(c int, call, ret int64, arg string) Op { return op(c, call, ret, Set, arg, "", false) }

func TestCheck(t *testing.T) {
	for name, tc := range map[string]struct {
		ops  []Op
		want bool
	}{
		"a read sees the write before it":        {[]Op{set(1, 1, 2, "a"), get(2, 3, 4, "a")}, true},
		"a read that is concurrent may see it":   {[]Op{set(1, 1, 9, "a"), get(2, 2, 3, "a"), get(3, 4, 5, "a")}, true},
		"a read that is concurrent may not yet":  {[]Op{set(1, 1, 9, "a"), get(2, 2, 3, "")}, true},
		"a stale read":                           {[]Op{set(1, 1, 2, "a"), set(1, 3, 4, "b"), get(2, 5, 6, "a")}, false},
		"a write that is gone":                   {[]Op{set(1, 1, 2, "a"), get(2, 3, 4, "")}, false},
		"seen, and then not seen":                {[]Op{set(1, 1, 9, "a"), get(2, 2, 3, "a"), get(3, 4, 5, "")}, false},
		"a value that nobody wrote":              {[]Op{set(1, 1, 2, "a"), get(2, 3, 4, "z")}, false},
		"an open write that took effect late":    {[]Op{set(1, 1, 0, "a"), get(2, 3, 4, ""), get(2, 5, 6, "a")}, true},
		"an open write that never took effect":   {[]Op{set(1, 1, 0, "a"), get(2, 3, 4, "")}, true},
		"an open write that came and went":       {[]Op{set(1, 1, 0, "a"), get(2, 3, 4, "a"), get(2, 5, 6, "")}, false},
		"an open write before it was called":     {[]Op{get(2, 1, 2, "a"), set(1, 3, 0, "a")}, false},
		"an open client goes on":                 {[]Op{set(1, 1, 0, "a"), set(1, 3, 4, "b"), get(1, 5, 6, "a")}, true},
		"swap returns what was there":            {[]Op{set(1, 1, 2, "a"), op(1, 3, 4, Swap, "b", "a", true), get(1, 5, 6, "b")}, true},
		"two swaps of one value":                 {[]Op{set(1, 1, 2, "a"), op(1, 3, 6, Swap, "b", "a", true), op(2, 3, 6, Swap, "c", "a", true)}, false},
		"new on what is absent":                  {[]Op{op(1, 1, 2, SetNew, "a", "", true), get(1, 3, 4, "a")}, true},
		"new on what is there":                   {[]Op{set(1, 1, 2, "a"), op(1, 3, 4, SetNew, "b", "", false), get(1, 5, 6, "a")}, true},
		"two that were both first":               {[]Op{op(1, 1, 5, SetNew, "a", "", true), op(2, 1, 5, SetNew, "b", "", true)}, false},
		"an open new may have been refused":      {[]Op{set(1, 1, 2, "a"), op(2, 3, 0, SetNew, "b", "", false), get(1, 5, 6, "a")}, true},
		"deleted":                                {[]Op{set(1, 1, 2, "a"), op(1, 3, 4, Delete, "", "", true), get(1, 5, 6, "")}, true},
		"deleted, and back":                      {[]Op{set(1, 1, 2, "a"), op(1, 3, 4, Delete, "", "", true), get(1, 5, 6, "a")}, false},
		"a read that nobody saw tells nothing":   {[]Op{set(1, 1, 2, "a"), op(2, 3, 0, Get, "", "", false), get(1, 5, 6, "a")}, true},
		"a final read finds a write that is old": {[]Op{set(1, 1, 2, "a"), set(1, 3, 4, "b"), get(1, 90, 91, "a")}, false},
	} {
		t.Run(name, func(t *testing.T) {
			for i := range tc.ops {
				tc.ops[i].Via = Final
			}
			dir := t.TempDir()
			v, err := Check(tc.ops, time.Minute, 2, dir)
			if err != nil {
				t.Fatal(err)
			}
			if v.OK() != tc.want {
				t.Fatalf("%v", v)
			}
			pages, err := filepath.Glob(filepath.Join(dir, "*.html"))
			if err != nil || len(pages) != len(v.Illegal) {
				t.Fatalf("pages %v of %v: %v", pages, v.Illegal, err)
			}
		})
	}
}

// Each key is judged separately: an illegal key is found and named, whatever the others hold.
func TestCheckKeys(t *testing.T) {
	other := []Op{set(1, 1, 2, "a"), get(1, 3, 4, "")}
	for i := range other {
		other[i].Key = "y"
	}
	v, err := Check(append(other, set(1, 1, 2, "a"), get(1, 3, 4, "a")), time.Minute, 2, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(v.Illegal, []string{"y"}) || v.Keys != 2 || v.Operations != 4 {
		t.Fatalf("%+v", v)
	}
	if !reflect.DeepEqual(v.Unread, []string{"x", "y"}) {
		t.Fatalf("keys without a final read: %v", v.Unread)
	}
}

// On the way to the checker no operation is lost or duplicated, and no client of the checker does two things at once.
func TestPartition(t *testing.T) {
	var ops []Op
	for i := range 300 {
		o := set(i%7, int64(2*i+1), int64(2*i+2), "v")
		o.Key = string(rune('a' + i%5))
		if i%11 == 0 {
			o.Return = 0
		}
		ops = append(ops, o)
	}
	total := 0
	for key, of := range byKey(ops) {
		type span struct{ end int64 }
		busy := map[int]span{}
		for i, p := range operations(of) {
			in := p.Input.(Op)
			if in != of[i] || in.Key != key {
				t.Fatalf("%v is not %v of %s", in, of[i], key)
			}
			if b, ok := busy[p.ClientId]; ok && b.end >= p.Call {
				t.Fatalf("client %d of %s calls at %d and is busy until %d", p.ClientId, key, p.Call, b.end)
			}
			busy[p.ClientId] = span{p.Return}
			total++
		}
	}
	if total != len(ops) {
		t.Fatalf("%d of %d operations", total, len(ops))
	}
}

func TestCheckViews(t *testing.T) {
	view := func(connection string, call, first, second int64) View {
		return View{Connection: connection, Pair: "p", First: first, Second: second, Begun: 5, Call: call, Return: call + 1}
	}
	for name, tc := range map[string]struct {
		views []View
		says  []string
	}{
		"forward":                    {[]View{view("a", 1, 0, 0), view("a", 2, 1, 0), view("a", 3, 1, 1), view("a", 4, 5, 4)}, nil},
		"back on another connection": {[]View{view("a", 1, 3, 3), view("b", 2, 1, 1)}, nil},
		"back on one connection":     {[]View{view("a", 1, 3, 3), view("a", 2, 3, 2)}, []string{"went back"}},
		"in the order of calls":      {[]View{view("a", 2, 3, 3), view("a", 1, 1, 1)}, nil},
		"a hole":                     {[]View{view("a", 1, 3, 1)}, []string{"no prefix"}},
		"the second before first":    {[]View{view("a", 1, 1, 2)}, []string{"no prefix"}},
		"the future":                 {[]View{view("a", 1, 6, 5)}, []string{"only 5 were begun"}},
		"another pair begins anew":   {[]View{view("a", 1, 3, 3), {Connection: "a", Pair: "q", Begun: 1, Call: 2}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			got := CheckViews(tc.views)
			if len(got) != len(tc.says) {
				t.Fatalf("breaches %q, want %q", got, tc.says)
			}
			for i := range got {
				if !strings.Contains(got[i], tc.says[i]) {
					t.Errorf("%q does not say %q", got[i], tc.says[i])
				}
			}
		})
	}
}

func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "h.gz")
	head := Head{Run: "r", Zero: time.Unix(7, 0).UTC()}
	w, err := Create(path, head)
	if err != nil {
		t.Fatal(err)
	}
	want := &History{Head: head, Ops: []Op{set(1, 1, 0, "a"), get(2, 3, 4, "a")}, Views: []View{{Connection: "c#1", Pair: "p", First: 2, Second: 1, Begun: 2, Call: 1, Return: 2}}}
	for _, o := range want.Ops {
		w.Op(o)
	}
	w.View(want.Views[0])
	if _, err := Load(path); err == nil {
		t.Fatal("a history that is not ended was read")
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := Load(path)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("%+v, %v; want %+v", got, err, want)
	}
	w.Op(want.Ops[0])
	if err := w.Close(); err == nil {
		t.Fatal("an operation after the end was not noticed")
	}
}
