package decide

import (
	"fmt"
	"slices"
	"strings"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/replication"
)

// gate is what holds up a failover: a reason of ConditionFailoverBlocked, and one sentence that names the members and the
// override.
type gate struct{ reason, message string }

// passage says that a failover may go on, and what that may cost.
type passage struct {
	lossy bool
	// atMost bounds the lost writes that were ever heard of; the leader may have written more. Meaningful only if bounded
	// is set.
	atMost  int64
	bounded bool
}

// fenceGate is the fence condition: for every leadership that binds and that ev does not settle, nothing more can be
// acknowledged, and the evidence includes a holder of everything that was acknowledged.
func (d *decision) fenceGate(rec Record, ev evidence) (passage, *gate) {
	var pass passage
	if g := d.everyMemberGate(rec, ev, &pass); g != nil {
		return pass, g
	}
	for _, l := range ev.unsettled(rec) {
		if l.Inert() || l.Fenced(ev.has) {
			continue
		}
		if g := d.lossGate(l, ev, &pass); g != nil {
			return pass, g
		}
	}
	if pass.lossy && d.Store.Spec.Failover.DataLoss == v1alpha1.DataLossBounded {
		return pass, d.boundGate(rec, ev, &pass)
	}
	return pass, nil
}

const dropUnwanted = "delete the claims whose data is no longer wanted, and then their pods"

// everyMemberGate is the condition after the record was lost. The rules are unknown then, so every member must answer
// with data. An empty member may have lost everything, so it counts only where loss is allowed. Even there, members with
// a pod or a volume get time to answer: members start one after another, and the first may be the one that is furthest
// behind.
func (d *decision) everyMemberGate(rec Record, ev evidence, pass *passage) *gate {
	var missing, late []string
	waited := d.Held[factAnswered] >= wakePatience
	for _, name := range rec.EveryMember {
		h, answers := ev[name]
		if !answers || h.seeding || h.empty {
			missing = append(missing, name)
		}
		if m := d.Members[name]; !answers && (m.Pod != nil || m.keepsVolume()) {
			late = append(late, name)
			waited = d.givenUp(m) && waited
		}
	}
	allowed := d.Store.Spec.Failover.DataLoss == v1alpha1.DataLossAllow && d.expiredBeyondDoubt()
	switch {
	case len(missing) == 0:
		return nil
	case allowed && (len(late) == 0 || waited):
		pass.lossy = true
		return nil
	case allowed:
		return &gate{v1alpha1.ReasonRecordLost, fmt.Sprintf("No record says which members hold every acknowledged write: waiting for %s to answer. Because spec.failover.dataLoss is Allow, "+
			"the store goes on without them once others have answered with data for %s; a member that answers but cannot be fenced gets that long too.", strings.Join(late, ", "), wakePatience)}
	default:
		what, instead := "The authority record was lost", ""
		if r := d.Lease.Record; r == nil || len(r.EveryMember) == 0 {
			instead = "; or, if one is empty and never held anything: lower spec.replicas, and delete its claim and then its pod"
		}
		if d.takesOver() {
			what, instead = "An earlier store of this name left volumes", instead+"; or "+dropUnwanted
		}
		return &gate{v1alpha1.ReasonRecordLost, fmt.Sprintf("%s, so every member must answer with its data; missing or empty: %s "+
			"(override: spec.failover.dataLoss Allow%s).", what, strings.Join(missing, ", "), instead)}
	}
}

// givenUp reports whether a member without which a lost record cannot be replaced is not waited for any longer. One that
// only missed a look, or whose disk was too slow for a fence or two, is.
func (d *decision) givenUp(m Member) bool {
	if m.fresh() != nil {
		return d.lasting(unfenced(m.Name), wakePatience)
	}
	d.keepTiming(unfenced(m.Name))
	return m.lately() == nil
}

// unfenced is the fact that a member answers and could not be fenced.
func unfenced(name string) string { return name + " answers, and is not fenced" }

// factAnswered is timed from when the first member answers with data while no record tells who else has some.
const factAnswered = "members answer with data, and no record tells who else has some"

