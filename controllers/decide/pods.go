package decide

import (
	"slices"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
)

// upkeep is what is done in every state, because it changes neither who leads nor who counts: members exist, follow, and
// are labelled with what they do.
func (d *decision) upkeep(s State) []Action {
	if s == Deleting || s == Paused {
		return nil
	}
	var rec Record
	if r := d.Lease.Record; r != nil {
		rec = *r
	}
	var out []Action
	if s != Held && s != RecordLost {
		out = d.follow(rec)
	}
	out = append(out, d.labels(rec)...)
	return append(out, d.create(rec)...)
}

// create makes the pods that are missing: of members the store consists of, then of new ones up to the spec's size. A
// member whose pod is being deleted is waited for: two pods must never share a volume.
func (d *decision) create(rec Record) []Action {
	var out []Action
	surplus := d.surplus(rec)
	members := d.roster(rec)
	for _, m := range members {
		switch {
		case m.Pod == nil && !surplus[m.Name] && (m.Claim == nil || !m.Claim.Deleting):
			out = append(out, CreateMember{m.Name, m.Ordinal})
		case m.Pod != nil && m.Pod.Failed && !m.Pod.Deleting:
			out = append(out, DeletePod{m.Name, m.Pod.UID, "it has ended and will not run again"})
		}
	}
	for _, ordinal := range d.freeOrdinals(members)[:max(0, d.Store.Spec.Size()-len(members))] {
		name := v1alpha1.MemberName(d.Store.Name, ordinal)
		if c := d.Members[name].Claim; c == nil || !c.Deleting {
			out = append(out, CreateMember{name, ordinal})
		}
	}
	return out
}

// freeOrdinals lists as many ordinals as may be needed, those whose claim is already there first, then the lowest.
func (d *decision) freeOrdinals(taken []Member) []int {
	var claimed, bare []int
	for n := 1; len(bare) < d.Store.Spec.Size(); n++ {
		name := v1alpha1.MemberName(d.Store.Name, n)
		switch {
		case slices.ContainsFunc(taken, func(m Member) bool { return m.Ordinal == n }):
		case d.Members[name].Claim != nil:
			claimed = append(claimed, n)
		default:
			bare = append(bare, n)
		}
	}
	return append(claimed, bare...)
}

// reseed throws a follower's data away on request: it stops voting (see mustNotVote), then its claim and pod are deleted,
// and it comes back empty. Refused for the leader, and for a voter that the others cannot do without.
func (d *decision) reseed(rec Record) (Plan, bool) {
	for _, m := range d.byOrdinal() {
		if m.Pod == nil || !m.Pod.Reseed || m.Pod.Deleting {
			continue
		}
		_, votes := rec.Voter(m.Name)
		switch {
		case m.Name == rec.Leader.Member:
			return plan(Reseeding, v1alpha1.ReasonFailoverRefused, "%s leads and is not reseeded: hand over first.", m.Name).
				do(UnannotatePod{m.Name, v1alpha1.AnnotationReseed}), true
		case votes:
			return plan(Reseeding, v1alpha1.ReasonFailoverRefused, "%s is a voter that writes cannot do without, and is not reseeded.", m.Name).
				do(UnannotatePod{m.Name, v1alpha1.AnnotationReseed}), true
		case m.Claim != nil && !m.Claim.Deleting:
			return plan(Reseeding, v1alpha1.ReasonReseeding, "%s is reseeded: its claim is deleted.", m.Name).
				do(DeleteClaim{m.Name, m.Claim.UID, "reseed requested"}), true
		default:
			return plan(Reseeding, v1alpha1.ReasonReseeding, "%s is reseeded: its pod is deleted.", m.Name).
				do(DeletePod{m.Name, m.Pod.UID, "reseed requested"}), true
		}
	}
	return Plan{}, false
}

// update restarts members whose pod was made from another spec, one at a time and the leader last, each only while
// everybody else is caught up. A member that does not run anyway is replaced without waiting for others: a bad template must
// be curable. One that only missed a look is not such a member.
func (d *decision) update(rec Record) (Plan, bool) {
	var outdated []Member
	others := ""
	for _, m := range slices.Backward(d.byOrdinal()) {
		if m.Pod == nil {
			continue
		}
		old := m.outdated() && !m.Pod.Deleting
		switch {
		case old && m.fresh() == nil && (m.Pod.Trouble != "" || m.Probe.For >= d.Settings.VoterGoneAfter):
			return d.replace(m)
		case old:
			outdated = append(outdated, m)
		}
		if m.Name != rec.Leader.Member && others == "" {
			others = d.whyNotCaughtUp(rec, m)
		}
	}
	switch {
	case len(outdated) == 0:
		return Plan{}, false
	case others != "" || len(d.roster(rec)) < d.Store.Spec.Size():
		return plan(Updating, v1alpha1.ReasonUpdating, "%d members are to be restarted; waiting: %s.", len(outdated), others).again(soon), true
	}
	for _, m := range outdated {
		if m.Name != rec.Leader.Member {
			return d.replace(m)
		}
	}
	if to, why := d.heir(rec, v1alpha1.FailoverToAny); why == "" && d.Pass.HandoverError == "" {
		return d.handOver(rec, to, reasonUpdating, ""), true
	}
	if len(d.roster(rec)) == 1 {
		return d.replace(outdated[0])
	}
	return plan(Updating, v1alpha1.ReasonUpdating, "%s leads and is to be restarted; nobody can take over yet. %s", rec.Leader.Member, d.Pass.HandoverError).again(2 * soon), true
}

func (d *decision) replace(m Member) (Plan, bool) {
	return plan(Updating, v1alpha1.ReasonUpdating, "%s is restarted to take up the new template.", m.Name).
		do(DeletePod{m.Name, m.Pod.UID, "its template changed"}), true
}
