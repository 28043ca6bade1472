package decide

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// judgement is one condition before it gets its type, generation and time.
type judgement struct {
	status  bool
	reason  string
	message string
}

// conditions computes all conditions; each is always set.
func (d *decision) conditions(rec Record, p Plan) []metav1.Condition {
	asked := d.Members
	d.Members = d.forgiving(rec)
	defer func() { d.Members = asked }()
	conds := slices.Clone(d.Store.Status.Conditions)
	for _, c := range []struct {
		kind string
		j    judgement
	}{
		{v1alpha1.ConditionReady, d.ready(rec, p)},
		{v1alpha1.ConditionAvailable, d.available(rec, p)},
		{v1alpha1.ConditionProgressing, progressing(rec, p)},
		{v1alpha1.ConditionDegraded, d.degraded(rec, p)},
		{v1alpha1.ConditionFailoverBlocked, d.blocked(rec, p)},
		{v1alpha1.ConditionResizing, d.resizing()},
		{v1alpha1.ConditionSpread, d.spread(rec)},
	} {
		status := metav1.ConditionFalse
		if c.j.status {
			status = metav1.ConditionTrue
		}
		meta.SetStatusCondition(&conds, metav1.Condition{
			Type: c.kind, Status: status, Reason: c.j.reason, Message: c.j.message,
			ObservedGeneration: d.Store.Generation, LastTransitionTime: metav1.NewTime(d.now.Truncate(time.Second)),
		})
	}
	return conds
}

func (d *decision) ready(rec Record, p Plan) judgement {
	if p.State == Deleting {
		return judgement{false, v1alpha1.ReasonDeleting, p.Message}
	}
	if a := d.available(rec, p); !a.status {
		return judgement{false, a.reason, a.message}
	}
	if j := d.unapplied(); j.reason != "" {
		return j
	}
	if j := d.toRestart(rec, p); j.reason != "" {
		return j
	}
	var not []string
	for _, m := range d.roster(rec) {
		if m.Pod == nil || !m.Pod.Ready || m.Name != rec.Leader.Member && !d.keepsUp(rec, m) {
			not = append(not, m.Name)
		}
	}
	size, there := d.Store.Spec.Size(), len(d.roster(rec))
	rule, _ := rec.Rule()
	switch {
	case len(not) > 0:
		return judgement{false, v1alpha1.ReasonMembersNotReady, "Not ready: " + strings.Join(not, ", ") + "."}
	case there != size:
		return judgement{false, v1alpha1.ReasonMembersNotReady, fmt.Sprintf("%d members exist, but %d are asked for.", there, size)}
	case rule.K < d.Store.Spec.SynchronousNumber():
		return judgement{false, v1alpha1.ReasonMembersNotReady, fmt.Sprintf("Writes wait for %d of the %d synchronous followers asked for.", rule.K, d.Store.Spec.SynchronousNumber())}
	default:
		return judgement{true, v1alpha1.ReasonAllMembersReady, fmt.Sprintf("All %d members are ready.", size)}
	}
}

// toRestart judges a store some of whose members still need to be restarted; the zero value means none do. A paused store is
// judged by the spec that was taken up.
func (d *decision) toRestart(rec Record, p Plan) judgement {
	n := 0
	for _, m := range d.roster(rec) {
		if d.Outdated(m) && !m.Pod.Deleting {
			n++
		}
	}
	switch {
	case n == 0 || p.State == Paused:
		return judgement{}
	case p.State == Updating:
		return judgement{false, p.Reason, p.Message}
	default:
		return judgement{false, v1alpha1.ReasonUpdating, toBeRestarted(n) + "."}
	}
}

