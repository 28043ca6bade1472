package decide

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// degraded reports the worst of what is wrong.
func (d *decision) degraded(rec Record, p Plan) judgement {
	if losing := d.losing(rec); len(losing) > 0 {
		return judgement{true, v1alpha1.ReasonClaimDeleting, whatGoes(losing)}
	}
	if d.sleeping {
		if lost := d.lostAsleep(); lost != "" {
			return judgement{true, v1alpha1.ReasonRecordLost, lost}
		}
		if gone := d.goneAsleep(rec); gone != "" {
			return judgement{true, v1alpha1.ReasonMemberMissing, gone}
		}
		if stay := d.podsAsleep(); stay != "" {
			return judgement{true, v1alpha1.ReasonMemberMissing, stay}
		}
	}
	if d.sleeping || wakes(rec) && rec.Phase == PhaseFencing && p.State != Blocked {
		return judgement{false, v1alpha1.ReasonAsExpected, "Nothing is missing while the store hibernates or wakes up."}
	}
	wrong := d.wrong(rec)
	if len(wrong) == 0 {
		return judgement{false, v1alpha1.ReasonAsExpected, "Nothing is missing."}
	}
	worst := wrong[0]
	if worst.reason == v1alpha1.ReasonDurabilityLowered && len(wrong) > 1 {
		worst.message += " " + wrong[1].message // why, and what to do
	}
	return worst
}

// wrong lists everything that is wrong, the worst first.
func (d *decision) wrong(rec Record) []judgement {
	full, nearly := d.storage(rec)
	missing, lagging, quarantined := d.shortOf(rec)
	all := []judgement{
		d.lowered(rec), full, d.problems(rec),
		{len(d.stuck) > 0, v1alpha1.ReasonClaimStuck, d.stuckClaims()},
		d.missed(rec, missing, quarantined),
		told(v1alpha1.ReasonMemberStuck, d.stuckMembers(rec)),
		told(v1alpha1.ReasonMemberLagging, lagging),
		nearly,
		d.noSuccessor(rec),
		d.notRenewed(rec),
		d.keptWrites(rec, quarantined),
	}
	return slices.DeleteFunc(all, func(j judgement) bool { return !j.status })
}

// told is true if there are texts.
func told(reason string, texts []string) judgement {
	return judgement{len(texts) > 0, reason, strings.Join(texts, "; ") + "."}
}

// missed also says which acknowledged writes only some members may have: whoever gives up a missing member must know who else
// has them.
func (d *decision) missed(rec Record, missing, quarantined []string) judgement {
	j := told(v1alpha1.ReasonMemberMissing, missing)
	j.message += prefixed(" ", d.keptWrites(rec, quarantined).message)
	return j
}

// lowered reports that the rule in force asks for fewer followers than the spec does, as durability Preferred allows.
func (d *decision) lowered(rec Record) judgement {
	rule, led := rec.Rule()
	sync := d.replicationStatus(rec)
	return judgement{led && sync.Degraded, v1alpha1.ReasonDurabilityLowered,
		fmt.Sprintf("Writes are acknowledged with %d followers instead of %d.", rule.K, d.Store.Spec.SynchronousNumber())}
}

// shortOf lists the members that do not answer or cannot be made, those that lag, and what members hold in quarantine.
func (d *decision) shortOf(rec Record) (missing, lagging, quarantined []string) {
	for _, m := range d.roster(rec) {
		s := m.fresh()
		if s == nil {
			missing = append(missing, d.trouble(rec, m))
			if was := m.Probe.Status; was != nil && was.Quarantined > 0 && m.keepsVolume() {
				text := fmt.Sprintf("%s: %d when it last answered", m.Name, was.Quarantined)
				if m.Pod != nil && !m.Probe.Met {
					text += ", before its pod was made anew"
				}
				quarantined = append(quarantined, text)
			}
			continue
		}
		if p := m.Pod; p != nil && p.Deleting && p.NodeTrouble != "" {
			missing = append(missing, fmt.Sprintf("%s answers, but its pod is being deleted and stays: %s (restart the kubelet there, or switch the machine off and delete its node)", m.Name, p.NodeTrouble))
		}
		if s.Quarantined > 0 {
			quarantined = append(quarantined, fmt.Sprintf("%s: %d", m.Name, s.Quarantined))
		}
		if rec.Phase == PhaseStable && m.Name != rec.Leader.Member && !d.keepsUp(rec, m) {
			lagging = append(lagging, d.whyNotCaughtUp(rec, m))
		}
	}
	return append(missing, d.unmade(rec)...), lagging, quarantined
}

// problemReasons lists the problems that have a condition reason of their own, the worst first.
var problemReasons = []struct{ problem, reason string }{
	{wire.ProblemDiskStuck, v1alpha1.ReasonDiskStuck},
	{wire.ProblemLogDamaged, v1alpha1.ReasonLogDamaged},
	{wire.ProblemVolumeOlder, v1alpha1.ReasonVolumeOlder},
	{wire.ProblemSeedBudget, v1alpha1.ReasonSeedBudgetSpent},
}

