package decide

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

func rule(k int, members ...string) replication.Rule {
	r := replication.Rule{K: k, Voters: []replication.Voter{}}
	for _, m := range members {
		r.Voters = append(r.Voters, replication.Voter{Member: m, Incarnation: "i-" + m})
	}
	return r
}

func TestNextRules(t *testing.T) {
	type rules = []replication.Rule
	again := replication.Rule{K: 1, Voters: []replication.Voter{{Member: "a", Incarnation: "second"}}}
	for name, tc := range map[string]struct {
		now, want replication.Rule
		next      rules
	}{
		"the first voter":              {rule(1), rule(1, "a"), rules{rule(1, "a")}},
		"another voter":                {rule(1, "a"), rule(1, "a", "b"), rules{rule(1, "a", "b")}},
		"one leaves":                   {rule(1, "a", "b"), rule(1, "a"), rules{rule(1, "a", "b"), rule(1, "a")}},
		"one for another: add first":   {rule(1, "a"), rule(1, "b"), rules{rule(1, "a", "b")}},
		"another disk: both hold":      {rule(1, "a"), again, rules{rule(1, "a"), again}},
		"k is lowered":                 {rule(2, "a", "b"), rule(1, "a", "b"), rules{rule(1, "a", "b")}},
		"k is raised":                  {rule(1, "a", "b"), rule(2, "a", "b"), rules{rule(1, "a", "b"), rule(2, "a", "b")}},
		"asynchronous to synchronous":  {rule(0, "a"), rule(1, "a"), rules{rule(0, "a"), rule(1, "a")}},
		"asynchronous: anybody leaves": {rule(0, "a", "b"), rule(0, "a"), rules{rule(0, "a")}},
		"k lowered and one leaves":     {rule(2, "a", "b"), rule(1, "a"), rules{rule(1, "a")}},
		"synchronous to asynchronous":  {rule(1, "a"), rule(0, "b"), rules{rule(1, "a"), rule(0, "b")}},
		"so, where nothing commits":    {rule(2, "a"), rule(0, "a"), rules{rule(0, "a")}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := nextRules(tc.now, tc.want); !reflect.DeepEqual(got, tc.next) {
				t.Fatalf("got %s, want %s", describe(got), describe(tc.next))
			}
		})
	}
}

// TestImplies compares implies with its definition: every set of acknowledgements that satisfies a satisfies b.
func TestImplies(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	all := []string{"a", "b", "c", "d", "e"}
	for range 5000 {
		pick := func() replication.Rule {
			r := rule(rng.IntN(4))
			for _, m := range all {
				if rng.IntN(2) == 0 {
					r.Voters = append(r.Voters, rule(0, m).Voters[0])
				}
			}
			return r
		}
		a, b := pick(), pick()
		want := true
		for set := range 1 << len(all) {
			count := func(r replication.Rule) int {
				n := 0
				for _, v := range r.Voters {
					if set&(1<<slices.Index(all, v.Member)) != 0 {
						n++
					}
				}
				return n
			}
			if count(a) >= a.K && count(b) < b.K {
				want = false
			}
		}
		if got := implies(a, b); got != want {
			t.Fatalf("implies(%s, %s) = %v", describe([]replication.Rule{a}), describe([]replication.Rule{b}), got)
		}
	}
}

// TestEveryStateHasAName checks that every state has a name and is known to the conditions.
func TestEveryStateHasAName(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range States() {
		if name := s.String(); seen[name] || name == "" || name == "Invalid" || name[0] < 'A' || name[len(name)-1] == ')' {
			t.Errorf("state %d is called %q", s, name)
		}
		seen[s.String()] = true
		progressing(Record{}, Plan{State: s}) // panics on an unknown state
	}
}

// TestCovers: the older rule may be dropped only when the newer one covers what is committed, according to what the leader
// itself sees.
func TestCovers(t *testing.T) {
	start := replication.Mark{Epoch: 1, Position: 8}
	leader := func(commit, a, b replication.Position) *wire.Status {
		return &wire.Status{Commit: commit, Followers: map[string]wire.FollowerView{
			"a": {Incarnation: "i-a", Durable: a}, "b": {Incarnation: "i-b", Durable: b}, "c": {Incarnation: "another", Durable: 10},
			"d": {Incarnation: "i-d", Durable: 10, Seeding: true},
		}}
	}
	for name, tc := range map[string]struct {
		leader *wire.Status
		rule   replication.Rule
		want   bool
	}{
		"both hold it":                        {leader(10, 10, 12), rule(2, "a", "b"), true},
		"one is behind":                       {leader(10, 10, 9), rule(2, "a", "b"), false},
		"one is behind and one is enough":     {leader(10, 10, 9), rule(1, "a", "b"), true},
		"another incarnation":                 {leader(10, 0, 0), rule(1, "c"), false},
		"being seeded":                        {leader(10, 0, 0), rule(1, "d"), false},
		"asynchronous":                        {leader(10, 0, 0), rule(0), true},
		"nothing is acknowledged before then": {leader(8, 0, 0), rule(1, "a"), true},
		"the barrier is more than nothing":    {leader(9, 8, 8), rule(1, "a"), false},
	} {
		if got := covers(tc.leader, tc.rule, start); got != tc.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