func (d *decision) available(rec Record, p Plan) judgement {
	leader := d.Members[rec.Leader.Member]
	s := leader.fresh()
	switch {
	case p.State == Held:
		return judgement{false, v1alpha1.ReasonFenced, p.Message}
	case d.sleeping:
		return judgement{false, v1alpha1.ReasonHibernated, p.Message}
	case wakes(rec) && p.State != Blocked:
		return judgement{false, v1alpha1.ReasonWaking, p.Message}
	case rec.Epoch == 0 && p.State == RecordLost:
		return judgement{false, v1alpha1.ReasonRecordLost, p.Message}
	case rec.Epoch == 0:
		return judgement{false, v1alpha1.ReasonBootstrapping, p.Message}
	case rec.Leader.Member == "":
		return judgement{false, v1alpha1.ReasonNoLeader, p.Message}
	case s == nil:
		return judgement{false, v1alpha1.ReasonLeaderUnreachable, fmt.Sprintf("%s leads epoch %d, but %s.", leader.Name, rec.Epoch, d.silence(leader))}
	case !leader.leads(rec):
		return judgement{false, v1alpha1.ReasonNoLeader, fmt.Sprintf("%s should lead epoch %d, but is %s.", leader.Name, rec.Epoch, s.Role)}
	case !s.Writable:
		return judgement{false, v1alpha1.ReasonLeaderNotWritable,
			fmt.Sprintf("%s has not committed the barrier of epoch %d yet.", leader.Name, rec.Epoch) + prefixed(" ", d.writesStall(rec))}
	}
	if s.Disk.Level == wire.DiskFull {
		return judgement{false, v1alpha1.ReasonStorageFull, fmt.Sprintf("The leader's volume is full: %s. Writes that add data are rejected; reads, DEL, UNLINK and FLUSHALL still work.", volume(leader.Name, s.Disk))}
	}
	if r, short := d.tooFewVoters(rec); short {
		return judgement{false, v1alpha1.ReasonVotersMissing, d.writesWait(rec, r)}
	}
	if why := d.writesStall(rec); why != "" {
		return judgement{false, v1alpha1.ReasonVotersLagging, why}
	}
	if j := d.unreachable(rec); j.reason != "" {
		return j
	}
	return judgement{true, v1alpha1.ReasonWritable, fmt.Sprintf("%s acknowledges writes in epoch %d.", leader.Name, rec.Epoch)}
}

// writesWait says which of the voters that writes need under r the leader is missing, and what to do.
func (d *decision) writesWait(rec Record, r replication.Rule) string {
	leader := d.Members[rec.Leader.Member].fresh()
	var missing []string
	for _, v := range r.Voters {
		if !d.hears(leader, v) {
			missing = append(missing, d.whyUnheard(rec, v))
		}
	}
	n := d.live(leader, r.Voters)
	text := fmt.Sprintf("A write needs %s, but only %d of these answer; missing: %s.", describe([]replication.Rule{r}), n, strings.Join(missing, "; "))
	if len(r.Voters) < r.K {
		text = fmt.Sprintf("A write waits for %d of the other members, but only %d can acknowledge it so far; %s.",
			r.K, n, cmp.Or(prefixed("missing: ", strings.Join(append(missing, d.notYet(rec, r)...), "; ")), "no other member exists"))
	}
	if d.Store.Spec.Replication.Synchronous.Durability == v1alpha1.DurabilityPreferred {
		return text + " Durability is Preferred: writes will go on with fewer in a moment."
	}
	return text + fmt.Sprintf(" Bring back as many as are needed; or, to acknowledge writes with fewer, lower spec.replication.synchronous.number to %d, "+
		"or set its durability to Preferred.", n)
}

// notYet says why the members that are no voters of r, with too few voters, cannot become one yet.
func (d *decision) notYet(rec Record, r replication.Rule) (out []string) {
	for _, m := range d.able(rec) {
		if m.Name == rec.Leader.Member || names(r.Voters, m.Name) {
			continue
		}
		if d.caughtUp(rec, m) {
			out = append(out, m.Name+" is not a voter yet")
		} else {
			out = append(out, d.whyUnheard(rec, replication.Voter{Member: m.Name}))
		}
	}
	return append(out, d.unmade(rec)...)
}

// whyUnheard says why the leader does not count on a voter that it does not hear.
func (d *decision) whyUnheard(rec Record, v replication.Voter) string {
	m := d.Members[v.Member]
	if m.fresh() == nil {
		return d.trouble(rec, m)
	}
	return cmp.Or(d.whyNotCaughtUp(rec, m), "the leader does not hear "+v.Member)
}

// wakes reports whether the store is on its way out of hibernation.
func wakes(rec Record) bool { return rec.Kind == v1alpha1.KindWake && rec.Phase != PhaseStable }