// problems collects what members report themselves. Its reason is the one that they share, if it is in problemReasons,
// otherwise MemberProblem.
func (d *decision) problems(rec Record) judgement {
	var texts []string
	seen := map[string]bool{}
	for _, m := range d.roster(rec) {
		s := m.fresh()
		switch {
		case s == nil && m.Probe.Trouble != "":
			texts, seen[wire.ProblemDiskStuck] = append(texts, m.Name+": "+m.Probe.Trouble), true
		case s != nil && s.Problem != "":
			texts, seen[s.ProblemReason] = append(texts, m.Name+": "+s.Problem), true
		}
	}
	if len(texts) == 0 {
		return judgement{}
	}
	reason := v1alpha1.ReasonMemberProblem
	for _, p := range problemReasons {
		if len(seen) == 1 && seen[p.problem] {
			reason = p.reason
		}
	}
	return judgement{true, reason, strings.Join(texts, "; ") + "."}
}

func (d *decision) trouble(rec Record, m Member) string {
	if m.waitsForClaim() {
		return m.Name + " has no pod: " + m.whyClaimStays()
	}
	if m.Pod == nil && d.expendable(rec)[m.Name] {
		return fmt.Sprintf("%s has no pod: it is to be removed, because spec.replicas is %d", m.Name, d.Store.Spec.Size())
	}
	if m.Pod == nil {
		return cmp.Or(d.cannotBeMade(m.Name), m.Name+" has no pod")
	}
	if m.Foreign {
		return m.Name + " holds the data of another store and takes no part (annotate its pod with " + v1alpha1.AnnotationReseed + " to discard that data)"
	}
	if m.Pod.Orphaned || m.Pod.Deleting && m.Pod.IP == "" {
		text := m.Name + " is created once the old pod of that name is gone"
		if m.Pod.NodeTrouble != "" {
			text += ": " + d.clue(m)
		}
		return text
	}
	if m.Claim != nil && m.Claim.Lost {
		return m.Name + " has lost its volume (annotate its pod with " + v1alpha1.AnnotationReseed + " to give it a new one)"
	}
	clue := prefixed(": ", d.clue(m))
	if m.Pod.Trouble != "" {
		return m.Name + " is not running: " + m.Pod.Trouble + d.whyNotCured(m) + clue
	}
	return m.Name + " does not answer" + clue
}

// creatingPatience is how long creating a container may take before that is reported.
const creatingPatience = time.Minute

// clue returns what Kubernetes says that may explain why a member with a pod does not answer, and what to do; "" if there is
// nothing.
func (d *decision) clue(m Member) string {
	creating := m.Pod.Creating && m.Pod.Trouble == "" && d.lastingQuietly("creating: "+string(m.Pod.UID), creatingPatience)
	switch {
	case m.Pod.NodeTrouble != "" && m.Pod.Deleting:
		return m.Pod.NodeTrouble + ", and its pod, which is being deleted, stays until the node is back: once the machine is known to be off, delete the node, " +
			"or force-delete the pod (kubectl delete pod " + m.Name + " --force)"
	case m.Pod.NodeTrouble != "":
		return m.Pod.NodeTrouble
	case m.Pod.Deleting:
		return "its pod is being deleted"
	case creating:
		return fmt.Sprintf("its container has not been created after %s: its volume may be attached to another machine or fail to mount, or its image is slow to pull (kubectl describe pod %s)",
			creatingPatience, m.Name)
	case m.Pod.Trouble == "" && m.Pod.Ended != "":
		return "its container " + m.Pod.Ended
	default:
		return ""
	}
}

// prefixed returns text with a prefix; "" if text is empty.
func prefixed(prefix, text string) string {
	if text == "" {
		return ""
	}
	return prefix + text
}

// whyNotCured says why a member that does not run keeps a pod made from another spec; "" if that does not apply.
func (d *decision) whyNotCured(m Member) string {
	switch {
	case !d.curable(m) || d.Trial.Refused == "":
		return ""
	case d.Trial.Unclear:
		return " (its pod has an outdated template, and the API server cannot say whether it accepts a new one: " + d.Trial.Refused + ")"
	default:
		return " (its pod has an outdated template, and the API server rejects a new one: " + d.Trial.Refused + ")"
	}
}

// silence says why the leader does not answer, as far as Kubernetes knows.
func (d *decision) silence(leader Member) string {
	switch {
	case leader.Pod == nil:
		return "has no pod"
	case leader.Pod.Trouble != "":
		return "is not running: " + leader.Pod.Trouble + prefixed(": ", d.clue(leader))
	default:
		return "does not answer the operator" + prefixed(": ", d.clue(leader))
	}
}

// noSuccessor reports that the followers that answer could not take over without the leader. A store with one member, or one
// that asked for asynchronous replication, was never promised that they could.
func (d *decision) noSuccessor(rec Record) judgement {
	if rec.Phase != PhaseStable || d.Store.Spec.Size() == 1 || d.Store.Spec.SynchronousNumber() == 0 {
		return judgement{}
	}
	ev := d.foreseen()
	delete(ev, rec.Leader.Member)
	if !rec.fencedBy(ev.has) {
		return judgement{true, v1alpha1.ReasonNoFailoverTarget, "If the leader failed now, no follower could take over with every acknowledged write: " +
			"bring back the missing members, or add members (spec.replicas)."}
	}
	var fenced []string
	for _, name := range slices.Sorted(maps.Keys(ev)) {
		if p := d.Members[name].Pod; p != nil && p.Fenced {
			fenced = append(fenced, name)
			delete(ev, name)
		}
	}
	if rec.fencedBy(ev.has) {
		return judgement{}
	}
	return judgement{true, v1alpha1.ReasonNoFailoverTarget, fmt.Sprintf("If the leader failed now, only %s would be sure to hold every acknowledged write, "+
		"and a fenced pod is not elected: remove the annotation %s, or add members (spec.replicas).", strings.Join(fenced, ", "), v1alpha1.AnnotationFenced)}
}
