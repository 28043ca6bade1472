package decide

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/replication"
)

// failOver begins to replace a leader that is down, if the fence condition can be met by the members that answer: once
// the record says Fencing there is no way back, so it is not begun on hope.
func (d *decision) failOver(rec Record, f finding) Plan {
	request := d.request()
	if f.setAside && request != "" && request == rec.Leader.Member {
		return plan(Promoting, v1alpha1.ReasonFailoverFailed, "%s.", f.message).do(d.outcome(request, v1alpha1.ResultFailed, rec, "%s", f.message))
	}
	aside := except(rec.Aside, request) // whom a person asks for has another try
	if f.setAside && !slices.Contains(aside, rec.Leader.Member) {
		aside = append(aside, rec.Leader.Member)
	}
	ev := d.helpful(rec, aside, d.foreseen())
	if p, refused := d.refuseTarget(ev, request); refused {
		return p
	}
	if _, g := d.fenceGate(rec, ev); g != nil {
		return plan(Blocked, g.reason, "%s. %s", f.message, g.message).again(soon)
	}
	if d.leftAlone(rec, ev) {
		return plan(Suspecting, v1alpha1.ReasonLeaderUnreachable, "%s. Nobody else answers yet.", f.message).again(shortly)
	}
	will := rec
	will.Target, will.Aside, will.Reason = d.wish(rec, aside), aside, f.reason
	if f.setAside {
		will.Aside = d.unpromised(rec, aside)
	}
	if d.manual() && d.mayLead(rec) == nil && will.Target == "" {
		will.Target = v1alpha1.FailoverToAny // in what comes, too
	}
	chosen, permitted, g := d.chosen(will, ev)
	switch name := chosen.voter.Member; {
	case g != nil:
		return plan(Blocked, g.reason, "%s. %s", f.message, g.message).again(soon)
	case f.setAside && (slices.Contains(will.Aside, name) || d.againTooSoon(rec)):
		return plan(Blocked, v1alpha1.ReasonLeaderUnfit, "%s. Nobody else who holds as much is left to lead (%v); annotate the store with %s=<member> to try one of them again.",
			f.message, ev, v1alpha1.AnnotationFailover).again(soon)
	case !permitted, d.manual() && request == "" && rec.Phase == PhaseStable && chosen.voter != rec.Leader:
		return plan(Blocked, v1alpha1.ReasonManualMode, "%s. %s could lead (%v); annotate the store with %s=%s to let it.",
			f.message, name, ev, v1alpha1.AnnotationFailover, name).again(2 * time.Second)
	}
	next := rec.fencing(d.nextEpoch(rec), d.change(rec, v1alpha1.KindFailover, f.reason, will.Target, request))
	next.LeaderDead, next.Aside = f.dead && rec.Phase == PhaseStable, aside
	return plan(Fencing, v1alpha1.ReasonFailoverStarted, "%s: fencing its members for epoch %d.", f.message, next.Epoch).
		do(append(d.leadTo(chosen.voter.Member), d.write(next))...)
}

// refuseTarget answers a request for a member that does not hold what the best one holds, before anything is begun.
func (d *decision) refuseTarget(ev evidence, request string) (Plan, bool) {
	if request == "" || request == v1alpha1.FailoverToAny {
		return Plan{}, false
	}
	why := d.cannotLead(ev, request)
	if why == "" {
		return Plan{}, false
	}
	p := d.refuse(request, why)
	p.State = Fencing // no handover: the store has no leader, and an operator on standby may answer, too
	return p, true
}

// cannotLead says why a member cannot be elected by ev; "" when it can.
func (d *decision) cannotLead(ev evidence, member string) string {
	m, h := d.Members[member], ev[member]
	_, answers := ev[member]
	switch {
	case m.Name == "":
		return "there is no member of that name"
	case m.hung():
		return "its disk does not finish its writes"
	case m.Pod != nil && m.Pod.Fenced: // no evidence, where it is not needed
		return "its pod is annotated " + v1alpha1.AnnotationFenced
	case !answers:
		return "it does not answer"
	case h.seeding:
		return "it is being seeded"
	}
	for name, o := range ev {
		if !o.seeding && !o.empty && o.last.Compare(h.last) > 0 {
			return "it holds " + h.last.String() + " and " + name + " holds more (" + o.last.String() + ")"
		}
	}
	return ""
}

