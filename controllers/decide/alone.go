package decide

import (
	"fmt"
	"slices"

	"github.com/replicatedstore/replicatedstore/replication"
)

// An operator that is cut off together with the leader sees nobody but that leader answer. It is evidence enough, for without it nothing
// can have been acknowledged; but it would be elected again, and for nothing, while an operator on the other side is about to elect
// one that its followers reach. So others have a moment to answer. Where there are none, that costs nothing: a leader alone
// acknowledges nothing.

// leftAlone reports whether a change of leader that rests on ev waits for others.
func (d *decision) leftAlone(rec Record, ev evidence) bool {
	return d.alone(rec, ev) && !d.waitedForOthers(rec)
}

// waitedForOthers times that wait. Called in every step of it, so that it is seen without interruption.
func (d *decision) waitedForOthers(rec Record) bool {
	return d.lasting(fmt.Sprintf("others than the leader of epoch %d", rec.LedEpoch()), d.Settings.LowerAfter)
}

// alone reports whether the leader of the newest leadership that can have acknowledged something answers, and too few of its voters do for a fence quorum, and
// for acknowledging anything.
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

// counted is the number of r's voters in the evidence.
func counted(r replication.Rule, ev evidence) (n int) {
	for _, v := range r.Voters {
		if ev.has(v) {
			n++
		}
	}
	return n
}
