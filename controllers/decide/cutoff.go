package decide

import (
	"maps"
	"time"
)

// A leader may answer the operator, and hear too few of its voters to acknowledge anything, while they answer too: something between
// them is broken, such as a route, or a policy for their ports. It looks alive from here, and is of no use to anybody.

const (
	// cutOffPatience is how long that is watched before another one leads.
	cutOffPatience = 5 * time.Second
	// cutOffAgain is how long after the last leader was replaced for it: if its successor is cut off too, they cannot reach each
	// other, whoever leads.
	cutOffAgain = 5 * time.Minute
)

// cutOff reports whether the leader, which answers, has been unable to acknowledge anything for long enough, while enough of the
// others answer to do better without it.
func (d *decision) cutOff(rec Record) bool {
	rule, ok := rec.Rule()
	s := d.Members[rec.Leader.Member].fresh()
	if !ok || rule.K == 0 || s == nil || rec.Phase != PhaseStable {
		return false
	}
	heard := 0 // by the leader
	for _, v := range rule.Voters {
		f := s.Followers[v.Member]
		if f.Incarnation == v.Incarnation && f.Live && time.Duration(f.SilentMillis)*time.Millisecond < d.Settings.SuspectAfter {
			heard++
		}
	}
	c := d.contact(rec)
	if heard >= rule.K || c.heard >= rule.K || c.heard+c.silent+c.refused <= rule.K {
		return false
	}
	patience := cutOffPatience
	if rec.Reason == reasonLeaderCutOff {
		patience = cutOffAgain
	}
	return d.lasting("cut off/"+rec.Leader.Member+"/"+rec.Leader.Incarnation, patience)
}

// helpful is the evidence without the leader that is replaced because it is cut off, if the others' suffices: what it wrote after
// they heard it last, nobody else holds, so nobody was told that it is written.
func (d *decision) helpful(rec Record, leader, reason string, ev evidence) evidence {
	if reason != reasonLeaderCutOff {
		return ev
	}
	rest := maps.Clone(ev)
	delete(rest, leader)
	if pass, g := d.fenceGate(rec, rest); g != nil || pass.lossy {
		return ev
	}
	return rest
}
