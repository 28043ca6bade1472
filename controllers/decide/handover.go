package decide

import (
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// request returns the member that the failover annotation asks for; "" if nobody asked.
func (d *decision) request() string { return d.Store.Annotations[v1alpha1.AnnotationFailover] }

// asked names whom request asks for.
func (d *decision) asked() string {
	if request := d.request(); request != v1alpha1.FailoverToAny {
		return request
	}
	return "another member"
}

// requested answers the annotation while the leader is alive, with a planned handover.
func (d *decision) requested(rec Record) (Plan, bool) {
	request := d.request()
	switch {
	case request == "":
		return Plan{}, false
	case request == rec.Leader.Member:
		return plan(Stable, v1alpha1.ReasonLeaderElected, "%s already leads.", request).
			do(d.outcome(request, v1alpha1.ResultSucceeded, rec, "%s already leads", request)), true
	case d.Pass.HandoverError != "":
		return plan(HandingOver, v1alpha1.ReasonFailoverFailed, "The requested handover (%s) failed: %s.", request, d.Pass.HandoverError).
			do(d.outcome(request, v1alpha1.ResultFailed, rec, "%s", d.Pass.HandoverError)), true
	}
	to, why := d.heir(rec, request)
	if why != "" {
		return d.refuse(request, why), true
	}
	return d.handOver(rec, to, reasonRequested, request), true
}

// evacuate hands over from a leader that is about to end, must not lead, or runs on a node about to be drained. Only in the
// last case may the leader stay, if everybody else is no better off, or others did not last as leaders (see LeadFailures).
func (d *decision) evacuate(rec Record) (Plan, bool) {
	leader := d.Members[rec.Leader.Member]
	pod, reason := leader.Pod, reasonPodDeleting
	switch {
	case pod == nil || d.handoverRests(rec) > 0:
		return Plan{}, false
	case pod.Fenced:
		reason = reasonPodFenced
	case pod.Deleting:
	case leader.leaves():
		reason = reasonLeaving
	case pod.Cordoned:
		reason = reasonNodeCordoned
	default:
		return Plan{}, false
	}
	to, why := d.heir(rec, v1alpha1.FailoverToAny)
	if why != "" || reason == reasonNodeCordoned && d.staysOnCordoned(rec, d.Members[to]) {
		return Plan{}, false
	}
	return d.handOver(rec, to, reason, ""), true
}

// staysOnCordoned reports whether the leader stays on its cordoned node although to could take over. An update would take
// leadership from a member with an outdated template again.
func (d *decision) staysOnCordoned(rec Record, to Member) bool {
	if d.Outdated(to) {
		return to.Pod.Cordoned || !d.Outdated(d.Members[rec.Leader.Member]) || d.homeRests(rec, to.Name) > 0
	}
	return to.Pod.Cordoned || d.homeRests(rec, to.Name) > 0 || d.updateRests(rec) > 0
}

// homePatience is how long everything must have been in order before leadership returns to a preferred zone.
const homePatience = time.Minute

// returnHome hands over to a better zone, if the user asked for that.
func (d *decision) returnHome(rec Record) (Plan, bool) {
	f := d.Store.Spec.Failover
	leader := d.Members[rec.Leader.Member]
	if !f.ReturnToPreferredZone || d.zoneRank(leader) == 0 || d.handoverRests(rec) > 0 {
		return Plan{}, false
	}
	for _, m := range d.able(rec) {
		if m.Name != rec.Leader.Member && d.whyNotWhole(rec, m) != "" {
			return Plan{}, false
		}
	}
	to, why := d.heir(rec, v1alpha1.FailoverToAny)
	if why != "" || d.Members[to].Pod.Cordoned || d.zoneRank(d.Members[to]) >= d.zoneRank(leader) || d.homeRests(rec, to) > 0 ||
		!d.lasting("home: "+to, homePatience) {
		return Plan{}, false
	}
	return d.handOver(rec, to, reasonPreferredZone, ""), true
}

// Pauses between handovers that fail: each failed handover holds writes for a while in vain.
const (
	firstRest = 5 * time.Second
	lastRest  = 5 * time.Minute
)

// handoverRests returns how long the operator still refrains from handovers of its own, because the last ones failed. A
// handover that a person asks for is tried at once.
func (d *decision) handoverRests(rec Record) time.Duration {
	n := d.Handovers
	if n.InARow == 0 || n.Epoch != rec.Epoch {
		return 0
	}
	return max(0, doubled(firstRest, lastRest, n.InARow)-n.Ago)
}

func (n HandoverFailures) describe(rest time.Duration) string {
	return fmt.Sprintf("%d handovers failed in a row (%s): next attempt in %s", n.InARow, n.Why, round(rest))
}

// handOver takes two steps: the leader holds its writes until to holds everything, then the epoch changes. If the operator
// dies in between, the hold ends by itself. The old leader itself promises the new epoch, so the fence condition holds at
// once and nothing can be lost.
func (d *decision) handOver(rec Record, to, reason, request string) Plan {
	from := rec.Leader.Member
	if h := d.Pass.Handover; h == nil || h.Epoch != rec.Epoch || h.To != to {
		return plan(HandingOver, v1alpha1.ReasonHandingOver, "Handing over from %s to %s.", from, to).
			do(HandOver{from, wire.HandoverRequest{Epoch: rec.Epoch, To: to, HoldMillis: d.Settings.Hold.Milliseconds()}})
	}
	next := rec.fencing(d.nextEpoch(rec), d.change(rec, v1alpha1.KindHandover, reason, to, request))
	return plan(HandingOver, v1alpha1.ReasonHandingOver, "%s has every write: fencing %s for epoch %d.", to, from, next.Epoch).
		do(d.write(next))
}

// heir chooses who takes over from a living leader: the member asked for, or the best of those that are fit. If there is
// none, why says so.
func (d *decision) heir(rec Record, request string) (to, why string) {
	if request != v1alpha1.FailoverToAny {
		m := d.Members[request]
		if m.Name == "" {
			return "", "no member has that name"
		}
		return request, d.unfit(rec, m)
	}
	if h := d.Pass.Handover; h != nil && h.Epoch == rec.Epoch && d.unfit(rec, d.Members[h.To]) == "" {
		return h.To, ""
	}
	rec.Target = "" // of the previous change
	ev := d.foreseen()
	var fit []replication.Candidate
	for _, m := range d.byOrdinal() {
		if m.Name == rec.Leader.Member || d.unfit(rec, m) != "" {
			continue
		}
		c := replication.Candidate{Voter: ev[m.Name].voter, Preference: d.preference(rec, m.Name, ev)}
		if _, votes := rec.Voter(m.Name); !votes {
			c.Preference += weighNonVoter
		}
		if d.Outdated(m) {
			c.Preference += weighOutdated
		}
		if m.replays() {
			c.Preference += weighReplays
		}
		fit = append(fit, c)
	}
	i := replication.Elect(fit)
	if i < 0 {
		return "", "no follower is caught up and eligible to lead"
	}
	return fit[i].Voter.Member, ""
}

// unfit says why m cannot take over from a living leader now; "" if it can.
func (d *decision) unfit(rec Record, m Member) string {
	switch {
	case m.Pod == nil:
		return "it has no pod"
	case m.Pod.Deleting:
		return "its pod is being deleted"
	case m.leaves():
		return "it is about to stop"
	case m.Pod.Fenced:
		return "its pod is annotated " + v1alpha1.AnnotationFenced
	case m.Pod.Reseed:
		return "it is about to be reseeded"
	case d.surplus(rec)[m.Name]:
		return "it is being removed"
	case m.full() && !d.Members[rec.Leader.Member].full():
		return "its volume is full"
	case !d.caughtUp(rec, m):
		return d.whyNotCaughtUp(rec, m)
	default:
		return ""
	}
}

// caughtUp reports whether the living leader sees this very incarnation of m keep up.
func (d *decision) caughtUp(rec Record, m Member) bool { return d.whyNotCaughtUp(rec, m) == "" }

// keepsUp is caughtUp with patience. It also accepts a voter that the leader hears and that lagged only for a moment, and
// one that only missed a look. Such a member must not be promoted, but people need not be told of it either.
func (d *decision) keepsUp(rec Record, m Member) bool {
	m = d.forgive(rec, m)
	if d.caughtUp(rec, m) {
		return true
	}
	lags := d.lasting("lagging: "+m.Name, lagPatience) // also while it is away: it may come back far behind
	s, leader := m.fresh(), d.Members[rec.Leader.Member].fresh()
	v, votes := rec.Voter(m.Name)
	if s == nil || leader == nil || s.Seeding != nil || !m.follows(rec) || !votes || !d.hears(leader, v) || s.Incarnation != v.Incarnation {
		return false
	}
	return !lags
}

// lagPatience is how long a voter may lag before that is reported: a busy disk makes followers fall behind for moments.
const lagPatience = 5 * time.Second

func (d *decision) whyNotCaughtUp(rec Record, m Member) string {
	s, leader := m.fresh(), d.Members[rec.Leader.Member].fresh()
	switch {
	case leader == nil:
		return "the leader does not answer"
	case m.Pod == nil:
		return m.Name + " has no pod"
	case m.Foreign:
		return m.Name + " holds the data of another store"
	case s == nil && m.Pod.Trouble != "":
		return fmt.Sprintf("%s is not running: %s", m.Name, m.Pod.Trouble)
	case s == nil:
		return m.Name + " does not answer"
	case s.Seeding != nil:
		return m.Name + " is being seeded"
	case !m.follows(rec):
		return m.Name + " does not follow yet"
	case m.hung():
		return "the disk of " + m.Name + " hangs"
	}
	f, ok := leader.Followers[m.Name]
	if !ok || f.Incarnation != s.Incarnation || !f.CaughtUp {
		return m.Name + " is not caught up"
	}
	return ""
}

// refuse answers a request without acting on it.
func (d *decision) refuse(request, why string) Plan {
	what := request + " cannot lead"
	if request == v1alpha1.FailoverToAny {
		what = "No other member can lead"
	}
	return plan(HandingOver, v1alpha1.ReasonFailoverRefused, "%s: %s.", what, why).
		do(d.outcome(request, v1alpha1.ResultRefused, Record{}, "%s", why))
}

func (d *decision) outcome(request string, result v1alpha1.FailoverResult, rec Record, format string, args ...any) FinishRequest {
	o := v1alpha1.FailoverRequestStatus{
		Target: request, Result: result, Epoch: int64(rec.Epoch), Message: fmt.Sprintf(format, args...),
		SeenTime: rec.Since.Detected, FinishedTime: d.micro(),
	}
	if rec.Request != request || rec.Phase == PhaseStable || o.SeenTime == nil { // rec's change is not the one this request asked for
		o.SeenTime = new(metav1.NewMicroTime(d.now))
	}
	return FinishRequest{o}
}
