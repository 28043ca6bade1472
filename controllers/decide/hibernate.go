package decide

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// Bounds on the waits of hibernating and waking up. When they expire the store goes on with the members that are there:
// either enough of them hold what was acknowledged, or the fence condition says that they do not.
const (
	sleepPatience = 2 * time.Minute  // for followers to catch up, and for the leader to answer its fence
	stopPatience  = 30 * time.Second // for a pod to go, beyond its grace period
	wakePatience  = 2 * time.Minute  // for members to come back
)

// hibernate puts a store to sleep. The leader holds its writes until every follower holds everything. Then the record names
// a next epoch that nobody leads, the members are fenced for it, and the pods are deleted, the leader's last. Claims stay.
// The record waits in that epoch until the store is woken. A store that has no leader must get one first, for which a
// person's failover request is honoured.
func (d *decision) hibernate(rec Record) Plan {
	rests := rec.Phase == PhaseFencing && (rec.Reason == reasonHibernated || d.Store.Fenced())
	switch request := d.request(); {
	case request != "" && (rests || rec.Phase == PhaseStable && d.detect(rec).verdict == leaderAlive):
		return d.refuse(request, "the store is asked to hibernate")
	case rests:
		return d.asleep(rec)
	case rec.Phase == PhaseFencing:
		return d.fencing(rec)
	case rec.Phase == PhasePromoting:
		return d.promoting(rec)
	case d.detect(rec).verdict != leaderAlive:
		return d.led(rec)
	}
	if p, ok := d.configure(rec); ok {
		return p
	}
	if losing := d.losing(rec); len(losing) > 0 {
		return d.staysAwake(losing)
	}
	var behind, ready []string
	for _, m := range d.able(rec) {
		if m.Name == rec.Leader.Member {
			continue
		}
		if why := d.whyNotWhole(rec, m); why != "" {
			behind = append(behind, why)
		} else {
			ready = append(ready, m.Name)
		}
	}
	if len(behind) > 0 && !d.lasting("not whole before it sleeps", sleepPatience) {
		return plan(Hibernating, v1alpha1.ReasonHibernating, "Waiting for every follower to catch up: %s. The store goes on without them after %s.",
			strings.Join(behind, ", "), sleepPatience).again(soon)
	}
	return d.lieDown(rec, ready)
}

// lieDown ends the leadership once the members in ready hold everything.
func (d *decision) lieDown(rec Record, ready []string) Plan {
	held := d.Pass.Handover
	if len(ready) > 0 && (held == nil || held.Epoch != rec.Epoch || held.To != ready[0]) {
		if rest := d.handoverRests(rec); rest > 0 {
			return plan(Hibernating, v1alpha1.ReasonHandoverFailed, "%s is to pause writes; %s.", rec.Leader.Member, d.Handovers.describe(rest)).again(min(rest, 2*time.Second))
		}
		return plan(Hibernating, v1alpha1.ReasonHibernating, "%s pauses writes until %s have them all.", rec.Leader.Member, strings.Join(ready, ", ")).
			do(HandOver{rec.Leader.Member, wire.HandoverRequest{
				Epoch: rec.Epoch, To: ready[0], Also: ready[1:], HoldMillis: d.Settings.Hold.Milliseconds(),
			}})
	}
	next := rec.fencing(d.nextEpoch(rec), d.change(rec, v1alpha1.KindWake, reasonHibernated, rec.Leader.Member, ""))
	return plan(Hibernating, v1alpha1.ReasonHibernating, "Ending the leadership: epoch %d has no leader until the store is woken.", next.Epoch).
		do(d.write(next))
}

// asleep fences the members that are there and removes their pods.
func (d *decision) asleep(rec Record) Plan {
	d.sleeping = true
	leader := rec.From
	var unfenced, followers []Member
	going := ""
	for _, m := range slices.Backward(d.byOrdinal()) {
		if s := m.fresh(); s != nil && s.Promised < rec.Epoch {
			unfenced = append(unfenced, m)
		}
		switch {
		case m.Pod == nil || d.overdue(m):
		case m.Pod.Deleting:
			going = m.Name
		case m.Name != leader:
			followers = append(followers, m)
		}
	}
	lead, losing := d.Members[leader], d.losing(rec)
	// Computed whichever step comes first, so that the timing is not interrupted.
	waits := slices.ContainsFunc(unfenced, func(m Member) bool { return m.Name == leader }) && !d.lasting("the leader is not fenced", sleepPatience)
	switch {
	case len(unfenced) > 0 && d.Pass.FencedEpoch != rec.Epoch:
		var names []string
		for _, m := range unfenced {
			names = append(names, m.Name)
		}
		return plan(Hibernating, v1alpha1.ReasonHibernating, "Fencing %s before the pods are deleted.", strings.Join(names, ", ")).do(FenceMembers{rec.Epoch, names})
	case waits:
		return plan(Hibernating, v1alpha1.ReasonHibernating, "Waiting for %s to promise epoch %d.", leader, rec.Epoch).again(soon)
	case len(losing) > 0:
		return d.staysAwake(losing)
	case len(followers) > 0:
		return d.stop(followers[0])
	case going != "":
		return plan(Hibernating, v1alpha1.ReasonHibernating, "The pod of %s is terminating.", going).again(soon)
	case lead.Pod != nil && !lead.Pod.Deleting:
		return d.stop(lead)
	default:
		return plan(Hibernated, v1alpha1.ReasonHibernated, "The store is hibernated: its volumes are kept. Set spec.hibernated to false to wake it.%s", prefixed(" ", d.podsAsleep()))
	}
}

