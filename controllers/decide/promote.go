package decide

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// promoting gets the elected member to lead, or gives up on it and starts a new epoch. An epoch is never retried with a
// second member, nor with a second process of the same member.
func (d *decision) promoting(rec Record) Plan {
	name := rec.Leader.Member
	m := d.Members[name]
	s := m.fresh()
	if m.leads(rec) && s.Writable {
		return d.finish(rec)
	}
	var blocked *Plan
	if d.stalled(rec) {
		f := found(leaderDown, reasonNoBarrier, "%s was elected but has no barrier of epoch %d on disk", name, rec.Epoch)
		f.setAside = true
		p := d.failOver(rec, f)
		if p.State != Blocked {
			return p
		}
		blocked = &p
	}
	switch {
	case d.cutOff(rec):
		return d.failOver(rec, d.foundCutOff(rec))
	case m.leads(rec):
		return d.opening(rec, blocked)
	case d.Pass.PromoteEpoch == rec.Epoch && d.Pass.PromoteRefusal != nil:
		return d.refused(rec, *d.Pass.PromoteRefusal)
	case s != nil && s.Incarnation == rec.Leader.Incarnation && s.Promised < rec.Epoch && d.Pass.FencedEpoch != rec.Epoch:
		// The first leader of a new store is recorded without a fence, but it too may lead only an epoch that it has
		// promised.
		return plan(Promoting, v1alpha1.ReasonLeaderElected, "Asking %s to promise epoch %d.", name, rec.Epoch).but(blocked).do(FenceMembers{rec.Epoch, []string{name}})
	case s != nil && s.Incarnation == rec.Leader.Incarnation && s.Role == wire.RoleFenced && s.Promised == rec.Epoch:
		return plan(Promoting, v1alpha1.ReasonLeaderElected, "Telling %s to lead epoch %d.", name, rec.Epoch).but(blocked).do(d.promote(rec))
	}
	switch f := d.detect(rec); f.verdict {
	case leaderDown:
		return d.failOver(rec, f)
	default:
		// Perhaps nobody has been told to follow it yet, so the followers' silence means nothing; a timeout decides.
		if d.contact(rec).heard == 0 && m.Probe.For >= 2*d.Settings.SuspectAfter {
			return d.failOver(rec, found(leaderDown, reasonLeaderSilent, "%s was elected but has been unreachable for %s", name, round(m.Probe.For)))
		}
		return plan(Suspecting, v1alpha1.ReasonLeaderUnreachable, "%s is to lead epoch %d: %s.", name, rec.Epoch, f.message).again(2 * shortly)
	}
}

// refused gives up on a member that refuses to lead. If it refused because its volume has no room, a new epoch would not
// change that: it is set aside, and asked again unless another member may lead in its place.
func (d *decision) refused(rec Record, why wire.Error) Plan {
	f := found(leaderDown, reasonPromotionRefused, "%s refused to lead epoch %d: %s", rec.Leader.Member, rec.Epoch, why.Error())
	if f.setAside = why.Reason == replication.ReasonNoRoom; f.setAside {
		f.message += " (enlarge its volume: spec.storage.size)"
	}
	return d.failOver(rec, f)
}

// stalled reports whether the elected member has answered for as long as a Lease lasts without having the barrier on its own
// disk: its disk hangs, or the order to lead never gets through. Once the barrier is on its disk, it waits for others and is
// not to blame.
func (d *decision) stalled(rec Record) bool {
	s := d.Members[rec.Leader.Member].fresh()
	return s != nil && s.Durable.Epoch < rec.Epoch && d.lasting(fmt.Sprintf("no barrier of epoch %d", rec.Epoch), d.leaseDuration())
}

func (d *decision) promote(rec Record) PromoteMember {
	return PromoteMember{rec.Leader.Member, wire.PromoteRequest{
		Epoch: rec.Epoch, ConfigVersion: rec.ConfigVersion, Rules: rec.Rules, Start: rec.Start,
		LeaseDurationMillis: d.specLeaseDuration().Milliseconds(),
		GrantWaitMillis:     rec.GrantWaitMillis,
		SyncTimeoutMillis:   (time.Duration(d.Store.Spec.WriteTimeout()) * time.Second).Milliseconds(),
	}}
}