// fencing asks for promises, and elects once the fence condition holds.
func (d *decision) fencing(rec Record) Plan {
	if rec.Kind == v1alpha1.KindWake {
		d.lasting(factWaking, wakePatience) // in every step, so that it is seen without interruption
	}
	waited := d.waitedForOthers(rec)
	unmet := fmt.Sprintf("request for %s unmet in epoch %d", d.request(), rec.Epoch)
	if d.Pass.FencedEpoch != rec.Epoch {
		var ask []string
		for _, m := range d.byOrdinal() {
			if m.reachable() && !m.Foreign && m.heard() {
				ask = append(ask, m.Name)
			}
		}
		if len(ask) > 0 {
			d.keepTiming(unmet)
			reason := v1alpha1.ReasonFailoverStarted
			if rec.Kind == v1alpha1.KindWake {
				reason = v1alpha1.ReasonWaking
			}
			return plan(Fencing, reason, "Fencing %d members for epoch %d.", len(ask), rec.Epoch).do(FenceMembers{rec.Epoch, ask})
		}
	}
	everybody := d.promised(rec.Epoch)
	retarget := d.retarget(&rec)
	ev := d.helpful(rec, rec.Aside, everybody)
	if missing := d.waking(rec, ev); missing != "" {
		return plan(Waking, v1alpha1.ReasonWaking, "Members come back: %s. Without them it goes on after %s.", missing, wakePatience).again(soon)
	}
	pass, g := d.fenceGate(rec, ev)
	if g != nil {
		return plan(Blocked, g.reason, "Epoch %d has no leader yet: %s", rec.Epoch, g.message).again(soon)
	}
	if !waited && d.alone(rec, ev) {
		return plan(Fencing, v1alpha1.ReasonFailoverStarted, "Epoch %d has no leader yet: only %s, which led before, answers.", rec.Epoch, rec.From).again(shortly)
	}
	if p, refused := d.refuseTarget(ev, rec.Request); retarget && refused {
		return p
	}
	chosen, permitted, g := d.chosen(rec, ev)
	if g != nil {
		return plan(Blocked, g.reason, "Epoch %d has no leader yet: %s", rec.Epoch, g.message).again(soon)
	}
	if !permitted {
		p := plan(Blocked, v1alpha1.ReasonManualMode, "Epoch %d has no leader yet: %s cannot lead it, and %s could (%v): annotate the store with %s=%s to let it.",
			rec.Epoch, strings.Join(d.mayLead(rec), " or "), chosen.voter.Member, ev, v1alpha1.AnnotationFailover, chosen.voter.Member).again(2 * time.Second)
		if request := d.request(); request != "" && d.lasting(unmet, d.Settings.LowerAfter) {
			return p.do(d.outcome(request, v1alpha1.ResultFailed, rec, "%s", cmp.Or(d.cannotLead(ev, request), "it was set aside")))
		}
		return p
	}
	next := rec.promoting(chosen.voter, chosen.last, d.firstRule(rec, chosen.voter, without(everybody, ev.without(rec.Aside))))
	next.GrantWaitMillis = d.grantWait(rec, everybody)
	next.Since.Fenced = d.micro()
	next.Positions = d.compared(rec, everybody, chosen.voter.Member)
	next.WritesLost = moreLost(rec.WritesLost, lostWrites(pass))
	if pass.lossy {
		next.Lost = rec.Lost.and(rec.Epoch, ev.unseen(rec))
	}
	return plan(Promoting, v1alpha1.ReasonLeaderElected, "%s holds %v and will lead epoch %d.", chosen.voter.Member, chosen.last, rec.Epoch).
		do(d.write(next))
}

// firstRule of a new leadership: of those that counted in the newest binding one (its voters and its leader), whoever
// answered the fence with data. They can acknowledge at once; everybody else is added once caught up, and those that a person took
// out leave once the others can commit without (see wantedRule).
func (d *decision) firstRule(rec Record, leader replication.Voter, ev evidence) replication.Rule {
	spec := d.Store.Spec
	rule := replication.Rule{K: spec.SynchronousNumber(), Voters: []replication.Voter{}}
	ls := rec.Leaderships()
	if len(ls) == 0 {
		return rule
	}
	newest := ls[len(ls)-1]
	rule.K = newest.Rules[len(newest.Rules)-1].K
	counted := []replication.Voter{newest.Leader}
	for _, r := range newest.Rules {
		counted = append(counted, r.Voters...)
	}
	for _, v := range counted {
		if v.Member != leader.Member && ev.has(v) && !ev[v.Member].empty && !d.Members[v.Member].reseeds() && !slices.Contains(rule.Voters, v) {
			rule.Voters = append(rule.Voters, v)
		}
	}
	sortVoters(rule.Voters)
	if spec.Replication.Synchronous.Durability == v1alpha1.DurabilityPreferred {
		rule.K = min(rule.K, len(rule.Voters))
	}
	return rule
}