// timeAnswered times factAnswered. Decide calls it first, so that the timing is not interrupted whatever else is decided.
func (d *decision) timeAnswered() {
	if rec := d.Lease.Record; rec != nil && len(rec.EveryMember) == 0 && !d.recordIsOld(*rec) {
		return
	}
	for _, m := range d.Members {
		if s := m.lately(); s != nil && !s.Empty && !s.NeedSeed {
			d.lasting(factAnswered, wakePatience)
			return
		}
	}
}

// lossGate judges a leadership that is not provably over: to go on may lose what it acknowledged.
func (d *decision) lossGate(l replication.Leadership, ev evidence, pass *passage) *gate {
	f := d.Store.Spec.Failover
	// A leader whose voters answer carries on without its Lease, so there is no bound on what it has acknowledged since
	// it was last heard. If a leader may still go by a rule with voters, the record names that rule (see nextRules).
	withVoters := slices.ContainsFunc(l.Rules, func(r replication.Rule) bool { return r.K > 0 })
	if f.DataLoss != v1alpha1.DataLossAllow && (f.DataLoss != v1alpha1.DataLossBounded || withVoters) {
		return d.forbidden(l, ev)
	}
	if !d.expiredBeyondDoubt() {
		return &gate{v1alpha1.ReasonLeaderMayBeAlive, fmt.Sprintf("%s is not fenced and may still lead epoch %d until its Lease has expired (unchanged for %s of %s).",
			l.Leader.Member, l.Epoch, round(d.Lease.UnchangedFor), d.leaseDuration()*5/4)}
	}
	pass.lossy = true
	return nil
}

func (d *decision) forbidden(l replication.Leadership, ev evidence) *gate {
	for _, r := range l.Rules {
		switch {
		case r.K > 0 && !r.Fenced(ev.has):
			var names []string
			for _, v := range r.Voters {
				if !ev.has(v) {
					names = append(names, v.Member)
				}
			}
			return &gate{v1alpha1.ReasonFenceQuorumMissing, fmt.Sprintf("%d of the voters of epoch %d must answer, or its leader %s; missing: %s "+
				"(override: spec.failover.dataLoss Allow).", r.FenceQuorum(), l.Epoch, l.Leader.Member, strings.Join(names, ", "))}
		case r.K == 0 && l.Rules[0].K > 0:
			return d.goingAlone(l)
		case r.K == 0 && d.expiredBeyondDoubt():
			return &gate{v1alpha1.ReasonDataLossForbidden, fmt.Sprintf("%s led epoch %d without synchronous followers and is gone: its newest writes may exist nowhere else "+
				"(override: spec.failover.dataLoss Allow).", l.Leader.Member, l.Epoch)}
		}
	}
	return &gate{v1alpha1.ReasonLeaderMayBeAlive, fmt.Sprintf("%s led epoch %d without synchronous followers and may still lead: it is not fenced, and its Lease has not surely expired. "+
		"Bring it back, or wait until its Lease has been unchanged for %s and then decide about the loss.", l.Leader.Member, l.Epoch, d.leaseDuration()*5/4)}
}

// goingAlone is the gate for a leader that was lost while it was being told to go on without synchronous followers, after
// those were fenced. While the record names both rules, the leader has acknowledged nothing alone; but a record that was
// restored from an older copy looks the same.
func (d *decision) goingAlone(l replication.Leadership) *gate {
	which := fmt.Sprintf("%s led epoch %d and was being told to continue without synchronous followers", l.Leader.Member, l.Epoch)
	if d.expiredBeyondDoubt() {
		return &gate{v1alpha1.ReasonDataLossForbidden, fmt.Sprintf("%s, and is gone. They hold what it acknowledged with them; whether it acknowledged "+
			"anything without them is unknown: bring it back (override: spec.failover.dataLoss Allow).", which)}
	}
	return &gate{v1alpha1.ReasonLeaderMayBeAlive, fmt.Sprintf("%s, and may still lead: it is not fenced, and its Lease has not surely expired. Bring it back, or wait until its Lease has been "+
		"unchanged for %s and then decide about what it may have acknowledged alone.", which, d.leaseDuration()*5/4)}
}
