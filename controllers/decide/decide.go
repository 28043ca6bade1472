package decide

import (
	"slices"
	"time"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/replication"
)

// Requeue times. Members push status changes, so these only bound the cost of a lost push.
const (
	shortly = 100 * time.Millisecond // a step that should finish any moment
	soon    = 500 * time.Millisecond // something being waited for, or blocked
)

// decision is the state of one call to Decide.
type decision struct {
	Observed
	now     time.Time
	holding []string
	quietly []string        // held facts that do not call for an earlier look
	stuck   map[string]bool // members whose claim has been terminating for too long
	unheard map[string]bool // followers that the leader has not heard for a long time
	resting map[string]bool // members whose failed pod is left alone for a while
	// ahead is the member to route clients to while it is not yet certain that the leader is lost; "" means the leader.
	ahead string
	// sleeping: pods are removed and none are created.
	sleeping bool
	// everybody: the plan relies on the list of members being complete, because no record says who they are or because
	// something seems to be missing from the list.
	everybody bool
	// doubtful: the record's Lease must be read from the API server itself, whatever the plan turns out to be.
	doubtful bool
	// stall is what writes wait for, if voters that answer are too far behind.
	stall stall
	// unrenewed: the leader answers but has not renewed its Lease for a long time.
	unrenewed bool
}

// Decide computes the plan for what was observed. It does no I/O and changes nothing.
func Decide(o Observed, now time.Time) Plan {
	d := &decision{Observed: o, now: now}
	d.setForeignApart()
	d.findStuckClaims()
	d.findFailing()
	d.findUnheard()
	d.findStall()
	d.findUnrenewed()
	d.timeAnswered()
	p := d.choose()
	if d.Refused != "" && p.Risky() {
		p.Message += " It is not done yet: " + d.Refused + "."
	}
	if !p.Risky() || p.promotes() {
		p.Actions = append(p.Actions, d.upkeep(p.State)...)
	}
	if p.RequeueAfter == 0 {
		p.RequeueAfter = d.Settings.Resync
	}
	if d.Standby {
		d.standBy(&p)
	}
	if len(d.holding) > 0 {
		p.RequeueAfter = min(p.RequeueAfter, 2*soon) // something is being timed
	}
	p.Reread = d.reread(p)
	if rec := d.Lease.Record; rec != nil {
		p.Lost = rec.Lost
	}
	p.Notes = d.notes()
	p.Status = d.status(p)
	p.Holding = append(d.holding, d.quietly...)
	return p
}

// choose checks in order of importance: first whatever forbids acting, then who leads, then everything else.
func (d *decision) choose() Plan {
	rec := d.Lease.Record
	switch {
	case d.Store.DeletionTimestamp != nil:
		return plan(Deleting, v1alpha1.ReasonDeleting, "The store is being deleted.")
	case d.Store.Paused():
		return d.paused()
	case d.Lease.Owner == OwnedByEarlier:
		return plan(Creating, v1alpha1.ReasonEarlierStore, "The Lease of an earlier store of this name still exists; the cluster should remove it shortly "+
			"(if it does not: kubectl delete lease %s).", v1alpha1.LeaseName(d.Store.Name)).again(soon)
	case d.Lease.Owner == OwnedByOther:
		return plan(Creating, v1alpha1.ReasonNotOwned, "The Lease %s exists but is not owned by this store: delete it, or give the store another name.",
			v1alpha1.LeaseName(d.Store.Name)).again(2 * time.Second)
	case rec == nil && d.Store.Spec.Hibernated:
		return d.neverWoke()
	case rec == nil:
		return d.withoutRecord()
	case d.recordIsOld(*rec):
		return d.recordLost(*rec)
	case d.Lease.Owner == OwnedByNobody:
		return plan(Settling, v1alpha1.ReasonStable, "Taking over the Lease left by an earlier store of this name.").do(d.write(*rec))
	case d.Store.Spec.Hibernated:
		return d.hibernate(*rec)
	case rec.Phase == PhaseFencing && rec.Reason == reasonHibernated:
		return d.wake(*rec)
	case d.Store.Fenced():
		return d.held(*rec)
	case rec.Phase == PhaseFencing:
		return d.fencing(*rec)
	case rec.Phase == PhasePromoting:
		return d.promoting(*rec)
	default:
		return d.led(*rec)
	}
}

// paused leaves the store alone. A store that is hibernating, and is meant to be, is still reported as Hibernated: its
// absence is intended.
func (d *decision) paused() Plan {
	p := plan(Paused, v1alpha1.ReasonReconcileDisabled, "The annotation %s tells the operator to leave the store alone.%s", v1alpha1.AnnotationReconcile, d.specWaits())
	if rec := d.Lease.Record; d.Store.Spec.Hibernated && rec != nil && rec.Phase == PhaseFencing && rec.Reason == reasonHibernated && !d.recordIsOld(*rec) {
		d.sleeping = true
		p.State, p.Message = Hibernated, "The store is hibernated. "+p.Message
	}
	return p
}