// opening waits for the barrier to commit. Voters may be added meanwhile, because the barrier may need them. blocked is
// non-nil if the wait has been too long but nobody else may lead.
func (d *decision) opening(rec Record, blocked *Plan) Plan {
	for _, f := range []finding{d.unprotected(rec), d.idle(rec)} {
		if f.verdict != leaderDown {
			continue
		}
		p := d.failOver(rec, f)
		if p.State != Blocked {
			return p
		}
		blocked = &p
	}
	if p, ok := d.configure(rec); ok {
		return p
	}
	if p, ok := d.changeRules(rec); ok {
		return p
	}
	if p, ok := d.reseed(rec); ok {
		return p
	}
	if s := d.Members[rec.Leader.Member].fresh(); committed(rec, s) {
		return plan(Opening, v1alpha1.ReasonLeaderNotWritable, "%s leads epoch %d, committed its barrier, and accepts writes once it has applied its log up to position %d (now %d).",
			rec.Leader.Member, rec.Epoch, s.Last.Position, s.Applied).again(shortly).but(blocked)
	}
	rule, _ := rec.Rule()
	return plan(Opening, v1alpha1.ReasonLeaderNotWritable, "%s leads epoch %d and waits for its barrier on %d of %d voters.",
		rec.Leader.Member, rec.Epoch, rule.K, len(rule.Voters)).again(shortly).but(blocked)
}

// committed reports whether the leader has committed its barrier.
func committed(rec Record, s *wire.Status) bool {
	return s != nil && s.Role == replication.RoleLeader && s.Epoch == rec.Epoch && s.Commit > rec.Start.Position
}

// idle finds a leader down that committed its barrier but has applied nothing for a long time, as when its volume takes no
// more tables; until it has applied its log it takes no writes. It does so only while another member may do better, so each
// is tried once.
func (d *decision) idle(rec Record) finding {
	s := d.Members[rec.Leader.Member].fresh()
	better := func(name string) bool {
		other := d.Members[name]
		return name != rec.Leader.Member && !slices.Contains(rec.Aside, name) && other.fresh() != nil && !other.full()
	}
	if !committed(rec, s) || s.Writable || !slices.ContainsFunc(rec.Named(), better) ||
		!d.lasting(fmt.Sprintf("applies nothing in epoch %d: %d", rec.Epoch, s.Applied), 2*d.leaseDuration()) {
		return finding{verdict: leaderAlive}
	}
	f := found(leaderDown, reasonNotWritable, "%s committed its barrier of epoch %d but applies nothing, so it accepts no writes", rec.Leader.Member, rec.Epoch)
	f.setAside = true
	return f
}

// unprotected finds a leader down that only its Lease protects (k = 0), if its barrier is on its disk and its Lease is not
// renewed.
func (d *decision) unprotected(rec Record) finding {
	s := d.Members[rec.Leader.Member].fresh()
	alone := slices.ContainsFunc(rec.Rules, func(r replication.Rule) bool { return r.K == 0 })
	if s == nil || !alone || s.Durable.Epoch < rec.Epoch || !d.leaseExpired() || !d.renewsNoMore(rec) {
		return finding{verdict: leaderAlive}
	}
	f := found(leaderDown, reasonLeaseExpired, "%s leads epoch %d, but has not renewed its Lease for %s and so acknowledges nothing "+
		"(does it reach the API server?)", rec.Leader.Member, rec.Epoch, round(d.Lease.UnchangedFor))
	f.setAside = true
	return f
}

// finish completes the change of leader. It answers the request first, so that the request is not taken for a new one.
func (d *decision) finish(rec Record) Plan {
	if request := d.request(); request != "" && request == rec.Request {
		p := plan(Promoting, v1alpha1.ReasonLeaderElected, "%s leads epoch %d.", rec.Leader.Member, rec.Epoch)
		switch {
		case rec.Reason == reasonRequested && rec.Leader.Member == rec.From && request != rec.From:
			return p.do(d.outcome(request, v1alpha1.ResultFailed, rec, "%s leads epoch %d again, because too few others answered, or the one that was to lead "+
				"was lost (status.lastFailover.positions lists who answered): ask again once they are back", rec.Leader.Member, rec.Epoch))
		case request != v1alpha1.FailoverToAny && request != rec.Leader.Member:
			return p.do(d.outcome(request, v1alpha1.ResultFailed, rec, "%s leads epoch %d", rec.Leader.Member, rec.Epoch))
		default:
			return p.do(d.outcome(request, v1alpha1.ResultSucceeded, rec, "%s leads epoch %d", rec.Leader.Member, rec.Epoch))
		}
	}
	next := rec.stable()
	next.Since.Writable = d.micro()
	next.Since.Promoted = next.Since.Writable // fallback: an operator that is gone gave the order, so the exact time is unknown
	if d.Promoted.Epoch == rec.Epoch {
		next.Since.Promoted = new(metav1.NewMicroTime(d.Promoted.At))
	}
	return plan(Promoting, v1alpha1.ReasonLeaderElected, "%s leads epoch %d and acknowledges writes.", rec.Leader.Member, rec.Epoch).
		do(d.write(next))
}

// peerAddress returns the member's replication address; false if its pod has no address yet.
func (m Member) peerAddress() (string, bool) {
	if !m.reachable() {
		return "", false
	}
	return net.JoinHostPort(m.Pod.IP, strconv.Itoa(v1alpha1.PortPeer)), true
}
