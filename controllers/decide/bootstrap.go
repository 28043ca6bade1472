package decide

import (
	"fmt"
	"slices"
	"strings"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// withoutRecord decides for a store that has no authority record: a new store, or one that lost its record.
func (d *decision) withoutRecord() Plan {
	var silent, used []string
	there := 0
	for _, m := range d.byOrdinal() {
		if m.waitsForClaim() {
			continue // its data was discarded
		}
		there++
		switch s := m.fresh(); {
		case s == nil:
			silent = append(silent, m.Name)
		case !s.Empty || s.Promised > 0:
			used = append(used, m.Name)
		}
	}
	unlike := d.unlike() // first, so that its timing is not interrupted
	switch size := d.Store.Spec.Size(); {
	case len(used) > 0 || d.Lease.RecordError != "":
		return d.recordLost(Record{})
	case there > size && d.Store.Status.LastFailover == nil && d.unborn() != nil:
		return d.takeBack(*d.unborn())
	case unlike != nil:
		return d.makeAnew(*unlike)
	case there < size:
		return plan(Creating, v1alpha1.ReasonCreatingMembers, "%d of %d members exist.%s%s%s", there, size, d.goingClaims(), d.othersWait(silent), d.whyFewer(Record{})).again(soon)
	case len(silent) > 0:
		return plan(Creating, v1alpha1.ReasonBootstrapping, "Waiting for %s to answer.%s%s", strings.Join(silent, ", "), d.whyFewer(Record{}), d.tooMany(silent, there-size)).again(soon)
	default:
		return d.bootstrap()
	}
}

// unborn returns the last member that cannot hold anything, because its volume never existed; nil if there is none.
func (d *decision) unborn() *Member {
	for _, m := range slices.Backward(d.byOrdinal()) {
		if m.unborn() {
			return &m
		}
	}
	return nil
}

// unborn reports whether the member cannot hold anything: its pod never ran, and its volume never existed.
func (m Member) unborn() bool {
	return m.Pod != nil && !m.Pod.Deleting && m.Pod.Node == "" && m.Pod.IP == "" && m.Probe.Status == nil && (m.Claim == nil || m.Claim.Blank)
}

// takeBack removes a member that is no longer asked for, before the store ever had a leader.
func (d *decision) takeBack(m Member) Plan {
	p := plan(Creating, v1alpha1.ReasonScalingDown, "Removing %s: it never ran and is no longer asked for.", m.Name)
	return d.discard(p, m, "no longer asked for")
}

// discard removes an unborn member.
func (d *decision) discard(p Plan, m Member, why string) Plan {
	d.everybody = true
	if m.Claim != nil && !m.Claim.Deleting {
		return p.do(DeleteClaim{m.Name, m.Claim.UID, why + ", and never bound"})
	}
	return p.do(DeletePod{m.Name, m.Pod.UID, why + ", and never ran"})
}

// unlike returns an unborn member of a store that never had a leader, if the member's claim asks for a different volume than
// the spec does and has had none for a while: an earlier store of this name left the claim, or the spec has changed since. A
// claim never changes its class, nor its size before it is bound. The grace period is for claims that somebody else modifies
// on creation: such a claim is fine if it is bound soon.
func (d *decision) unlike() *Member {
	var found *Member
	for _, m := range d.byOrdinal() {
		if d.Store.Status.LastFailover != nil || !m.unborn() || m.Claim == nil {
			continue
		}
		other := OtherClass(d.Store, m.Claim.Class) || m.Claim.Requested.Cmp(d.Store.Spec.Storage.Size) != 0
		if other && d.lasting("unlike the spec: "+string(m.Claim.UID), claimPatience) && found == nil {
			found = &m
		}
	}
	return found
}

// makeAnew removes a member found by unlike; it is then made as the spec says.
func (d *decision) makeAnew(m Member) Plan {
	p := plan(Creating, v1alpha1.ReasonCreatingMembers, "Recreating the claim of %s: it never got a volume and does not match spec.storage.", m.Name)
	return d.discard(p, m, "does not match spec.storage")
}

// tooMany says what to do when there are more members than are asked for and some do not answer, so that it is unknown what
// they hold.
func (d *decision) tooMany(silent []string, n int) string {
	if n <= 0 {
		return ""
	}
	extra := strings.Join(silent[max(0, len(silent)-n):], ", ")
	return fmt.Sprintf(" More than the %d members asked for exist, and what these hold is unknown. If the others are enough, delete the claims, then the pods, of %s.",
		d.Store.Spec.Size(), extra)
}

// mayHoldData reports whether an existing member holds data, or does not say. Where data loss is allowed the answer is
// always no.
func (d *decision) mayHoldData() bool {
	if d.Store.Spec.Failover.DataLoss == v1alpha1.DataLossAllow {
		return false
	}
	for _, m := range d.Members {
		s := m.fresh()
		if !m.waitsForClaim() && (s == nil || !s.Empty || s.Promised > 0) {
			return true
		}
	}
	return false
}

// othersWait says why no further members are made, if that is so.
func (d *decision) othersWait(silent []string) string {
	if len(silent) == 0 || !d.mayHoldData() {
		return ""
	}
	return " The others are created once these are known to hold no data: waiting for " + strings.Join(silent, ", ") + " to answer."
}

// bootstrap names the first leader. Every member is there and empty, so nothing can be missed. The leadership starts without
// voters (an empty directory is no voter), so nothing commits before a follower holds the barrier.
func (d *decision) bootstrap() Plan {
	d.everybody = true
	var v replication.Voter
	for _, m := range d.byOrdinal() {
		if voter, answers := m.voter(); answers {
			v = voter
			break
		}
	}
	rec := Record{Epoch: 1, Change: Change{Kind: v1alpha1.KindBootstrap, Reason: reasonBootstrap, WritesLost: v1alpha1.LostNone}}
	rec.Since.Detected, rec.Since.Fenced = d.micro(), d.micro()
	rec = rec.promoting(v, replication.Mark{}, replication.Rule{Voters: []replication.Voter{}, K: d.Store.Spec.SynchronousNumber()})
	return plan(Promoting, v1alpha1.ReasonBootstrapping, "Every member is empty: %s will lead epoch 1.", v.Member).
		do(d.write(rec))
}

// recordIsOld reports whether members know of more than the record says, which means that it was restored from an older
// copy. The record was read after the statuses, so this cannot be a race.
func (d *decision) recordIsOld(rec Record) bool {
	for _, m := range d.Members {
		switch s := m.fresh(); {
		case s == nil:
		case s.Promised > rec.Epoch, s.Epoch == rec.Epoch && s.ConfigVersion > rec.ConfigVersion:
			return true
		case s.Epoch == rec.Epoch && s.Leader != rec.Leader.Member:
			return true // the epoch has another leader than the record names, or has one although the record names none
		}
	}
	return false
}

// recordLost continues from the members' promises. If the leader of the highest epoch is alive and provably not deposed, it
// keeps leading and its rules become the record again. Otherwise the rules are unknown, so every member must be fenced.
func (d *decision) recordLost(old Record) Plan {
	d.everybody = true
	if rec, ok := d.adopt(old); ok {
		return plan(RecordLost, reasonRecordLost, "The authority record was lost or is out of date; %s leads epoch %d and keeps leading.", rec.Leader.Member, rec.Epoch).
			do(d.write(rec))
	}
	ev := d.foreseen()
	next := Record{ConfigVersion: max(old.ConfigVersion, d.maxConfigVersion()), Stores: old.Stores}
	next.Change = d.change(Record{}, v1alpha1.KindFailover, reasonRecordLost, "", "")
	what := "The authority record was lost or is out of date"
	if d.takesOver() {
		next.Kind, next.Reason = v1alpha1.KindBootstrap, reasonTakenOver
		next.Stores = d.servedStores()
		what = "Taking over the volumes left by an earlier store of this name"
	}
	next.EveryMember = d.everyMember()
	next = next.fencing(d.nextEpoch(old), next.Change)
	if len(ev.without(next.EveryMember)) > 0 {
		// A member that does not answer may have promised more, or lead. If the override allows going on without it, the
		// epoch must still be one that nobody else uses.
		next.Epoch += unheardEpochs
	}
	next.Lost = d.lossKept(old, next.Epoch)
	whole := d.whole()
	switch there := len(d.Members); {
	case there < whole && d.known() == 0:
		return plan(RecordLost, v1alpha1.ReasonRecordLost, "An earlier store of this name left volumes of %d members, "+
			"but %d are asked for: until there is a leader, set spec.replicas to the number that store had, or bring back the missing volumes (override: spec.failover.dataLoss Allow; or %s).", there, whole, dropUnwanted).again(soon)
	case there < whole:
		return plan(RecordLost, v1alpha1.ReasonRecordLost, "%s; %d of %d members exist.", what, there, whole).again(soon)
	}
	if _, g := d.fenceGate(next, ev); g != nil {
		return plan(RecordLost, g.reason, "%s", g.message).again(soon)
	}
	return plan(Fencing, next.Reason, "%s: fencing every member for epoch %d.", what, next.Epoch).
		do(d.write(next))
}

// whole is how many members must exist before the store continues from a lost record, and how many are made until then: as
// many as the spec asks for, but no more than there were when that was last published. A member added because the spec was
// raised since then is empty, and an empty member cannot be told from one that lost everything.
func (d *decision) whole() int {
	size, known := d.Store.Spec.Size(), d.known()
	if known == 0 {
		return size
	}
	return min(size, known)
}

// known is how many members there were when that was last published. It is 0 if this store never had a record: what it
// published then was whatever pods happened to exist.
func (d *decision) known() int {
	switch told := len(d.Store.Status.Members); {
	case d.Lease.Record != nil:
		return max(told, len(d.Members))
	case d.Store.Status.LastFailover == nil:
		return 0
	default:
		return told
	}
}

// takesOver reports whether the members hold data although this store never had a leader: an earlier store of its name left
// them. It changes how that is reported, and the record then covers the stores that the volumes served (Record.Stores).
// Every member must be there all the same, as when a record was lost.
func (d *decision) takesOver() bool {
	return d.Lease.Record == nil && d.Lease.RecordError == "" && d.Store.Status.Epoch == 0
}

// goingClaims names the claims that must be gone before their members can be made.
func (d *decision) goingClaims() string {
	var names []string
	for _, m := range d.byOrdinal() {
		if m.waitsForClaim() {
			names = append(names, m.Name)
		}
	}
	if len(names) == 0 {
		return ""
	}
	return " Waiting for the deletion of the claims " + strings.Join(names, ", ") + "."
}

// everyMember names those that must answer when the record was lost. An older record may name members that are gone for
// good. If as many members exist as the spec asks for, then one with neither a pod nor a claim was scaled away, and the
// operator removes nobody that an acknowledgement may still depend on.
func (d *decision) everyMember() []string {
	var there, all []string
	for name, m := range d.Members {
		all = append(all, name)
		if m.Pod != nil || m.Claim != nil {
			there = append(there, name)
		}
	}
	if len(there) < d.Store.Spec.Size() {
		there = all
	}
	slices.Sort(there)
	return there
}

// unheardEpochs is more epochs than members can go through unheard between two looks of the operator.
const unheardEpochs = 1000

func (d *decision) maxConfigVersion() uint64 {
	var v uint64
	for _, m := range d.Members {
		if m.Probe.Status != nil {
			v = max(v, m.Probe.Status.ConfigVersion)
		}
	}
	return v
}

// adopt rebuilds the record from a living leader. The leader must be writable (so nothing older binds) in the highest epoch
// that anybody promised, and K voters of each of its rules must answer right now with no higher promise. Those voters
// intersect every fence quorum, so no later leadership can have been established. Without voters, the proof takes every
// member.
func (d *decision) adopt(old Record) (Record, bool) {
	e := d.maxPromised()
	for _, m := range d.Members {
		s := m.fresh()
		if s == nil || s.Role != wire.RoleLeader || s.Epoch != e || s.Promised != e || !s.Writable || len(s.Rules) == 0 || len(s.Rules) > 2 {
			continue
		}
		for _, r := range s.Rules {
			if !d.stillBacks(r, e) {
				return Record{}, false
			}
		}
		rec := Record{
			Epoch: e, Phase: PhaseStable, ConfigVersion: s.ConfigVersion, Rules: s.Rules,
			Leader: replication.Voter{Member: m.Name, Incarnation: s.Incarnation},
			Change: d.change(old, v1alpha1.KindFailover, reasonRecordLost, "", ""), Stores: old.Stores,
		}
		rec.WritesLost, rec.Lost, rec.Since.Writable = v1alpha1.LostNone, d.lossKept(old, e), d.micro()
		return rec, rec.valid() == nil
	}
	return Record{}, false
}

func (d *decision) stillBacks(r replication.Rule, e replication.Epoch) bool {
	if r.K == 0 {
		for _, m := range d.Members {
			if m.fresh() == nil {
				return false
			}
		}
		return len(d.Members) >= d.whole()
	}
	n := 0
	for _, v := range r.Voters {
		m := d.Members[v.Member]
		if mv, ok := m.voter(); ok && mv == v && m.fresh().Promised <= e {
			n++
		}
	}
	return n >= r.K
}
