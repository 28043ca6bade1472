package decide

import (
	"cmp"
	"maps"
	"slices"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
)

// roster returns the members that make up the store: those with a pod, and those that the record counts on. While the
// record is missing, was lost or is an older copy, a claim alone counts too, because it may hold the only copy.
func (d *decision) roster(rec Record) []Member {
	claims := rec.Epoch == 0 || len(rec.EveryMember) > 0 || d.recordIsOld(rec)
	var out []Member
	for _, m := range d.byOrdinal() {
		if m.Pod != nil || claims && m.Claim != nil || d.counted(rec, m.Name) {
			out = append(out, m)
		}
	}
	return out
}

// counted reports whether the record counts on the member: as leader, as voter, or in a leadership that binds the next
// election.
func (d *decision) counted(rec Record, name string) bool {
	for _, l := range rec.Leaderships() {
		if l.Leader.Member == name {
			return true
		}
		for _, r := range l.Rules {
			for _, v := range r.Voters {
				if v.Member == name {
					return true
				}
			}
		}
	}
	return slices.Contains(rec.EveryMember, name)
}

// surplus returns the members to remove, never the leader. It takes first those that are already leaving, then those that
// the leader has not heard for a long time or whose disks have hung for a long time, then those that do not vote, then
// the highest ordinals.
func (d *decision) surplus(rec Record) map[string]bool {
	var followers []Member
	members := d.roster(rec)
	for _, m := range members {
		if m.Name != rec.Leader.Member {
			followers = append(followers, m)
		}
	}
	excess := len(members) - d.Store.Spec.Size()
	if excess <= 0 || rec.Phase != PhaseStable || d.recordIsOld(rec) {
		return nil
	}
	rank := func(m Member) int {
		_, votes := rec.Voter(m.Name)
		switch {
		case m.Pod == nil || m.Pod.Deleting:
			return 0
		case d.unheard[m.Name]:
			return 1
		case !votes:
			return 2
		default:
			return 3
		}
	}
	slices.SortFunc(followers, func(a, b Member) int { return cmp.Or(rank(a)-rank(b), b.Ordinal-a.Ordinal) })
	out := map[string]bool{}
	for _, m := range followers[:min(excess, len(followers))] {
		out[m.Name] = true
	}
	return out
}

// expendable returns the surplus members that need not be made again. While the recorded leader does not lead, the fence
// condition may need every member that the record counts on and that has its volume; while too few voters answer, so may
// writes.
func (d *decision) expendable(rec Record) map[string]bool {
	out := maps.Clone(d.surplus(rec))
	_, short := d.tooFewVoters(rec)
	if short || !d.Members[rec.Leader.Member].leads(rec) {
		maps.DeleteFunc(out, func(name string, _ bool) bool { return d.counted(rec, name) && d.Members[name].keepsVolume() })
	}
	return out
}

// scaleDown removes one surplus member, once no rule counts it any more and the others can commit without it. A surplus
// member that keeps up is kept while a member that is to stay does not keep up. That one may be back in a moment; if it
// is gone for long, it is removed instead.
func (d *decision) scaleDown(rec Record) (Plan, bool) {
	surplus := d.surplus(rec)
	for _, m := range slices.Backward(d.byOrdinal()) {
		if !surplus[m.Name] {
			continue
		}
		if _, votes := rec.Voter(m.Name); votes {
			return plan(ScalingDown, v1alpha1.ReasonScalingDown, "%s is to be removed, but is still needed as a voter.", m.Name).again(soon), true
		}
		if m.Pod == nil || m.Pod.Deleting {
			return plan(ScalingDown, v1alpha1.ReasonScalingDown, "%s is being removed.", m.Name).again(soon), true
		}
		if stays := d.notKeepingUp(rec, surplus); stays != "" && d.keepsUp(rec, m) {
			return plan(ScalingDown, v1alpha1.ReasonScalingDown, "%s is to be removed, but is kept until %s, which stays, keeps up: %s.",
				m.Name, stays, d.whyNotCaughtUp(rec, d.Members[stays])).again(soon), true
		}
		if p, ok := d.noteKept(rec, m); ok {
			return p, true
		}
		return plan(ScalingDown, v1alpha1.ReasonScalingDown, "Removing %s, which no longer votes.", m.Name).
			do(DeletePod{m.Name, m.Pod.UID, "scaled down"}), true
	}
	return d.dropClaims(rec)
}

// removeSurplus is scaleDown without its waits: what is waited for may need an update first.
func (d *decision) removeSurplus(rec Record) (Plan, bool) {
	p, ok := d.scaleDown(rec)
	return p, ok && len(p.Actions) > 0
}

// notKeepingUp returns a follower that is to stay and does not keep up, but may soon; "" if there is none.
func (d *decision) notKeepingUp(rec Record, surplus map[string]bool) string {
	for _, m := range d.roster(rec) {
		if m.Name != rec.Leader.Member && !surplus[m.Name] && !d.unheard[m.Name] && !d.keepsUp(rec, m) {
			return m.Name
		}
	}
	return ""
}

// dropClaims deletes the claims of members that were scaled away, if the retention policy says so. It is safe because it
// only runs while the store has all its pods: a claim whose pod is merely missing belongs to a member that is still to be
// made. A claim that may hold the only copy of acknowledged writes is kept until a person gives these up (see onlyCopy).
func (d *decision) dropClaims(rec Record) (Plan, bool) {
	if d.Store.Spec.Storage.RetentionPolicy.WhenScaled != v1alpha1.DeleteClaim {
		return Plan{}, false
	}
	running := 0
	for _, m := range d.Members {
		if m.Pod != nil && !m.Pod.Deleting {
			running++
		}
	}
	if running < d.Store.Spec.Size() {
		return Plan{}, false
	}
	kept := d.uncut(rec)
	for _, m := range d.byOrdinal() {
		if m.Pod == nil && m.Claim != nil && !m.Claim.Deleting && !d.counted(rec, m.Name) && !slices.Contains(kept, m.Name) {
			if p, ok := d.noteKept(rec, m); ok { // its pod went some other way
				return p, true
			}
			return plan(ScalingDown, v1alpha1.ReasonScalingDown, "Deleting the claim of %s, which was scaled down.", m.Name).
				do(DeleteClaim{m.Name, m.Claim.UID, "scaled down"}), true
		}
	}
	return Plan{}, false
}
