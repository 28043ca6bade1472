package decide

import (
	"maps"
	"slices"
	"time"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// A leader may answer the operator but hear too few of its voters to acknowledge anything, while those voters answer the
// operator too: something between them is broken, such as a route or a network policy for their ports. The leader looks
// alive from here but is of no use to anybody.

const (
	// cutOffPatience is how long that must last before another member leads.
	cutOffPatience = 5 * time.Second
	// cutOffAgain is how long after such a replacement the new leader may be replaced for the same reason: if both are cut
	// off, every member may be, whoever leads.
	cutOffAgain = 5 * time.Minute
)

// cutOff reports whether the leader answers but has long been unable to acknowledge anything, while the others can do
// without it.
func (d *decision) cutOff(rec Record) bool {
	leader := d.Members[rec.Leader.Member]
	rule, ok := rec.Rule()
	if s := leader.fresh(); s == nil || !leader.leads(rec) || !ok || rule.K == 0 || len(rec.Rules) > 1 || d.heardBy(s, rec) >= rule.K {
		return false
	}
	heard, silent := 0, 0
	for _, m := range d.byOrdinal() {
		s := m.fresh()
		if s == nil || !m.follows(rec) || s.Contact == nil {
			continue
		}
		v, votes := rec.Voter(m.Name)
		switch votes = votes && v.Incarnation == s.Incarnation; {
		case s.Contact.Connected && votes:
			heard++
		case s.Seeding != nil, s.Disk.Level == wire.DiskFull, s.ProblemReason != "": // it has reasons of its own for not being connected
		case s.Contact.SilentMillis < 0, s.Contact.Refused, time.Duration(s.Contact.SilentMillis)*time.Millisecond >= d.Settings.SuspectAfter:
			silent++
		}
	}
	if heard >= rule.K || heard+silent <= rule.K || !d.suffices(rec, without(d.foreseen(), append(slices.Clone(rec.Aside), leader.Name))) {
		return false
	}
	wanted := d.Store.Spec.Failover.Mode != v1alpha1.FailoverManual || d.request() != "" || rec.Phase != PhaseStable
	return d.lasting("cut off/"+leader.Name+"/"+rec.Leader.Incarnation, d.cutOffPatience(rec)) && wanted
}

func (d *decision) foundCutOff(rec Record) finding {
	f := found(leaderDown, reasonLeaderCutOff, "%s answers, but has heard too few of its voters for %s, although they answer too", rec.Leader.Member, cutOffPatience)
	f.setAside = true
	return f
}

// heardBy counts the voters that the leader says it hears.
func (d *decision) heardBy(leader *wire.Status, rec Record) (n int) {
	rule, _ := rec.Rule()
	for _, v := range rule.Voters {
		f := leader.Followers[v.Member]
		if f.Incarnation == v.Incarnation && f.Live && time.Duration(f.SilentMillis)*time.Millisecond < d.Settings.SuspectAfter {
			n++
		}
	}
	return n
}

// cutOffPatience is how long rec's leader must have been cut off: longer soon after its predecessor was replaced for the
// same reason. The measure uses the clocks of possibly different operators, which can only lengthen or shorten the pause.
func (d *decision) cutOffPatience(rec Record) time.Duration {
	if rec.Phase != PhaseStable || rec.Reason != reasonLeaderCutOff || rec.Since.Writable == nil {
		return cutOffPatience
	}
	return min(max(cutOffPatience, cutOffAgain-d.now.Sub(rec.Since.Writable.Time)), cutOffAgain)
}

// helpful returns the evidence without the members that are set aside and those whose pods are fenced, provided that the
// rest suffices. What those members wrote after they were last heard, nobody else holds, so nobody was told that it is
// written; yet with the longest log they would be elected again, or would keep everyone else from being elected.
func (d *decision) helpful(rec Record, aside []string, ev evidence) evidence {
	var fenced []string
	for name := range ev {
		if p := d.Members[name].Pod; p != nil && p.Fenced {
			fenced = append(fenced, name)
		}
	}
	for _, out := range [][]string{slices.Concat(aside, fenced), aside, fenced} {
		if rest := without(ev, out); len(rest) < len(ev) && d.suffices(rec, rest) {
			return rest
		}
	}
	return ev
}

// suffices reports whether ev allows some member to be elected without losing anything acknowledged.
func (d *decision) suffices(rec Record, ev evidence) bool {
	pass, g := d.fenceGate(rec, ev)
	if g != nil || pass.lossy {
		return false
	}
	_, g = d.elect(rec, ev)
	return g == nil
}

func without(ev evidence, members []string) evidence {
	rest := maps.Clone(ev)
	maps.DeleteFunc(rest, func(name string, _ holding) bool { return slices.Contains(members, name) })
	return rest
}