// goPatience is how long a pod of a hibernating store may take to go.
func (d *decision) goPatience() time.Duration {
	return seconds(d.Store.Spec.GracePeriod()) + stopPatience
}

// overdue reports whether the member's pod, which is being deleted, should have gone by now. The store sleeps all the same:
// nobody leads the recorded epoch, whatever a process there does.
func (d *decision) overdue(m Member) bool {
	return m.Pod != nil && m.Pod.Deleting && d.lasting("pod goes: "+string(m.Pod.UID), d.goPatience())
}

// podsAsleep says which pods of a hibernating store do not go, and what to do; "" if there are none.
func (d *decision) podsAsleep() string {
	var texts []string
	for _, m := range d.byOrdinal() {
		switch {
		case !d.overdue(m):
		case m.Pod.NodeTrouble != "":
			texts = append(texts, fmt.Sprintf("%s still has its pod: %s", m.Name, d.clue(m)))
		default:
			texts = append(texts, fmt.Sprintf("%s still has its pod, which has been terminating for more than %s (kubectl describe pod %s)", m.Name, d.goPatience(), m.Name))
		}
	}
	if len(texts) == 0 {
		return ""
	}
	return strings.Join(texts, "; ") + ". Until a pod is gone, its member cannot come back when the store wakes up."
}

// staysAwake is the plan for a store that should hibernate but would lose what members hold.
func (d *decision) staysAwake(losing []string) Plan {
	return plan(Hibernating, v1alpha1.ReasonClaimDeleting, "The pods stay, because the store would lose volumes with them: set spec.hibernated to false. %s", whatGoes(losing)).again(soon)
}

func (d *decision) stop(m Member) Plan {
	return plan(Hibernating, v1alpha1.ReasonHibernating, "Stopping %s.", m.Name).do(DeletePod{m.Name, m.Pod.UID, "the store hibernates"})
}

// neverWoke removes the pods of a store that should hibernate and has no record.
func (d *decision) neverWoke() Plan {
	d.sleeping = true
	if losing := d.losing(Record{}); len(losing) > 0 {
		return d.staysAwake(losing)
	}
	for _, m := range slices.Backward(d.byOrdinal()) {
		if m.Pod != nil && !m.Pod.Deleting {
			return d.stop(m)
		}
	}
	if lost := d.lostAsleep(); lost != "" {
		return plan(Hibernated, v1alpha1.ReasonHibernated, "The store is hibernated. %s", lost)
	}
	if kept := d.keptAsleep(); len(kept) > 0 {
		return plan(Hibernated, v1alpha1.ReasonHibernated, "The store is hibernated and never had a leader. The volumes of %s may hold an earlier store's data: setting "+
			"spec.hibernated to false starts the store with that data, for which it needs every one of them.", strings.Join(kept, ", "))
	}
	return plan(Hibernated, v1alpha1.ReasonHibernated, "The store is hibernated and never had a leader; set spec.hibernated to false to start it.")
}

// keptAsleep names the members that have volumes.
func (d *decision) keptAsleep() (kept []string) {
	for _, m := range d.byOrdinal() {
		if m.keepsVolume() {
			kept = append(kept, m.Name)
		}
	}
	return kept
}

// lostAsleep says that a hibernating store lost its record, and what waking it then takes (see everyMemberGate); "" if it
// did not lose it.
func (d *decision) lostAsleep() string {
	if d.Lease.Record != nil || d.known() == 0 && d.Lease.RecordError == "" {
		return ""
	}
	text := "Its authority record was lost. Keep every volume: once woken, every member must answer with its data before one leads " +
		"(override: spec.failover.dataLoss Allow)."
	var gone []string
	for _, was := range d.Store.Status.Members {
		if m := d.Members[was.Name]; m.Pod == nil && !m.keepsVolume() {
			gone = append(gone, was.Name)
		}
	}
	if len(gone) > 0 {
		text += " The volumes of these members are gone: " + strings.Join(gone, ", ") + "."
	}
	return text
}

// wake takes up the epoch in which the store slept. The clock of this change starts here.
func (d *decision) wake(rec Record) Plan {
	rec.Reason, rec.Since = reasonWoken, Times{Detected: d.micro()}
	return plan(Waking, v1alpha1.ReasonWaking, "Waking up: the members come back, and %s is to lead epoch %d.", rec.From, rec.Epoch).
		do(d.write(rec))
}

// factWaking is timed from when the store's members are asked to wake.
const factWaking = "waking up"

// waking says which members a waking store waits for; "" once all answer, or the wait has been long enough.
func (d *decision) waking(rec Record, ev evidence) string {
	if rec.Kind != v1alpha1.KindWake {
		return ""
	}
	var missing []string
	for _, m := range d.able(rec) {
		if _, ok := ev[m.Name]; !ok {
			missing = append(missing, d.trouble(rec, m))
		}
	}
	if there := len(d.able(rec)); there < d.Store.Spec.Size() {
		missing = append(missing, fmt.Sprintf("%d of %d members exist", there, d.Store.Spec.Size()))
	}
	if len(missing) == 0 || d.lasting(factWaking, wakePatience) {
		return ""
	}
	return strings.Join(missing, "; ")
}
