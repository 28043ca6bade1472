package replication

import (
	"testing"
	"time"
)

func voters(names ...string) []Voter {
	var vs []Voter
	for _, n := range names {
		vs = append(vs, Voter{Member: n, Incarnation: "i"})
	}
	return vs
}

func among(names ...string) func(Voter) bool {
	return func(v Voter) bool {
		for _, n := range names {
			if v.Member == n {
				return true
			}
		}
		return false
	}
}

func at(m map[string]Position) func(Voter) Position {
	return func(v Voter) Position { return m[v.Member] }
}

func TestRuleCommit(t *testing.T) {
	for name, c := range map[string]struct {
		rules []Rule
		own   Position
		acks  map[string]Position
		want  Position
	}{
		"no rule commits nothing":             {nil, 9, nil, 0},
		"k=0 is the leader alone":             {[]Rule{{voters("a", "b"), 0}}, 9, map[string]Position{"a": 1}, 9},
		"k=1 takes the fastest voter":         {[]Rule{{voters("a", "b"), 1}}, 9, map[string]Position{"a": 3, "b": 7}, 7},
		"k=2 takes the slower of two":         {[]Rule{{voters("a", "b"), 2}}, 9, map[string]Position{"a": 3, "b": 7}, 3},
		"never beyond the leader's own disk":  {[]Rule{{voters("a"), 1}}, 5, map[string]Position{"a": 7}, 5},
		"too few voters commit nothing":       {[]Rule{{voters(), 1}}, 9, nil, 0},
		"a stranger's ack does not count":     {[]Rule{{voters("a"), 1}}, 9, map[string]Position{"z": 9}, 0},
		"both rules hold while one changes":   {[]Rule{{voters("a", "b"), 1}, {voters("b", "c"), 1}}, 9, map[string]Position{"a": 9, "c": 4}, 4},
		"a rule that cannot commit blocks":    {[]Rule{{voters("a"), 1}, {voters("b"), 2}}, 9, map[string]Position{"a": 9, "b": 9}, 0},
		"durability may fall from 2 to 1 too": {[]Rule{{voters("a", "b"), 2}, {voters("a", "b"), 1}}, 9, map[string]Position{"a": 9, "b": 2}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Commit(c.rules, c.own, at(c.acks)); got != c.want {
				t.Fatalf("Commit = %d, want %d", got, c.want)
			}
		})
	}
}

// Every fence quorum intersects every set of k voters. Checked over every rule with up to six voters.
func TestFenceQuorumMeetsEveryAckSet(t *testing.T) {
	names := []string{"a", "b", "c", "d", "e", "f"}
	for n := range len(names) + 1 {
		for k := 1; k <= n; k++ {
			r := Rule{voters(names[:n]...), k}
			for fenced := range 1 << n {
				in := func(set int) func(Voter) bool {
					return func(v Voter) bool { return set>>(v.Member[0]-'a')&1 == 1 }
				}
				if !r.Fenced(in(fenced)) {
					continue
				}
				for acks := range 1 << n {
					if popcount(acks) == k && acks&fenced == 0 {
						t.Fatalf("n=%d k=%d: fence quorum %b misses ack set %b", n, k, fenced, acks)
					}
				}
			}
		}
	}
}

func popcount(x int) (n int) {
	for ; x != 0; x &= x - 1 {
		n++
	}
	return n
}

