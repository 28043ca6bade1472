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

// failOver starts replacing a leader that is down, provided that the members that answer can meet the fence condition. Once
// the record says Fencing there is no way back, so failOver does not start in the mere hope that more members will answer.
func (d *decision) failOver(rec Record, f finding) Plan {
	request := d.request()
	if f.setAside && request != "" && request == rec.Leader.Member {
		return plan(Promoting, v1alpha1.ReasonFailoverFailed, "%s.", f.message).do(d.outcome(request, v1alpha1.ResultFailed, rec, "%s", f.message))
	}
	aside := except(rec.Aside, request) // a member that a person asks for gets another try
	asked := f.reason == reasonRequested
	if (f.setAside || asked) && !slices.Contains(aside, rec.Leader.Member) { // one that is asked to go may answer the fence, with the longest log
		aside = append(aside, rec.Leader.Member)
	}
	ev := d.helpful(rec, aside, d.foreseen())
	_, g := d.fenceGate(rec, ev)
	// A leader that is only asked to go may still lead. If this operator reaches nobody else either, it says nothing of them; and what
	// followers hold grows meanwhile, so only the election can compare it. In mode Manual, nobody else is to lead if that can be helped.
	if p, refused := d.refuseTarget(ev, request, asked && !d.manual()); refused && (g == nil || !asked) {
		return p
	}
	if g != nil {
		return plan(Blocked, g.reason, "%s. %s", f.message, g.message).again(soon)
	}
	if d.leftAlone(rec, ev) {
		return plan(Suspecting, v1alpha1.ReasonLeaderUnreachable, "%s. No other member answers yet.", f.message).again(shortly)
	}
	will := rec
	will.Target, will.Aside, will.Reason = d.wish(rec, aside), aside, f.reason
	will.UpdateFailures, will.HomeFailures = d.updateFailed(rec), d.homeFailed(rec)
	if f.setAside {
		will.Aside = d.unpromised(rec, aside)
	}
	if d.manual() && d.mayLead(rec) == nil && will.Target == "" {
		will.Target = v1alpha1.FailoverToAny // recorded, so that it holds for the steps that follow too
	}
	chosen, permitted, g := d.chosen(will, ev)
	switch name := chosen.voter.Member; {
	case g != nil:
		return plan(Blocked, g.reason, "%s. %s", f.message, g.message).again(soon)
	case f.setAside && (slices.Contains(will.Aside, name) || d.againTooSoon(rec)):
		return plan(Blocked, v1alpha1.ReasonLeaderUnfit, "%s. No other member that holds as much is left to lead (%v); to retry one of them, annotate the store with %s=<member>.",
			f.message, ev, v1alpha1.AnnotationFailover).again(soon)
	case !permitted, d.manual() && request == "" && rec.Phase == PhaseStable && chosen.voter != rec.Leader:
		return plan(Blocked, v1alpha1.ReasonManualMode, "%s. %s could lead (%v); annotate the store with %s=%s to let it.",
			f.message, name, ev, v1alpha1.AnnotationFailover, name).again(2 * time.Second)
	}
	next := rec.fencing(d.nextEpoch(rec), d.change(rec, v1alpha1.KindFailover, f.reason, will.Target, request))
	next.LeaderDead, next.Aside = f.dead && rec.Phase == PhaseStable, aside
	next.UpdateFailures, next.HomeFailures = will.UpdateFailures, will.HomeFailures
	return plan(Fencing, v1alpha1.ReasonFailoverStarted, "%s: fencing the members for epoch %d.", f.message, next.Epoch).
		do(append(d.leadTo(chosen.voter.Member), d.write(next))...)
}

// refuseTarget refuses a request for a member that cannot lead, before anything is begun; also one that holds less than the best
// one, unless their logs still grow.
func (d *decision) refuseTarget(ev evidence, request string, grow bool) (Plan, bool) {
	if request == "" || request == v1alpha1.FailoverToAny {
		return Plan{}, false
	}
	why := d.unable(ev, request)
	if why == "" && !grow {
		why = d.holdsLess(ev, request)
	}
	if why == "" {
		return Plan{}, false
	}
	p := d.refuse(request, why)
	p.State = Fencing // not HandingOver: the store has no leader, and an operator on standby may answer too
	return p, true
}