// grantWait is the largest read window still granted by a fenced member; nothing when every old leader is fenced itself or
// seen to be dead, because then nobody serves a read any more.
func (d *decision) grantWait(rec Record, ev evidence) int64 {
	over := func(l replication.Leadership) bool { return rec.LeaderDead || ev.has(l.Leader) }
	if len(rec.EveryMember) == 0 && !slices.ContainsFunc(rec.Leaderships(), func(l replication.Leadership) bool { return !over(l) }) {
		return 0
	}
	var wait int64
	for _, f := range d.Pass.Fences {
		wait = max(wait, f.GrantMillis)
	}
	return wait
}

// compared lists what every member brought to the election.
func (d *decision) compared(rec Record, ev evidence, chosen string) []v1alpha1.ComparedPosition {
	voters := map[string]bool{}
	for _, l := range rec.Leaderships() {
		for _, r := range l.Rules {
			for _, v := range r.Voters {
				voters[v.Member] = true
			}
		}
	}
	var out []v1alpha1.ComparedPosition
	for _, m := range d.byOrdinal() {
		h, fenced := ev[m.Name]
		c := v1alpha1.ComparedPosition{
			Member: m.Name, Fenced: fenced, Voter: voters[m.Name], Chosen: m.Name == chosen,
			Epoch: int64(h.last.Epoch), Position: int64(h.last.Position),
		}
		switch {
		case !fenced:
			c.Note = "did not answer"
		case h.seeding:
			c.Note = "being seeded"
		case h.empty:
			c.Note = "empty"
		}
		out = append(out, c)
	}
	return out
}

func lostWrites(p passage) string {
	switch {
	case !p.lossy:
		return v1alpha1.LostNone
	case p.bounded && p.atMost > 0:
		return strconv.FormatInt(p.atMost, 10)
	default:
		return v1alpha1.LostUnknown
	}
}

// moreLost is the worse of what two elections of one change may have cost; "" before the first.
func moreLost(a, b string) string {
	n, errA := strconv.ParseInt(a, 10, 64)
	m, errB := strconv.ParseInt(b, 10, 64)
	switch {
	case a == v1alpha1.LostUnknown || b == v1alpha1.LostUnknown:
		return v1alpha1.LostUnknown
	case errA == nil && errB == nil:
		return strconv.FormatInt(max(n, m), 10)
	case errA == nil:
		return a
	default:
		return b
	}
}

// unpromised adds to aside who answers and has not promised the epoch whose leader is set aside: so it may do with the next one. While
// that leader is there, members are told to follow it, and those that can, do promise.
func (d *decision) unpromised(rec Record, aside []string) []string {
	out := slices.Clone(aside)
	for _, m := range d.byOrdinal() {
		if s := m.fresh(); s != nil && s.Promised < rec.Epoch && !slices.Contains(out, m.Name) {
			out = append(out, m.Name)
		}
	}
	return out
}

// againTooSoon tells whether the leader was elected although it is set aside, for who would lead in its place answers and made no promise
// when it was asked: that is tried again at the pace of Leases. It rests on operators' clocks, for a pause more or less.
func (d *decision) againTooSoon(rec Record) bool {
	if !slices.Contains(rec.Aside, rec.Leader.Member) || rec.Since.Fenced == nil {
		return false
	}
	since := d.now.Sub(rec.Since.Fenced.Time)
	return since >= 0 && since < d.leaseDuration()
}

// retarget makes rec answer a request, in mode Manual, that is newer than the one it was begun for.
func (d *decision) retarget(rec *Record) bool {
	request := d.request()
	if !d.manual() || rec.From == "" || rec.Kind == v1alpha1.KindWake || request == "" || request == rec.Request {
		return false
	}
	rec.Target, rec.Request = request, request
	rec.Aside = except(rec.Aside, request) // it has another try
	return true
}

// except is a copy of members without one.
func except(members []string, one string) []string {
	return slices.DeleteFunc(slices.Clone(members), func(m string) bool { return m == one })
}

// change begins the report of a change of leader.
func (d *decision) change(rec Record, kind v1alpha1.FailoverKind, reason, target, request string) Change {
	c := Change{Kind: kind, Reason: reason, Target: target, Request: request, From: rec.Leader.Member, FromEpoch: rec.LedEpoch()}
	c.Since.Detected = d.micro()
	if rec.Phase == PhasePromoting {
		// The same outage goes on: its clock runs since the first leader was lost, and so does the count of what it cost.
		c.Since.Detected, c.WritesLost = rec.Since.Detected, rec.WritesLost
	}
	return c
}

func (d *decision) micro() *metav1.MicroTime { return new(metav1.NewMicroTime(d.now)) }
