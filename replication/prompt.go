package replication

import (
	"cmp"
	"slices"
)

// Prompt reports whether v should be sent new records as soon as they are in the log, because a commit waits for it. The
// other followers may be sent them a moment later and more at a time, which saves CPU and disk work (EPaxos calls a leader
// that contacts no more than a quorum thrifty: Moraru et al., SOSP 2013). That moment must be short, and must not depend on
// the answers of the prompt followers: they may hang.
//
// Every follower is prompt when a commit waits for none (K = 0), so that little is lost with the leader, and while two
// rules are in force.
func (r *Replica) Prompt(v Voter) bool {
	p := r.progressOf(v)
	return p != nil && (p.prompt || !r.lead.thrifty())
}

func (l *leading) thrifty() bool { return len(l.rules) == 1 && l.rules[0].K > 0 }

// choosePrompt marks as prompt the K voters with a stream that hold the most. Among voters that hold the same, those that
// are prompt already are preferred.
func (l *leading) choosePrompt() {
	if !l.thrifty() {
		return
	}
	var live []*progress
	for _, v := range l.rules[0].Voters {
		if p := l.followers[v.Member]; p != nil && p.voter == v && p.live {
			live = append(live, p)
		}
	}
	slices.SortStableFunc(live, func(a, b *progress) int {
		switch {
		case a.durable != b.durable:
			return cmp.Compare(b.durable, a.durable)
		case a.prompt == b.prompt:
			return 0
		case a.prompt:
			return -1
		default:
			return 1
		}
	})
	for _, p := range l.followers {
		p.prompt = false
	}
	for _, p := range live[:min(l.rules[0].K, len(live))] {
		p.prompt = true
	}
}
