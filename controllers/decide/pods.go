package decide

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
)

// upkeep returns the actions taken in every state, because they change neither who leads nor who counts: members exist,
// follow, and are labelled with what they do.
func (d *decision) upkeep(s State) []Action {
	if s == Deleting || d.Store.Paused() {
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
	out = append(out, d.route(rec)...)
	out = append(out, d.labels(rec)...)
	if d.sleeping {
		return out
	}
	return append(out, d.create(rec, s, d.wanted(rec))...)
}

// wanted returns how many members there should be now. More members than there ever were are made only when there is a
// leader to seed them, or before there ever was one. At any other time they help nobody, and if the record turns out to be
// lost they are in the way. A store without a record whose volumes may hold data is such a case; whoever has a volume is a
// member anyway (see roster).
func (d *decision) wanted(rec Record) int {
	switch {
	case rec.Epoch == 0 && d.mayHoldData():
		return min(d.Store.Spec.Size(), d.known())
	case rec.Epoch == 0 || wakes(rec) || d.Members[rec.Leader.Member].leads(rec):
		return d.Store.Spec.Size()
	default:
		return d.whole()
	}
}

// create makes the missing pods: first those of the members the store consists of, then new ones up to size. A member whose
// pod is being deleted is waited for, because two pods must never share a volume.
func (d *decision) create(rec Record, s State, size int) []Action {
	var out []Action
	expendable := d.expendable(rec)
	for _, m := range d.byOrdinal() {
		if m.Pod != nil && m.Pod.Orphaned {
			out = append(out, DeletePod{m.Name, m.Pod.UID, "it belongs to no store"})
		}
	}
	members := d.able(rec)
	for _, m := range members {
		switch {
		case m.Pod == nil && !expendable[m.Name] && !m.waitsForClaim():
			out = append(out, CreateMember{m.Name, m.Ordinal})
		case m.Pod != nil && m.Pod.Failed && !m.Pod.Deleting && !d.resting[m.Name]:
			out = append(out, DeletePod{m.Name, m.Pod.UID, "it has ended and will not run again"})
		case m.lacksClaim() && d.lasting("no claim for "+string(m.Pod.UID), claimLag):
			d.everybody = true
			out = append(out, DeletePod{m.Name, m.Pod.UID, "its claim is gone, and it cannot be scheduled without one"})
		}
	}
	out = append(out, d.cure(rec, s, expendable)...)
	for _, ordinal := range d.freeOrdinals(members)[:max(0, size-len(members))] {
		name := v1alpha1.MemberName(d.Store.Name, ordinal)
		if !d.Members[name].waitsForClaim() {
			out = append(out, CreateMember{name, ordinal})
		}
	}
	return out
}

// cure remakes members that do not run, if Kubernetes says why and their pods were made from another spec. Without a leader
// nobody else does so (see update), and the leader may be missing because of what that spec said. What the members promised
// and hold is in their claims, so nothing is lost. Silence alone is not a reason: a member that replays its log is silent
// too. While a leader is being chosen nobody is made to wait for a trial. Under a leader, a member that is to be reseeded is
// reseeded first (see reseed), and nobody is remade while a leader with the new template has yet to show that it can lead.
func (d *decision) cure(rec Record, s State, expendable map[string]bool) []Action {
	if s == Fencing || s == Promoting || s == Suspecting {
		return nil
	}
	led := d.Members[rec.Leader.Member].leads(rec)
	for _, m := range d.able(rec) {
		switch {
		case !d.curable(m) || m.Pod.Failed || m.lacksClaim() || expendable[m.Name] || led && (m.Pod.Reseed || d.proves(rec) > 0) || m.losesData():
		case d.Trial.rests(m.Name) == 0:
			return []Action{TryPod{m.Name, m.Ordinal}}
		case d.Trial.Refused == "":
			return []Action{DeletePod{m.Name, m.Pod.UID, "it is not running, and its template changed"}}
		}
	}
	return nil
}

// curable reports whether the member does not run and its pod was made from an outdated spec.
func (d *decision) curable(m Member) bool {
	return d.Outdated(m) && !m.Pod.Deleting && m.Pod.Trouble != "" && m.fresh() == nil
}

// freeOrdinals lists at least as many ordinals as may be needed: first those that already have a claim, then the others,
// lowest first. An ordinal whose claim is being deleted keeps its place for a while.
func (d *decision) freeOrdinals(taken []Member) []int {
	var claimed, bare []int
	for n := 1; len(bare) < d.Store.Spec.Size(); n++ {
		name := v1alpha1.MemberName(d.Store.Name, n)
		switch {
		case d.stuck[name], slices.ContainsFunc(taken, func(m Member) bool { return m.Ordinal == n }):
		case d.Members[name].Claim != nil:
			claimed = append(claimed, n)
		default:
			bare = append(bare, n)
		}
	}
	return append(claimed, bare...)
}

// reseed discards a follower's data on request: the follower stops voting (see wantedRule), then its claim and pod are
// deleted, and it comes back empty. It refuses for the leader, and for a voter that the others cannot do without. Before the
// leader takes writes it only finishes what was begun: the leader may be waiting for this very member.
func (d *decision) reseed(rec Record) (Plan, bool) {
	for _, m := range d.byOrdinal() {
		if m.Pod == nil || !m.Pod.Reseed || m.Pod.Deleting || rec.Phase != PhaseStable && !m.reseeds() {
			continue
		}
		switch {
		case m.Name == rec.Leader.Member:
			return plan(Reseeding, v1alpha1.ReasonFailoverRefused, "%s leads and cannot be reseeded: hand over first.", m.Name).
				do(UnannotatePod{m.Name, v1alpha1.AnnotationReseed}), true
		case d.counted(rec, m.Name):
			return plan(Reseeding, v1alpha1.ReasonFailoverRefused, "%s is a voter that writes depend on and cannot be reseeded: first bring back "+
				"another voter, or add a member.", m.Name).
				do(UnannotatePod{m.Name, v1alpha1.AnnotationReseed}), true
		case m.Claim != nil && !m.Claim.Deleting:
			return plan(Reseeding, v1alpha1.ReasonReseeding, "Reseeding %s: deleting its claim.", m.Name).
				do(DeleteClaim{m.Name, m.Claim.UID, "reseed requested"}), true
		default:
			return plan(Reseeding, v1alpha1.ReasonReseeding, "Reseeding %s: deleting its pod.", m.Name).
				do(DeletePod{m.Name, m.Pod.UID, "reseed requested"}), true
		}
	}
	return Plan{}, false
}

// update restarts members whose pods were made from an outdated spec, one at a time and the leader last, each only while
// everybody else is caught up and, within readyPatience, has a ready pod.
//
// A member that does not run anyway is replaced without waiting for the others, because a bad template must be curable. So
// is one that answers but has made no progress for a long time. A member that only missed a look is not replaced in this
// way, nor is one that the leader hears, unless it is the only one missing. While the leader, with the new template, has yet
// to show that it can lead (see proves), nobody is replaced in this way: who is away may be the last one that can.
//
// Nobody is restarted if the API server refuses its new pod (see try), or if the restart would lose its data (see losing)
// before all others hold that data.
func (d *decision) update(rec Record) (Plan, bool) {
	var outdated, missed []Member
	others, unready, wait := "", "", d.proves(rec)
	for _, m := range slices.Backward(d.roster(rec)) {
		old := d.Outdated(m) && !m.Pod.Deleting
		switch {
		case old && wait == 0 && !m.losesData() && m.fresh() == nil && (m.Pod.Trouble != "" || d.silent(m) && !d.heard(rec, m.Name)):
			return d.replace(rec, m)
		case old:
			outdated = append(outdated, m)
		}
		if why := d.whyNotWhole(rec, m); why != "" && m.Name != rec.Leader.Member {
			others, missed = cmp.Or(others, why), append(missed, m)
		}
		if d.notReadyYet(m) && m.Name != rec.Leader.Member {
			unready = cmp.Or(unready, m.Name+" is not ready yet")
		}
	}
	switch there := len(d.able(rec)); {
	case len(outdated) == 0:
		return Plan{}, false
	case there < d.Store.Spec.Size():
		others = cmp.Or(others, fmt.Sprintf("%d of %d members exist", there, d.Store.Spec.Size()))
	case len(missed) == 1 && wait == 0 && d.Outdated(missed[0]) && !missed[0].losesData() && d.silent(missed[0]):
		return d.replace(rec, missed[0]) // its template may be what keeps it from answering
	case d.getNowhere(missed) && wait == 0:
		return d.replace(rec, missed[0])
	}
	if others = cmp.Or(others, unready); others != "" {
		return plan(Updating, v1alpha1.ReasonUpdating, "%s; waiting: %s.", toBeRestarted(len(outdated)), others).again(soon), true
	}
	if wait > 0 {
		return plan(Updating, v1alpha1.ReasonUpdating, "%s, once %s, which leads with the new template, has led for %s.",
			toBeRestarted(len(outdated)), rec.Leader.Member, wait).again(soon), true
	}
	for _, m := range outdated {
		if m.Name != rec.Leader.Member {
			return d.replace(rec, m)
		}
	}
	return d.updateLeader(rec, outdated[0])
}

// toBeRestarted says how many members are.
func toBeRestarted(n int) string {
	if n == 1 {
		return "1 member is to be restarted"
	}
	return fmt.Sprintf("%d members are to be restarted", n)
}

// getNowhere reports whether everyone missing answers but has made no progress for a long time, with a pod of an outdated
// template, which may be the cause. Restarting one of them costs nothing that is not missing already; the next one waits for
// it.
func (d *decision) getNowhere(missed []Member) bool {
	all := len(missed) > 0
	for _, m := range missed {
		s := m.fresh()
		if s == nil || !d.Outdated(m) || m.Pod.Deleting || m.losesData() {
			return false
		}
		var seeded int64
		if s.Seeding != nil {
			seeded = s.Seeding.DoneBytes
		}
		all = d.lasting(fmt.Sprintf("not whole: %s at %d, %d", m.Pod.UID, s.Durable.Position, seeded), stuckAfter) && all
	}
	return all
}

// readyPatience is how long an update waits for a pod to become ready: a sidecar may keep it from ever being ready.
const readyPatience = 15 * time.Second

// notReadyYet reports whether kubelet considers the member's pod not ready, so that the -ro Service does not lead to it, but
// the pod may be soon.
func (d *decision) notReadyYet(m Member) bool {
	return m.Pod != nil && !m.Pod.Deleting && !m.Pod.Ready && !d.stuck[m.Name] && !d.lastingQuietly("not ready: "+string(m.Pod.UID), readyPatience)
}

// silent reports whether a member that has a pod has not answered for a long time.
func (d *decision) silent(m Member) bool {
	return m.Pod != nil && !m.Pod.Deleting && m.fresh() == nil && m.Probe.For >= d.Settings.VoterGoneAfter
}

// updateLeader restarts the leader, which comes last: once another member leads, or if there is no other.
func (d *decision) updateLeader(rec Record, leader Member) (Plan, bool) {
	to, why := d.heir(rec, v1alpha1.FailoverToAny)
	rest, updateRest := d.handoverRests(rec), d.updateRests(rec)
	switch {
	case len(d.roster(rec)) == 1 && leader.losesData():
		return plan(Updating, v1alpha1.ReasonClaimDeleting, "%s is to be restarted, but is left running. %s", leader.Name, whatGoes([]string{leader.Name})).again(soon), true
	case len(d.roster(rec)) == 1:
		return d.replace(rec, leader)
	case why != "":
		return plan(Updating, v1alpha1.ReasonUpdating, "%s leads and is to be restarted, but no member can take over yet: %s.", leader.Name, why).again(2 * soon), true
	case rest > 0:
		return plan(Updating, v1alpha1.ReasonHandoverFailed, "%s leads and is to be restarted; %s.", leader.Name, d.Handovers.describe(rest)).again(rest), true
	case updateRest > 0:
		return plan(Updating, v1alpha1.ReasonHandoverFailed, "%s leads and is to be restarted. %s.", leader.Name, rec.UpdateFailures.describe(updateRest)).
			again(min(updateRest, d.Settings.Resync)), true
	}
	if p, ok := d.try(rec, leader); ok && d.Pass.Handover == nil {
		return p, true
	}
	return d.handOver(rec, to, reasonUpdating, ""), true
}

// whyNotWhole says why the next member must not be taken away because of m; "" if m is in order. A pod that is being deleted
// may follow until its last moment, but the store will miss it all the same.
func (d *decision) whyNotWhole(rec Record, m Member) string {
	switch {
	case d.stuck[m.Name]:
		return "" // another member takes its place
	case m.Pod != nil && m.Pod.Deleting:
		return "the pod of " + m.Name + " is terminating"
	default:
		return d.whyNotCaughtUp(rec, m)
	}
}

func (d *decision) replace(rec Record, m Member) (Plan, bool) {
	if p, ok := d.try(rec, m); ok {
		return p, true
	}
	return plan(Updating, v1alpha1.ReasonUpdating, "Restarting %s to apply the new template.", m.Name).
		do(DeletePod{m.Name, m.Pod.UID, "its template changed"}), true
}