// specWaits says that the newest spec has not been taken up, if so.
func (d *decision) specWaits() string {
	if d.Store.Status.ObservedGeneration == d.Store.Generation {
		return ""
	}
	return " Its latest spec has not been applied."
}

// led judges a store with a recorded, stable leadership.
func (d *decision) led(rec Record) Plan {
	f := d.detect(rec)
	switch f.verdict {
	case leaderDown:
		return d.failOver(rec, f)
	case leaderUnknown, leaderSuspect:
		if d.request() != "" && d.Members[rec.Leader.Member].Probe.For >= d.Settings.SuspectAfter && !d.Standby {
			// A handover needs the leader. Whoever asks for another one must not depend on it. An operator on standby leaves that to
			// the one that acts, which may reach the leader.
			return d.failOver(rec, found(leaderDown, reasonRequested, "%s, and %s is asked to lead", f.message, d.asked()))
		}
		d.ahead = d.successor(rec)
		return plan(Suspecting, v1alpha1.ReasonLeaderUnreachable, "%s", f.message).again(shortly / 2)
	case leaderAlive:
		return d.tend(rec)
	default:
		panic("decide: unknown verdict")
	}
}

// tend looks after a store whose leader is alive. The most urgent step comes first.
func (d *decision) tend(rec Record) Plan {
	newest, _ := rec.Rule()
	d.wantedRule(rec, newest) // so that what it times is not interrupted, whichever step comes first
	for _, m := range d.able(rec) {
		d.keepsUp(rec, m) // as above
	}
	for _, step := range []func(Record) (Plan, bool){
		d.configure, d.requested, d.evacuate, d.changeRules, d.reseed, d.removeSurplus, d.update, d.returnHome, d.forgetLoss, d.scaleDown,
	} {
		if p, ok := step(rec); ok {
			return p
		}
	}
	return d.settled(rec)
}

// settled reports what is still missing, if anything.
func (d *decision) settled(rec Record) Plan {
	size, there := d.Store.Spec.Size(), len(d.able(rec))
	for _, m := range d.able(rec) {
		if m.Name != rec.Leader.Member && !d.keepsUp(rec, m) {
			return plan(Settling, unsettled(m), "%s leads epoch %d; %s.", rec.Leader.Member, rec.Epoch, d.whyNotCaughtUp(rec, m)).again(2 * time.Second)
		}
	}
	if n := d.Handovers; d.handoverRests(rec) > 0 {
		return plan(Settling, v1alpha1.ReasonHandoverFailed, "%s leads epoch %d; %s.", rec.Leader.Member, rec.Epoch, n.describe(d.handoverRests(rec))).again(soon)
	}
	if there < size {
		return plan(Settling, v1alpha1.ReasonScalingUp, "%s leads epoch %d; %d of %d members exist.%s", rec.Leader.Member, rec.Epoch, there, size, d.whyFewer(rec)).again(soon)
	}
	told, rest := d.homeTold(rec)
	return plan(Stable, v1alpha1.ReasonStable, "%s leads epoch %d.%s", rec.Leader.Member, rec.Epoch, told).again(min(rest, d.Settings.Resync))
}

func unsettled(m Member) string {
	switch s := m.fresh(); {
	case s == nil:
		return v1alpha1.ReasonMemberMissing
	case s.Seeding != nil:
		return v1alpha1.ReasonSeeding
	default:
		return v1alpha1.ReasonMemberLagging
	}
}

// write returns the swap of the record to next, together with the Lease duration that goes with it.
//
// The leader uses the shorter of the Lease's duration and that of its orders; the operator uses the longer of the Lease's
// and the spec's. A leader without voters depends on this, so during its leadership the duration only grows; a shorter one
// takes effect with the next leadership.
func (d *decision) write(next Record) WriteRecord {
	old := d.Lease.Record
	if uid := d.Store.UID; uid != "" && !slices.Contains(next.Stores, uid) {
		next.Stores = append(slices.Clone(next.Stores), uid)
	}
	w := WriteRecord{Record: next, ResourceVersion: d.Lease.ResourceVersion, LeaseSeconds: d.Store.Spec.LeaseDuration()}
	w.NewLeader = next.Phase == PhasePromoting && (old == nil || old.Phase != PhasePromoting || old.Epoch != next.Epoch)
	alone := slices.ContainsFunc(next.Leaderships(), func(l replication.Leadership) bool {
		return slices.ContainsFunc(l.Rules, func(r replication.Rule) bool { return r.K == 0 })
	})
	if alone && !w.NewLeader {
		w.LeaseSeconds = max(w.LeaseSeconds, int32(d.Lease.Duration/time.Second))
	}
	return w
}

// nextEpoch returns an epoch above everything recorded or promised.
func (d *decision) nextEpoch(rec Record) replication.Epoch {
	return max(rec.Epoch, d.maxPromised()) + 1
}

func (d *decision) maxPromised() replication.Epoch {
	var e replication.Epoch
	for _, m := range d.Members {
		if m.Probe.Status != nil {
			e = max(e, m.Probe.Status.Promised)
		}
	}
	return e
}
