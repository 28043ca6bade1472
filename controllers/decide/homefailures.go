package decide

import (
	"fmt"
	"time"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
)

// Pauses between handovers to a better place (see moves) whose target does not last as leader. Each costs a failover. The first
// one leaves time for a handover to another member of the preferred zone.
const (
	firstHomeRest = 2 * homePatience
	lastHomeRest  = time.Hour
)

// moves reports whether rec describes a handover that the operator made only because its target is in a better place: in a
// preferred zone, or on a node that is not cordoned. The former leader could have gone on.
func (r Record) moves() bool {
	return r.Kind == v1alpha1.KindHandover && (r.Reason == reasonPreferredZone || r.Reason == reasonNodeCordoned)
}

// homeFailures returns the failed handovers to a better place that still count; nil if there are none. They no longer count
// once whoever such a handover went to, or their member, has led for long enough, or that member is to have another template.
func (d *decision) homeFailures(rec Record) *LeadFailures {
	f := rec.HomeFailures
	if f == nil || d.template(d.Members[f.Member]) != f.Template {
		return nil
	}
	if leads := rec.Leader.Member; d.lasted(rec) && (leads == f.Member || rec.moves() && leads == rec.Target) {
		return nil
	}
	return f
}

// homeFailed returns the failures with another one if rec describes a handover to a better place that comes to nothing now:
// its target is not elected, or is to be replaced before it has led for long. A target whose pod is gone or being deleted
// did not fail.
func (d *decision) homeFailed(rec Record) *LeadFailures {
	f, m := d.homeFailures(rec), d.Members[rec.Target]
	if !rec.moves() || rec.Phase != PhaseFencing && rec.Leader.Member != rec.Target || d.lasted(rec) || m.Pod == nil || m.Pod.Deleting {
		return f
	}
	next := LeadFailures{InARow: 1, Member: m.Name, Template: d.template(m), At: *d.micro()}
	if f != nil {
		next.InARow += f.InARow
	}
	return &next
}

// homeRests returns how long the operator still refrains from handing over to a member only because that is in a better place.
// Whoever failed last waits for longer than others, which are tried first.
func (d *decision) homeRests(rec Record, to string) time.Duration {
	f := d.homeFailures(rec)
	switch {
	case f == nil:
		return 0
	case f.Member == to:
		return f.rest(d.now, firstHomeRest, lastHomeRest, f.InARow)
	default:
		return f.rest(d.now, firstHomeRest, lastHomeRest, f.InARow-1)
	}
}

// better reports whether m is in a better place than the leader.
func (d *decision) better(rec Record, m Member) bool {
	leader := d.Members[rec.Leader.Member]
	if m.Pod == nil || leader.Pod == nil || m.Pod.Cordoned {
		return false
	}
	return leader.Pod.Cordoned || d.Store.Spec.Failover.ReturnToPreferredZone && d.zoneRank(m) < d.zoneRank(leader)
}

// homeTold says which member is not handed over to for now, and for how long that is so; "" and 0 if there is none.
func (d *decision) homeTold(rec Record) (string, time.Duration) {
	f := d.homeFailures(rec)
	if f == nil || !d.better(rec, d.Members[f.Member]) {
		return "", 0
	}
	rest := d.homeRests(rec, f.Member)
	if rest == 0 {
		return "", 0
	}
	return fmt.Sprintf(" %s is in a better place (a preferred zone, or a node that is not cordoned), but did not lead for %s when it was last tried: there "+
		"is no other attempt for %s. See how it ended (kubectl describe pod %s, kubectl logs %s --previous).", f.Member, lastsAfter, round(rest), f.Member, f.Member), rest
}