// cannotLead says why ev does not allow a member to be elected; "" if it does.
func (d *decision) cannotLead(ev evidence, member string) string {
	return cmp.Or(d.unable(ev, member), d.holdsLess(ev, member))
}

// unable is cannotLead apart from what the member holds.
func (d *decision) unable(ev evidence, member string) string {
	m := d.Members[member]
	h, answers := ev[member]
	switch {
	case m.Name == "":
		return "no member has that name"
	case m.hung():
		return "its disk hangs"
	case m.Pod != nil && m.Pod.Fenced: // checked before answers: helpful drops its evidence where the others suffice
		return "its pod is annotated " + v1alpha1.AnnotationFenced
	case !answers:
		return "it does not answer"
	case h.seeding:
		return "it is being seeded"
	default:
		return ""
	}
}

// holdsLess says who holds more than a member; "" if nobody does.
func (d *decision) holdsLess(ev evidence, member string) string {
	h := ev[member]
	for name, o := range ev {
		if !o.seeding && !o.empty && o.last.Compare(h.last) > 0 {
			return "it holds " + h.last.String() + " and " + name + " holds more (" + o.last.String() + ")"
		}
	}
	return ""
}

// fencing asks for promises and, once the fence condition holds, elects a leader.
func (d *decision) fencing(rec Record) Plan {
	if rec.Kind == v1alpha1.KindWake {
		d.lasting(factWaking, wakePatience) // called in every step, so that the timing is not interrupted
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
			for _, name := range rec.EveryMember {
				d.keepTiming(unfenced(name))
			}
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
		return plan(Waking, v1alpha1.ReasonWaking, "Waiting for members to come back: %s. The store goes on without them after %s.", missing, wakePatience).again(soon)
	}
	pass, g := d.fenceGate(rec, ev)
	if g != nil {
		return plan(Blocked, g.reason, "Epoch %d has no leader yet: %s", rec.Epoch, g.message).again(soon)
	}
	if !waited && d.alone(rec, ev) {
		return plan(Fencing, v1alpha1.ReasonFailoverStarted, "Epoch %d has no leader yet: only %s, which led before, answers.", rec.Epoch, rec.From).again(shortly)
	}
	if p, refused := d.refuseTarget(ev, rec.Request, false); retarget && refused {
		return p
	}
	chosen, permitted, g := d.chosen(rec, ev)
	if g != nil {
		return plan(Blocked, g.reason, "Epoch %d has no leader yet: %s", rec.Epoch, g.message).again(soon)
	}
	if !permitted {
		p := plan(Blocked, v1alpha1.ReasonManualMode, "Epoch %d has no leader yet: %s cannot lead it, but %s could (%v): annotate the store with %s=%s to let it.",
			rec.Epoch, strings.Join(d.mayLead(rec), " or "), chosen.voter.Member, ev, v1alpha1.AnnotationFailover, chosen.voter.Member).again(2 * time.Second)
		if request := d.request(); request != "" && d.lasting(unmet, d.Settings.LowerAfter) {
			return p.do(d.outcome(request, v1alpha1.ResultFailed, rec, "%s", cmp.Or(d.cannotLead(ev, request), "it was passed over as unfit")))
		}
		return p
	}
	next := rec.promoting(chosen.voter, chosen.last, d.firstRule(rec, chosen.voter, d.voting(rec, everybody, ev)))
	if rec.deposes() {
		next.Aside = nil // if the one elected proves useless, the former leader is better than none
	}
	next.GrantWaitMillis = d.grantWait(rec, everybody)
	next.Since.Fenced = d.micro()
	next.Positions = d.compared(rec, everybody, chosen.voter.Member)
	next.WritesLost = moreLost(rec.WritesLost, lostWrites(pass))
	if chosen.voter.Member != rec.Target {
		next.UpdateFailures, next.HomeFailures = d.updateFailed(rec), d.homeFailed(rec)
	}
	if pass.lossy {
		next.Lost = rec.Lost.and(rec.Epoch, ev.unseen(rec))
	}
	return plan(Promoting, v1alpha1.ReasonLeaderElected, "%s holds %v and will lead epoch %d.", chosen.voter.Member, chosen.last, rec.Epoch).
		do(d.write(next))
}