func TestLeadershipFenced(t *testing.T) {
	c := Voter{"c", "i"}
	for name, tc := range map[string]struct {
		l    Leadership
		has  []string
		want bool
	}{
		"all voters but k-1":                    {Leadership{Epoch: 1, Leader: c, Rules: []Rule{{voters("a", "b"), 1}}}, []string{"a", "b"}, true},
		"one of two voters is not enough, k=1":  {Leadership{Epoch: 1, Leader: c, Rules: []Rule{{voters("a", "b"), 1}}}, []string{"a"}, false},
		"one of two voters is enough, k=2":      {Leadership{Epoch: 1, Leader: c, Rules: []Rule{{voters("a", "b"), 2}}}, []string{"a"}, true},
		"the leader itself is enough":           {Leadership{Epoch: 1, Leader: c, Rules: []Rule{{voters("a", "b"), 1}}}, []string{"c"}, true},
		"k=0: voters never suffice":             {Leadership{Epoch: 1, Leader: c, Rules: []Rule{{voters("a", "b"), 0}}}, []string{"a", "b"}, false},
		"k=0: the leader does":                  {Leadership{Epoch: 1, Leader: c, Rules: []Rule{{voters("a", "b"), 0}}}, []string{"c"}, true},
		"joint: every rule needs its quorum":    {Leadership{Epoch: 1, Leader: c, Rules: []Rule{{voters("a", "b"), 1}, {voters("b", "d"), 1}}}, []string{"a", "b"}, false},
		"joint: both have it":                   {Leadership{Epoch: 1, Leader: c, Rules: []Rule{{voters("a", "b"), 1}, {voters("b", "d"), 1}}}, []string{"a", "b", "d"}, true},
		"more k than voters: nothing was acked": {Leadership{Epoch: 1, Leader: c, Rules: []Rule{{voters("a"), 2}}}, nil, true},
		"no rule recorded is not permission":    {Leadership{Epoch: 1, Leader: c, Rules: nil}, []string{"a"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := tc.l.Fenced(among(tc.has...)); got != tc.want {
				t.Fatalf("Fenced = %v, want %v", got, tc.want)
			}
		})
	}
	reborn := Leadership{Epoch: 1, Leader: c, Rules: []Rule{{voters("a", "b"), 1}}}
	if reborn.Fenced(func(v Voter) bool { return v == Voter{"c", "other"} }) {
		t.Fatal("a leader reborn with another incarnation counted as the fenced leader")
	}
}

func TestElect(t *testing.T) {
	cand := func(name string, e Epoch, p Position, pref int) Candidate {
		return Candidate{Voter{name, "i"}, Mark{Epoch: e, Position: p}, pref}
	}
	for name, c := range map[string]struct {
		cs   []Candidate
		want int
	}{
		"nobody":                          {nil, -1},
		"epoch beats position":            {[]Candidate{cand("a", 1, 900, 0), cand("b", 2, 5, 0)}, 1},
		"position within an epoch":        {[]Candidate{cand("a", 2, 5, 0), cand("b", 2, 6, 9)}, 1},
		"preference only between equals":  {[]Candidate{cand("a", 2, 5, 1), cand("b", 2, 5, 0)}, 1},
		"the name ends the last tie":      {[]Candidate{cand("b", 2, 5, 0), cand("a", 2, 5, 0)}, 1},
		"the first of identical is taken": {[]Candidate{cand("a", 2, 5, 0), cand("a", 2, 5, 0)}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Elect(c.cs); got != c.want {
				t.Fatalf("Elect = %d, want %d", got, c.want)
			}
		})
	}
}

func TestReadWindow(t *testing.T) {
	left := func(m map[string]time.Duration) func(Voter) time.Duration {
		return func(v Voter) time.Duration { return m[v.Member] }
	}
	r := Rule{voters("a", "b"), 1}
	if got := ReadWindow([]Rule{r}, left(map[string]time.Duration{"a": 5, "b": 9})); got != 9 {
		t.Fatalf("k=1: %d, want the freshest voter's 9", got)
	}
	if got := ReadWindow([]Rule{{voters("a", "b"), 2}, r}, left(map[string]time.Duration{"a": 5, "b": 9})); got != 5 {
		t.Fatalf("joint: %d, want 5", got)
	}
	if got := ReadWindow([]Rule{{voters("a"), 2}}, left(map[string]time.Duration{"a": 5})); got > 0 {
		t.Fatalf("more k than voters: %d, want none", got)
	}
	if got := ReadWindow(nil, nil); got != 0 {
		t.Fatalf("no rule: %d, want none", got)
	}
}
