package replication

import (
	"slices"
	"time"
)

// FenceQuorum returns how many of r's voters must have promised a higher epoch before nothing more can be acknowledged
// under r. It is |V|-K+1, because any such set intersects every set of K voters (Vertical Paxos, quorum intersection).
//
// It is 0 when K exceeds the number of voters (nothing can ever have been acknowledged), and len(Voters)+1, which no set of
// voters reaches, when K is 0 (the leader acknowledged alone, so only the leader itself can be asked).
func (r Rule) FenceQuorum() int { return max(0, len(r.Voters)-r.K+1) }

// Fenced reports whether the voters for which has is true form a fence quorum.
func (r Rule) Fenced(has func(Voter) bool) bool {
	n := 0
	for _, v := range r.Voters {
		if has(v) {
			n++
		}
	}
	return n >= r.FenceQuorum()
}

// Commit returns the last position that is durable on the leader (own) and on at least K voters.
func (r Rule) Commit(own Position, durable func(Voter) Position) Position {
	if r.K <= 0 {
		return own
	}
	return min(own, kthLargest(r, durable))
}

// kthLargest returns the K-th largest value among r's voters, or 0 if there are fewer than K voters.
func kthLargest[T ~uint64 | ~int64](r Rule, of func(Voter) T) T {
	if r.K > len(r.Voters) {
		return 0
	}
	var few [8]T
	vals := few[:0]
	for _, v := range r.Voters {
		vals = append(vals, of(v))
	}
	slices.Sort(vals)
	return vals[len(vals)-r.K]
}

// Commit returns the last position committed under every one of rules, or 0 if there are no rules.
func Commit(rules []Rule, own Position, durable func(Voter) Position) Position {
	if len(rules) == 0 {
		return 0
	}
	c := own
	for _, r := range rules {
		c = min(c, r.Commit(own, durable))
	}
	return c
}

// ReadWindow returns for how much longer the leader may serve linearizable reads: under every rule, the grants of K voters
// keep any other leader from committing for at least that long. left returns what remains of one voter's grant (<= 0:
// nothing). With K = 0 the voters protect nothing, and the result is the largest duration: the caller's own deadline
// decides.
func ReadWindow(rules []Rule, left func(Voter) time.Duration) time.Duration {
	if len(rules) == 0 {
		return 0
	}
	w := time.Duration(1<<63 - 1)
	for _, r := range rules {
		if r.K > 0 {
			w = min(w, kthLargest(r, left))
		}
	}
	return w
}

// Unheard returns for how long the leader has not heard from K voters, under the worst of the rules. since returns how long
// ago one voter was heard. The result is 0 if nobody needs to be heard, or if there are fewer than K voters anyway.
func Unheard(rules []Rule, since func(Voter) time.Duration) time.Duration {
	var longest time.Duration
	for _, r := range rules {
		if r.K > 0 {
			longest = max(longest, -kthLargest(r, func(v Voter) time.Duration { return -since(v) }))
		}
	}
	return longest
}

// Leadership is one epoch's leader with every commit rule under which it may have acknowledged writes.
type Leadership struct {
	Epoch  Epoch  `json:"epoch"`
	Leader Voter  `json:"leader"`
	Rules  []Rule `json:"rules"`
	// Start is the log end on which Leader was elected; the zero Mark if that is not known.
	Start Mark `json:"start,omitzero"`
}

// Fenced reports whether l can acknowledge nothing more, given the members that have durably promised a higher epoch:
// either its leader is among them, or a fence quorum of every rule is.
func (l Leadership) Fenced(has func(Voter) bool) bool {
	if has(l.Leader) {
		return true
	}
	for _, r := range l.Rules {
		if !r.Fenced(has) {
			return false
		}
	}
	return len(l.Rules) > 0
}

// Inert reports whether l can never have acknowledged anything, and so need not be fenced: its oldest recorded rule
// requires more voters than it has. Looking at the oldest rule is enough. A leader obeys a newer rule alone only after the
// record has dropped the older one, and an older rule is dropped only once everything acknowledged is held under the newer
// one.
func (l Leadership) Inert() bool {
	return len(l.Rules) > 0 && l.Rules[0].K > len(l.Rules[0].Voters)
}

// Candidate is a fenced member that could be promoted.
type Candidate struct {
	Voter Voter
	Last  Mark // durable log end in its fence answer
	// Preference breaks ties between equal marks: lower is better (zone, then ordinal).
	Preference int
}

// Elect returns the index of the candidate that holds the most: largest (epoch, position), then lowest Preference, then
// lowest name. It returns -1 if there are no candidates.
func Elect(cs []Candidate) int {
	best := -1
	for i, c := range cs {
		if best < 0 || beats(c, cs[best]) {
			best = i
		}
	}
	return best
}

func beats(a, b Candidate) bool {
	if o := a.Last.Compare(b.Last); o != 0 {
		return o > 0
	}
	if a.Preference != b.Preference {
		return a.Preference < b.Preference
	}
	return a.Voter.Member < b.Voter.Member
}