func progressing(rec Record, p Plan) judgement {
	if p.Reason == v1alpha1.ReasonReconcileDisabled {
		return judgement{false, v1alpha1.ReasonReconcileDisabled, p.Message}
	}
	switch p.State {
	case Stable, Deleting, Paused, Blocked, Suspecting, Held, RecordLost, Hibernated:
		return judgement{false, v1alpha1.ReasonStable, p.Message}
	case Fencing, Promoting, Opening:
		return judgement{true, map[v1alpha1.FailoverKind]string{
			v1alpha1.KindBootstrap: v1alpha1.ReasonBootstrapping, v1alpha1.KindFailover: v1alpha1.ReasonFailingOver,
			v1alpha1.KindHandover: v1alpha1.ReasonHandingOver, v1alpha1.KindWake: v1alpha1.ReasonWaking,
		}[kindOf(rec)], p.Message}
	case HandingOver:
		return judgement{true, v1alpha1.ReasonHandingOver, p.Message}
	case Hibernating, Waking, Creating, ChangingVoters, ScalingDown, Reseeding, Updating:
		return judgement{true, p.Reason, p.Message}
	case Settling:
		switch p.Reason {
		case v1alpha1.ReasonSeeding, v1alpha1.ReasonScalingUp, v1alpha1.ReasonHandoverFailed:
			return judgement{true, p.Reason, p.Message}
		default:
			return judgement{false, v1alpha1.ReasonStable, p.Message}
		}
	case StateInvalid, stateCount:
		fallthrough
	default:
		panic(fmt.Sprintf("decide: no condition for state %v", p.State))
	}
}

func (d *decision) blocked(rec Record, p Plan) judgement {
	if p.State == Blocked || p.State == RecordLost && !p.Risky() {
		return judgement{true, p.Reason, p.Message}
	}
	if d.Refused != "" && p.Risky() && (p.State == Fencing || p.State == Promoting) {
		return judgement{true, v1alpha1.ReasonApplyFailed, p.Message}
	}
	if p.State == Paused && d.leaderless(rec) {
		return judgement{true, v1alpha1.ReasonReconcileDisabled, fmt.Sprintf("Epoch %d has no leader that answers, but the annotation %s tells the operator to leave "+
			"the store alone: remove the annotation to allow a failover.", rec.Epoch, v1alpha1.AnnotationReconcile)}
	}
	return judgement{false, v1alpha1.ReasonNotBlocked, "No failover is blocked."}
}

// leaderless reports whether a paused store that is not hibernating needs another leader, as far as can be seen.
func (d *decision) leaderless(rec Record) bool {
	if rec.Epoch == 0 || rec.Reason == reasonHibernated {
		return false
	}
	leader := d.Members[rec.Leader.Member]
	if leader.Name != "" && leader.fresh() == nil {
		return leader.Probe.For >= d.Settings.SuspectAfter
	}
	return !leader.leads(rec)
}

// kindOf returns the kind of the change of leader. A change that is about to be recorded is a failover, because the other
// kinds have states of their own.
func kindOf(rec Record) v1alpha1.FailoverKind {
	if rec.Kind == "" || rec.Phase == PhaseStable {
		return v1alpha1.KindFailover
	}
	return rec.Kind
}

// phase summarizes the conditions; the strongest one wins.
func (d *decision) phase(rec Record, p Plan, conds []metav1.Condition) v1alpha1.Phase {
	available := meta.IsStatusConditionTrue(conds, v1alpha1.ConditionAvailable)
	switch {
	case p.State == Deleting:
		return v1alpha1.PhaseDeleting
	case d.Store.Paused():
		return v1alpha1.PhasePaused
	case p.State == Hibernated:
		return v1alpha1.PhaseHibernated
	case p.State == Hibernating:
		return v1alpha1.PhaseHibernating
	case p.State == Held:
		return v1alpha1.PhaseFenced
	case wakes(rec) && p.State != Blocked:
		return v1alpha1.PhaseWaking
	case p.State == Creating, rec.Kind == v1alpha1.KindBootstrap && rec.Phase != PhaseStable:
		return v1alpha1.PhaseCreating
	case meta.IsStatusConditionTrue(conds, v1alpha1.ConditionFailoverBlocked):
		return v1alpha1.PhaseBlocked
	case p.State == HandingOver, rec.Kind == v1alpha1.KindHandover && rec.Phase != PhaseStable:
		return v1alpha1.PhaseHandingOver
	case rec.Phase != PhaseStable:
		return v1alpha1.PhaseFailingOver
	case !available:
		return v1alpha1.PhaseUnavailable
	case p.State == Updating, d.toRestart(rec, p).reason != "", p.State == ScalingDown, p.State == Reseeding, d.anySeeding():
		return v1alpha1.PhaseUpdating
	case meta.IsStatusConditionTrue(conds, v1alpha1.ConditionReady) && !meta.IsStatusConditionTrue(conds, v1alpha1.ConditionDegraded):
		return v1alpha1.PhaseReady
	default:
		return v1alpha1.PhaseDegraded
	}
}

func (d *decision) anySeeding() bool {
	for _, m := range d.Members {
		if s := m.fresh(); s != nil && s.Seeding != nil && s.Role == wire.RoleFollower {
			return true
		}
	}
	return false
}

func seconds(n int64) time.Duration { return time.Duration(n) * time.Second }
