package history

import (
	"cmp"
	"fmt"
	"slices"
)

// CheckViews judges what was read on followers and returns a sentence for each breach: a number that went back on one connection,
// a pair that no prefix of the writes yields, or a number that nobody had written.
func CheckViews(views []View) []string {
	views = slices.Clone(views)
	slices.SortStableFunc(views, func(a, b View) int { return cmp.Compare(a.Call, b.Call) })
	last := map[string]View{} // by connection
	var breaches []string
	say := func(v View, format string, args ...any) {
		breaches = append(breaches, fmt.Sprintf("%s read %d, %d of %s: ", v.Connection, v.First, v.Second, v.Pair)+fmt.Sprintf(format, args...))
	}
	for _, v := range views {
		before, known := last[v.Connection]
		if known && before.Pair == v.Pair && (v.First < before.First || v.Second < before.Second) {
			say(v, "it went back from %d, %d", before.First, before.Second)
		}
		if d := v.First - v.Second; d < 0 || d > 1 {
			say(v, "no prefix of the writes holds that")
		}
		if v.First > v.Begun {
			say(v, "only %d were begun", v.Begun)
		}
		last[v.Connection] = v
	}
	return breaches
}
