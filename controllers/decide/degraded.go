package decide

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// degraded names the worst of what is wrong.
func (d *decision) degraded(rec Record, p Plan) judgement {
	if losing := d.losing(rec); len(losing) > 0 {
		return judgement{true, v1alpha1.ReasonClaimDeleting, whatGoes(losing)}
	}
	if d.sleeping || wakes(rec) && p.State != Blocked {
		return judgement{false, v1alpha1.ReasonAsExpected, "A store that hibernates, or wakes up, misses nothing."}
	}
	sync := d.replicationStatus(rec)
	full, nearly := d.storage(rec)
	problems := d.problems(rec)
	stuck := d.stuckMembers(rec)
	missing, lagging, quarantined := d.shortOf(rec)
	switch {
	case sync.Degraded:
		return judgement{true, v1alpha1.ReasonDurabilityLowered, fmt.Sprintf("Writes are acknowledged with %d followers instead of %d.", sync.Number, d.Store.Spec.SynchronousNumber())}
	case full.status:
		return full
	case problems.status:
		return problems
	case len(d.stuck) > 0:
		return judgement{true, v1alpha1.ReasonClaimStuck, d.stuckClaims()}
	case len(missing) > 0:
		return judgement{true, v1alpha1.ReasonMemberMissing, strings.Join(missing, "; ") + "."}
	case len(stuck) > 0:
		return judgement{true, v1alpha1.ReasonMemberStuck, strings.Join(stuck, "; ") + "."}
	case len(lagging) > 0:
		return judgement{true, v1alpha1.ReasonMemberLagging, strings.Join(lagging, "; ") + "."}
	case nearly.status:
		return nearly
	case rec.Phase == PhaseStable && !d.survivesOneMore(rec):
		return judgement{true, v1alpha1.ReasonNoFailoverTarget, "If the leader were lost now, no follower could take over with every acknowledged write: bring back " +
			"the members that are missing, or add some (spec.replicas)."}
	case len(quarantined) > 0 && d.acknowledgedAlone(rec):
		return judgement{true, v1alpha1.ReasonWritesQuarantined, "Entries cut by a rejoin are kept for a person: " + strings.Join(quarantined, ", ") + ". " + quarantineWayOut}
	default:
		return judgement{false, v1alpha1.ReasonAsExpected, "Nothing is missing."}
	}
}

const quarantineWayOut = "In the pod, `/node quarantine list` and `export` with `--data /data/store` show them, and `remove --all` ends this."

// shortOf lists the members that do not answer or cannot be made, those that are behind, and what members have in quarantine.
func (d *decision) shortOf(rec Record) (missing, lagging, quarantined []string) {
	for _, m := range d.roster(rec) {
		s := m.fresh()
		if s == nil {
			missing = append(missing, d.trouble(m))
			continue
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

// problemReasons are the reasons of problems that have one of their own, the worst first.
var problemReasons = []struct{ problem, reason string }{
	{wire.ProblemDiskStuck, v1alpha1.ReasonDiskStuck},
	{wire.ProblemLogDamaged, v1alpha1.ReasonLogDamaged},
	{wire.ProblemVolumeOlder, v1alpha1.ReasonVolumeOlder},
	{wire.ProblemSeedBudget, v1alpha1.ReasonSeedBudgetSpent},
}

// problems are what members say themselves. The reason is that of all of them, if they have the same, or MemberProblem.
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

// acknowledgedAlone tells whether entries that were cut from a log may have been acknowledged: under k = 0, or by a change
// of leader that gave up what was not provably safe. Otherwise they never were, and are kept but no reason to worry.
func (d *decision) acknowledgedAlone(rec Record) bool {
	rule, ok := rec.Rule()
	return ok && rule.K == 0 || rec.WritesLost != "" && rec.WritesLost != v1alpha1.LostNone
}

func (d *decision) trouble(m Member) string {
	if m.waitsForClaim() {
		return m.Name + " has no pod: " + m.whyClaimStays()
	}
	if m.Pod == nil {
		return cmp.Or(d.cannotBeMade(m.Name), m.Name+" has no pod")
	}
	if m.Foreign {
		return m.Name + " has a volume with the data of another store, and takes no part (annotate its pod with " + v1alpha1.AnnotationReseed + " to throw that data away)"
	}
	if m.Pod.Orphaned || m.Pod.Deleting && m.Pod.IP == "" {
		return m.Name + " is made once the pod of that name is gone"
	}
	if m.Claim != nil && m.Claim.Lost {
		return m.Name + " has lost its volume (annotate its pod with " + v1alpha1.AnnotationReseed + " to give it a new one)"
	}
	if m.Pod.Trouble != "" {
		return m.Name + " does not run: " + m.Pod.Trouble + d.whyNotCured(m)
	}
	return m.Name + " does not answer"
}

// whyNotCured says why a member that does not run keeps a pod of another spec; "" where it does not.
func (d *decision) whyNotCured(m Member) string {
	switch {
	case !d.curable(m) || d.Trial.Refused == "":
		return ""
	case d.Trial.Unclear:
		return " (its pod is made from another spec, and the API server cannot say whether it takes a new one: " + d.Trial.Refused + ")"
	default:
		return " (its pod is made from another spec, and the API server refuses a new one: " + d.Trial.Refused + ")"
	}
}

// silence is why the leader does not answer, as far as Kubernetes says.
func (d *decision) silence(leader Member) string {
	switch {
	case leader.Pod == nil:
		return "has no pod"
	case leader.Pod.Trouble != "":
		return "does not run: " + leader.Pod.Trouble
	default:
		return "does not answer the operator"
	}
}

// survivesOneMore tells whether the followers that answer could take over without the leader. A store of one member, or
// one that asked for asynchronous replication, was never promised that.
func (d *decision) survivesOneMore(rec Record) bool {
	if d.Store.Spec.Size() == 1 || d.Store.Spec.SynchronousNumber() == 0 {
		return true
	}
	ev := d.foreseen()
	delete(ev, rec.Leader.Member)
	for _, l := range rec.Leaderships() {
		if !l.Inert() && !l.Fenced(ev.has) {
			return false
		}
	}
	return true
}
