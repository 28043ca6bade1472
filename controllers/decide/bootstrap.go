package decide

import (
	"fmt"
	"slices"
	"strings"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// withoutRecord judges a store that has no authority record: a new one, or one that lost it.
func (d *decision) withoutRecord() Plan {
	var silent, used []string
	there := 0
	for _, m := range d.byOrdinal() {
		if m.waitsForClaim() {
			continue // its data was thrown away
		}
		there++
		switch s := m.fresh(); {
		case s == nil:
			silent = append(silent, m.Name)
		case !s.Empty || s.Promised > 0:
			used = append(used, m.Name)
		}
	}
	unlike := d.unlike() // first, so that what it times is seen without interruption
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

// unborn is a member that can hold nothing, for its volume was never there; of several the last; nil where there is none.
func (d *decision) unborn() *Member {
	for _, m := range slices.Backward(d.byOrdinal()) {
		if m.unborn() {
			return &m
		}
	}
	return nil
}

// unborn tells whether the member can hold nothing: it has a pod that never ran, and its volume was never there.
func (m Member) unborn() bool {
	return m.Pod != nil && !m.Pod.Deleting && m.Pod.Node == "" && m.Pod.IP == "" && m.Probe.Status == nil && (m.Claim == nil || m.Claim.Blank)
}

// takeBack removes a member that nobody asks for any more, before there was a leader.
func (d *decision) takeBack(m Member) Plan {
	p := plan(Creating, v1alpha1.ReasonScalingDown, "%s never ran, and is not asked for any more: it is removed.", m.Name)
	return d.discard(p, m, "not asked for any more")
}

// discard removes a member that is unborn.
func (d *decision) discard(p Plan, m Member, why string) Plan {
	d.everybody = true
	if m.Claim != nil && !m.Claim.Deleting {
		return p.do(DeleteClaim{m.Name, m.Claim.UID, why + ", and never bound"})
	}
	return p.do(DeletePod{m.Name, m.Pod.UID, why + ", and never ran"})
}

// unlike is an unborn member, before there was a leader, whose claim asks for another volume than the spec does, and has got none for
// a while: an earlier store of the name left it, or the spec was changed since. A claim keeps its class, and its size until it is bound. It
// gets its while because somebody else may change claims as they are made, and such a one is as good if it is bound soon.
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

// makeAnew removes a member that is unlike; then it is made as the spec says.
func (d *decision) makeAnew(m Member) Plan {
	p := plan(Creating, v1alpha1.ReasonCreatingMembers, "The claim of %s never got a volume, and asks for another than spec.storage does: it is made anew.", m.Name)
	return d.discard(p, m, "unlike spec.storage")
}

// tooMany says what to do where fewer members are asked for than there are, and some do not answer: what they hold is not known.
func (d *decision) tooMany(silent []string, n int) string {
	if n <= 0 {
		return ""
	}
	extra := strings.Join(silent[max(0, len(silent)-n):], ", ")
	return fmt.Sprintf(" There are more than the %d that are asked for, and it is not known what these hold. Where the others are enough: delete the claims, and then the pods, of %s.",
		d.Store.Spec.Size(), extra)
}

// mayHoldData tells whether a member that there is may hold data: it does, or does not say. Where loss is allowed nobody asks.
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

// othersWait says why no further members are made, if so.
func (d *decision) othersWait(silent []string) string {
	if len(silent) == 0 || !d.mayHoldData() {
		return ""
	}
	return " The others are made once it is known that these hold no data: waiting for " + strings.Join(silent, ", ") + " to answer."
}

// bootstrap names the first leader. Every member is there and empty, so nothing can be missed; the voters start empty
// (an empty directory is no voter), so nothing commits before a follower holds the barrier.
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

// recordIsOld tells whether members know of more than the record says: it was restored from an older copy. The record
// was read after the statuses, so this is no race.
func (d *decision) recordIsOld(rec Record) bool {
	for _, m := range d.Members {
		switch s := m.fresh(); {
		case s == nil:
		case s.Promised > rec.Epoch, s.Epoch == rec.Epoch && s.ConfigVersion > rec.ConfigVersion:
			return true
		case s.Epoch == rec.Epoch && s.Leader != rec.Leader.Member:
			return true // its epoch has another leader than the record knows of, or has one already
		}
	}
	return false
}

// recordLost goes on from the members' promises. If the leader of the highest epoch is alive and provably not deposed, it
// keeps leading and its rules are the record again. Otherwise the rules are unknown, and so every member must be fenced.
func (d *decision) recordLost(old Record) Plan {
	d.everybody = true
	if rec, ok := d.adopt(old); ok {
		return plan(RecordLost, reasonRecordLost, "The authority record was lost or old; %s leads epoch %d and keeps leading.", rec.Leader.Member, rec.Epoch).
			do(d.write(rec))
	}
	ev := d.foreseen()
	next := Record{ConfigVersion: max(old.ConfigVersion, d.maxConfigVersion()), Stores: old.Stores}
	next.Change = d.change(Record{}, v1alpha1.KindFailover, reasonRecordLost, "", "")
	what := "The authority record was lost or old"
	if d.takesOver() {
		next.Kind, next.Reason = v1alpha1.KindBootstrap, reasonTakenOver
		next.Stores = d.servedStores()
		what = "Volumes that an earlier store of this name left are taken over"
	}
	next.EveryMember = d.everyMember()
	next = next.fencing(d.nextEpoch(old), next.Change)
	if len(ev.without(next.EveryMember)) > 0 {
		// Somebody who does not answer may have promised more, or lead. Should the override let this go on without it, the
		// epoch must still be nobody else's.
		next.Epoch += unheardEpochs
	}
	next.Lost = d.lossKept(old, next.Epoch)
	whole := d.whole()
	switch there := len(d.Members); {
	case there < whole && d.known() == 0:
		return plan(RecordLost, v1alpha1.ReasonRecordLost, "An earlier store of this name left volumes of %d members, and %d are asked for: set spec.replicas to how many that "+
			"store had, until there is a leader, or bring back the volumes that are missing (override: spec.failover.dataLoss Allow; "+
			"or %s).", there, whole, dropUnwanted).again(soon)
	case there < whole:
		return plan(RecordLost, v1alpha1.ReasonRecordLost, "%s; %d of %d members exist.", what, there, whole).again(soon)
	}
	if _, g := d.fenceGate(next, ev); g != nil {
		return plan(RecordLost, g.reason, "%s", g.message).again(soon)
	}
	return plan(Fencing, next.Reason, "%s: fencing every member for epoch %d.", what, next.Epoch).
		do(d.write(next))
}

// whole is how many members there have to be before a lost record is gone on from, and are made until then: what the spec asks for,
// but no more than there were when that was told last. A member that is made for a spec that was raised since is empty, and an empty
// one cannot be told from one that has lost everything.
func (d *decision) whole() int {
	size, known := d.Store.Spec.Size(), d.known()
	if known == 0 {
		return size
	}
	return min(size, known)
}

// known is how many members there were when that was told last; 0 where this store never had a record: what it told then are the pods
// that there happened to be.
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

// takesOver tells whether the members hold data although this store never had a leader: an earlier one of its name left them.
// It changes words only; every member must be there, as when a record was lost.
func (d *decision) takesOver() bool {
	return d.Lease.Record == nil && d.Lease.RecordError == "" && d.Store.Status.Epoch == 0
}

// goingClaims names the claims that have to go before their members can be made.
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
	return " Being deleted first: the claims " + strings.Join(names, ", ") + "."
}

// everyMember names those that must answer when the record was lost. An older record may name members that are gone for good:
// one without a pod and without a claim was scaled away where as many as the spec asks for are there, and the operator
// removes nobody whom an acknowledgement may still rest on.
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

// unheardEpochs is more than members can have gone through unheard between two looks of the operator.
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

// adopt rebuilds the record from a living leader. It must be writable (so nothing older binds) in the highest epoch
// anybody promised, and K voters of each of its rules must answer right now with no higher promise: those meet every
// fence quorum, so no later leadership can have been made. Without voters that proof takes every member.
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
		rec.WritesLost, rec.Lost = v1alpha1.LostNone, d.lossKept(old, e)
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
