package replication

import (
	"cmp"
	"slices"
)

// Prompt reports whether v is to be sent new records as soon as they are in the log, because a commit waits for it. The others may be
// sent them a moment later, more at a time, which spares processors and disks (EPaxos calls a leader thrifty that asks no more than a
// quorum: Moraru et al., SOSP 2013). That moment has to be short, and must not depend on what the prompt ones answer: they may hang.
//
// Everybody is prompt while a commit needs nobody (K = 0), so that little is lost with the leader, and while two rules hold.
func (r *Replica) Prompt(v Voter) bool {
	p := r.progressOf(v)
	return p != nil && (p.prompt || !r.lead.thrifty())
}

func (l *leading) thrifty() bool { return len(l.rules) == 1 && l.rules[0].K > 0 }

// choosePrompt makes prompt, of the voters that have a stream, the K that hold most: those that have been prompt already, where several
// hold as much.
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
