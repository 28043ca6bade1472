package decide

import (
	"fmt"
	"slices"

	"github.com/replicatedstore/replicatedstore/replication"
)

// An operator that is cut off together with the leader gets answers from that leader only. The leader alone is evidence
// enough, because nothing can have been acknowledged without it. But it would be elected again in vain, while an operator on
// the other side is about to elect a member that the followers reach. So the others get a moment to answer. If there are
// none, waiting costs nothing: a leader that is alone acknowledges nothing.

// leftAlone reports whether a change of leader that rests on ev must wait for others to answer.
func (d *decision) leftAlone(rec Record, ev evidence) bool {
	return d.alone(rec, ev) && !d.waitedForOthers(rec)
}

// waitedForOthers times that wait. It is called in every step, so that the timing is not interrupted.
func (d *decision) waitedForOthers(rec Record) bool {
	return d.lasting(fmt.Sprintf("others than the leader of epoch %d", rec.LedEpoch()), d.Settings.LowerAfter)
}

// alone reports whether the newest leader that can have acknowledged something answers, while too few of its voters do, both
// for a fence quorum and for acknowledging anything.
func (d *decision) alone(rec Record, ev evidence) bool {
	ls := slices.DeleteFunc(slices.Clone(rec.Leaderships()), replication.Leadership.Inert)
	if len(ls) == 0 || len(rec.EveryMember) > 0 {
		return false
	}
	l := ls[len(ls)-1]
	if !ev.has(l.Leader) {
		return false
	}
	for _, r := range l.Rules {
		if r.K == 0 || r.Fenced(ev.has) || counted(r, ev) >= r.K {
			return false
		}
	}
	return true
}

// counted returns the number of r's voters in the evidence.
func counted(r replication.Rule, ev evidence) (n int) {
	for _, v := range r.Voters {
		if ev.has(v) {
			n++
		}
	}
	return n
}