// voting returns the members that may vote at once: everybody that promised, without those whose evidence was dropped because they
// are set aside. A leader that was only asked to go is no worse a voter for that.
func (d *decision) voting(rec Record, everybody, ev evidence) evidence {
	if rec.deposes() {
		return everybody
	}
	return without(everybody, ev.without(rec.Aside))
}

// firstRule is the first rule of a new leadership. Its voters are those members of the newest binding leadership (its voters
// and its leader) that answered the fence with data: they can acknowledge at once. Everybody else is added once caught up.
// Voters that a person took out leave once the others can commit without them (see wantedRule). A number that was being
// lowered, and has been put back since, is not lowered (see finishRules).
func (d *decision) firstRule(rec Record, leader replication.Voter, ev evidence) replication.Rule {
	spec := d.Store.Spec
	rule := replication.Rule{K: spec.SynchronousNumber(), Voters: []replication.Voter{}}
	ls := rec.Leaderships()
	if len(ls) == 0 {
		return rule
	}
	newest := ls[len(ls)-1]
	rule.K = max(newest.Rules[len(newest.Rules)-1].K, min(newest.Rules[0].K, rule.K))
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

// grantWait returns the largest read window, in milliseconds, that a fenced member had still granted. It is 0 if every old
// leader is itself fenced or was seen to be dead, because then nobody serves reads any more.
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

// compared lists what each member brought to the election.
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

// moreLost returns the worse of what two elections of one change may have cost; a is "" before the first.
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

// unpromised adds to aside the members that answer but have not promised the epoch of the leader being set aside: they may
// fail to promise the next epoch too. While that leader is there, members are told to follow it, and those that can promise
// do.
func (d *decision) unpromised(rec Record, aside []string) []string {
	out := slices.Clone(aside)
	for _, m := range d.byOrdinal() {
		if s := m.fresh(); s != nil && s.Promised < rec.Epoch && !slices.Contains(out, m.Name) {
			out = append(out, m.Name)
		}
	}
	return out
}

// againTooSoon reports whether it is too soon to replace the leader again. It applies to a leader that was elected although
// it is set aside, because the member that would lead in its place answers but made no promise when asked; such elections
// are spaced by at least a Lease's duration. The measure uses the clocks of possibly different operators, which can only
// lengthen or shorten the pause.
func (d *decision) againTooSoon(rec Record) bool {
	if !slices.Contains(rec.Aside, rec.Leader.Member) || rec.Since.Fenced == nil {
		return false
	}
	since := d.now.Sub(rec.Since.Fenced.Time)
	return since >= 0 && since < d.leaseDuration()
}

// retarget makes rec answer a newer request than the one it was begun for, in mode Manual.
func (d *decision) retarget(rec *Record) bool {
	request := d.request()
	if !d.manual() || rec.From == "" || rec.Kind == v1alpha1.KindWake || request == "" || request == rec.Request {
		return false
	}
	rec.Target, rec.Request = request, request
	rec.Aside = except(rec.Aside, request) // the member asked for gets another try
	return true
}

// except returns a copy of members without one.
func except(members []string, one string) []string {
	return slices.DeleteFunc(slices.Clone(members), func(m string) bool { return m == one })
}

// change starts the report of a change of leader.
func (d *decision) change(rec Record, kind v1alpha1.FailoverKind, reason, target, request string) Change {
	c := Change{
		Kind: kind, Reason: reason, Target: target, Request: request, From: rec.Leader.Member, FromEpoch: rec.LedEpoch(),
		UpdateFailures: d.updateFailures(rec), HomeFailures: d.homeFailures(rec),
	}
	c.Since.Detected = d.micro()
	if rec.Phase == PhasePromoting {
		// The same outage continues: keep its start time and the count of what it has cost.
		c.Since.Detected, c.WritesLost = rec.Since.Detected, rec.WritesLost
	}
	return c
}

func (d *decision) micro() *metav1.MicroTime { return new(metav1.NewMicroTime(d.now)) }
