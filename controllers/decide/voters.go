package decide

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/replication"
	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// configure sends the leader the rules of the record if it still goes by older ones.
func (d *decision) configure(rec Record) (Plan, bool) {
	s := d.Members[rec.Leader.Member].fresh()
	if s.ConfigVersion >= rec.ConfigVersion {
		return Plan{}, false
	}
	return plan(ChangingVoters, v1alpha1.ReasonChangingVoters, "%s is to apply configuration %d: %s.", rec.Leader.Member, rec.ConfigVersion, describe(rec.Rules)).
		do(ConfigureLeader{rec.Leader.Member, wire.ConfigureRequest{
			Epoch: rec.Epoch, Version: rec.ConfigVersion, Rules: rec.Rules,
			LeaseDurationMillis: d.specLeaseDuration().Milliseconds(),
		}}), true
}

// changeRules moves the commit rule towards the wanted one, one swap at a time. The leader already goes by the record's
// newest rules when this is called, because configure comes first.
func (d *decision) changeRules(rec Record) (Plan, bool) {
	if len(rec.Rules) == 2 {
		return d.finishRules(rec), true
	}
	now := rec.Rules[0]
	want := d.wantedRule(rec, now)
	if equalRule(now, want) {
		if d.Lease.Duration > 0 && d.write(rec).LeaseSeconds != int32(d.Lease.Duration/time.Second) {
			return d.writeRules(rec, "The Lease duration changes", rec.Rules), true
		}
		return Plan{}, false
	}
	next := nextRules(now, want)
	return d.writeRules(rec, "The commit rule changes", next), true
}

// finishRules drops the older rule once everything committed is held under the newer one. If the newer rule can no longer
// be met, or is no longer wanted, it goes back to the older rule, which is always safe while both are in force.
func (d *decision) finishRules(rec Record) Plan {
	s := d.Members[rec.Leader.Member].fresh()
	older, newer := rec.Rules[0], rec.Rules[1]
	number := d.Store.Spec.SynchronousNumber()
	if d.Store.Spec.Replication.Synchronous.Durability == v1alpha1.DurabilityPreferred {
		number = min(number, d.caughtUpOf(rec, older.Voters)) // one that is back and lags does not undo a lowering
	}
	switch {
	case newer.K < min(older.K, number): // must precede covers, which holds for every weaker rule
		return d.writeRules(rec, "More synchronous followers are asked for again", []replication.Rule{older})
	case covers(s, newer, rec.Start):
		return d.writeRules(rec, "Every committed write meets the newer rule", []replication.Rule{newer})
	case equalRule(d.wantedRule(rec, older), older):
		return d.writeRules(rec, "The newer rule is no longer asked for", []replication.Rule{older})
	case d.live(s, newer.Voters) < newer.K:
		return d.writeRules(rec, "The newer rule can no longer be met", []replication.Rule{older})
	default:
		return plan(ChangingVoters, v1alpha1.ReasonChangingVoters, "Both rules apply until the newer one covers every committed write: %s.", describe(rec.Rules)).again(shortly)
	}
}

// covers reports whether everything acknowledged in the leader's epoch is held under r, given that the leader already
// goes by r and another rule. It asks nothing of the other rule, which may name a voter that can never answer again.
//
// Until the barrier, the first record after start, is committed, nothing was acknowledged. A leader that is not writable
// yet may be past that point, while it still applies what followers have already applied.
func covers(leader *wire.Status, r replication.Rule, start replication.Mark) bool {
	held := 0
	for _, v := range r.Voters {
		if f, ok := leader.Followers[v.Member]; ok && f.Incarnation == v.Incarnation && !f.Seeding && f.Durable >= leader.Commit {
			held++
		}
	}
	return leader.Commit <= start.Position || held >= r.K
}

func (d *decision) writeRules(rec Record, why string, rules []replication.Rule) Plan {
	return plan(ChangingVoters, v1alpha1.ReasonChangingVoters, "%s: %s.", why, describe(rules)).
		do(d.write(rec.configured(rules...)))
}

// nextRules returns the next step from one rule to another.
//
// Whatever a leader acknowledges under now must at every moment satisfy the rules that the record makes the next election
// meet. If every set of acknowledgements under now also satisfies want, the record can name want first, and the leader
// follows. Otherwise newcomers are added first, which is always such a step, so that they can help to commit. Then both
// rules are recorded and in force until the leader has proven that the newer one covers everything committed.
//
// Any rule implies one with k = 0, but even then both rules are in force first. If a record names only a rule with k = 0,
// it follows that the leader is over once its Lease has expired, and only a leader that goes by such a rule needs its
// Lease to acknowledge.
func nextRules(now, want replication.Rule) []replication.Rule {
	both := []replication.Rule{now, want}
	if now.K > 0 && now.K <= len(now.Voters) && want.K == 0 {
		return both
	}
	if implies(now, want) {
		return []replication.Rule{want}
	}
	union := replication.Rule{K: now.K, Voters: slices.Clone(now.Voters)}
	for _, v := range want.Voters {
		if !names(union.Voters, v.Member) { // one rule never counts two incarnations of a member
			union.Voters = append(union.Voters, v)
		}
	}
	if len(union.Voters) > len(now.Voters) {
		sortVoters(union.Voters)
		return []replication.Rule{union}
	}
	return both
}

// implies reports whether every a.K voters of a include b.K voters of b. If nothing can satisfy a, it implies everything.
func implies(a, b replication.Rule) bool {
	if a.K > len(a.Voters) {
		return true
	}
	outside := 0
	for _, v := range a.Voters {
		if !slices.Contains(b.Voters, v) {
			outside++
		}
	}
	return b.K <= max(0, a.K-outside)
}

// wantedRule returns what the rule should be, given who is here. Members join once they have caught up. They leave when
// they are to be removed, come back with another data directory, or are gone for a long time, but only if the rest can
// commit without them, which takes voters that keep up: writes would wait for the whole backlog of one that lags. The same goes for members that a person took out: one whose pod is annotated as fenced still votes
// if the spec's number cannot be reached without it, and one that is to be reseeded still votes if writes would otherwise
// stop.
func (d *decision) wantedRule(rec Record, now replication.Rule) replication.Rule {
	s, number := d.Members[rec.Leader.Member].fresh(), d.Store.Spec.SynchronousNumber()
	surplus := d.surplus(rec)
	var kept, fenced, leaving []replication.Voter
	seat := func(v replication.Voter, leaves bool) {
		switch pod := d.Members[v.Member].Pod; {
		case leaves, pod != nil && pod.Reseed:
			leaving = append(leaving, v)
		case pod != nil && pod.Fenced:
			fenced = append(fenced, v)
		default:
			kept = append(kept, v)
		}
	}
	var joining []replication.Voter
	for _, m := range d.byOrdinal() {
		v, _ := m.voter()
		if m.Name != rec.Leader.Member && d.caughtUp(rec, m) && !surplus[m.Name] && !m.reseeds() && !slices.Contains(now.Voters, v) {
			joining = append(joining, v)
			seat(v, false)
		}
	}
	for _, v := range now.Voters {
		if !names(joining, v.Member) { // otherwise its next incarnation has caught up
			seat(v, surplus[v.Member] || d.replaced(s, v) || d.goneForLong(s, v))
		}
	}
	voters := kept
	if d.keepingUp(rec, voters) < number {
		voters = append(voters, fenced...)
	}
	switch need := min(now.K, number); {
	case d.live(s, voters) < need:
		voters = append(voters, leaving...)
	case d.keepingUp(rec, voters) < need: // those that are not heard would not help
		voters = append(voters, slices.DeleteFunc(leaving, func(v replication.Voter) bool { return !d.hears(s, v) })...)
	}
	sortVoters(voters)
	live := d.live(s, voters)
	if d.stalledForLong() {
		live = d.upToDate(s, voters)
	}
	return replication.Rule{Voters: voters, K: d.wantedK(now.K, live, d.readyVoters(rec, voters))}
}

// wantedK returns the spec's number, with two exceptions. It is raised only once that many voters are ready; until then
// writes go on under the old number, and status says so. With durability Preferred it is lowered, after a while, to the
// number of live voters; those that writes have waited for in vain for long do not count there.
func (d *decision) wantedK(now, live, ready int) int {
	sync := d.Store.Spec.Replication.Synchronous
	want := d.Store.Spec.SynchronousNumber()
	preferred := sync.Durability == v1alpha1.DurabilityPreferred
	switch {
	case want <= now && !(preferred && live < want):
		return want
	case ready >= want:
		return want
	case !preferred:
		return now
	case ready > now:
		return ready
	case live < now && (d.lasting("too few live voters", d.Settings.LowerAfter) || d.stalledForLong()):
		return live
	default:
		return min(now, want)
	}
}

// readyVoters returns the number of voters for which writes would not have to wait if k were raised. Once a rule is being
// changed, a voter may lag for a moment without the change being given up.
func (d *decision) readyVoters(rec Record, voters []replication.Voter) int {
	if len(rec.Rules) == 2 {
		return d.keepingUp(rec, voters)
	}
	return d.caughtUpOf(rec, voters)
}

// caughtUpOf returns the number of voters that the leader hears and that have caught up.
func (d *decision) caughtUpOf(rec Record, voters []replication.Voter) int {
	return d.count(rec, voters, d.caughtUp)
}

// keepingUp returns the number of voters that the leader hears and that keep up, see keepsUp.
func (d *decision) keepingUp(rec Record, voters []replication.Voter) int {
	return d.count(rec, voters, d.keepsUp)
}

// count returns the number of voters that the leader hears and that satisfy ok.
func (d *decision) count(rec Record, voters []replication.Voter, ok func(Record, Member) bool) int {
	leader, n := d.Members[rec.Leader.Member].fresh(), 0
	for _, v := range voters {
		if d.hears(leader, v) && ok(rec, d.Members[v.Member]) {
			n++
		}
	}
	return n
}

// live returns the number of voters that the leader hears, that are not being seeded, and whose disks do not hang.
func (d *decision) live(leader *wire.Status, voters []replication.Voter) int {
	n := 0
	for _, v := range voters {
		if d.hears(leader, v) {
			n++
		}
	}
	return n
}

// tooFewVoters returns a rule that the live voters cannot meet, if the leader answers and there is one.
func (d *decision) tooFewVoters(rec Record) (replication.Rule, bool) {
	if s := d.Members[rec.Leader.Member].fresh(); s != nil {
		for _, r := range rec.Rules {
			if d.live(s, r.Voters) < r.K {
				return r, true
			}
		}
	}
	return replication.Rule{}, false
}

func (d *decision) hears(leader *wire.Status, v replication.Voter) bool {
	f, ok := leader.Followers[v.Member]
	return ok && f.Incarnation == v.Incarnation && !f.Seeding && !d.Members[v.Member].hung() &&
		time.Duration(f.SilentMillis)*time.Millisecond < 2*d.Settings.SuspectAfter
}

// heard reports whether the leader says that it hears the follower name, which need not vote. It returns false if the
// leader does not answer.
func (d *decision) heard(rec Record, name string) bool {
	leader := d.Members[rec.Leader.Member]
	if !leader.leads(rec) {
		return false
	}
	f, ok := leader.fresh().Followers[name]
	return ok && time.Duration(f.SilentMillis)*time.Millisecond < 2*d.Settings.SuspectAfter
}

// findUnheard finds the followers that the leader, which answers, has not heard for a long time, and those whose disks
// have hung for a long time. A follower that says that it is being seeded does not count, because it acknowledges nothing
// in the meantime. Decide calls findUnheard first, so that the timing is not interrupted whatever else is decided.
func (d *decision) findUnheard() {
	d.unheard = map[string]bool{}
	rec := d.Lease.Record
	if rec == nil || !d.Members[rec.Leader.Member].leads(*rec) {
		return
	}
	for _, m := range d.byOrdinal() {
		s := m.fresh()
		if m.Name == rec.Leader.Member || d.heard(*rec, m.Name) && !m.hung() || s != nil && s.Seeding != nil {
			continue
		}
		d.unheard[m.Name] = d.lastingQuietly("unheard: "+m.Name, d.Settings.VoterGoneAfter)
	}
}

// replaced reports whether the member of v's name now has another data directory. If so, v will never answer again.
func (d *decision) replaced(leader *wire.Status, v replication.Voter) bool {
	if f, ok := leader.Followers[v.Member]; ok && f.Incarnation != v.Incarnation {
		return true
	}
	mv, ok := d.Members[v.Member].voter()
	return ok && mv != v
}

func (d *decision) goneForLong(leader *wire.Status, v replication.Voter) bool {
	return !d.hears(leader, v) && d.lasting("voter gone: "+v.Member+"@"+v.Incarnation, d.Settings.VoterGoneAfter)
}

// lasting notes that fact holds now, and reports whether it has held for long enough.
func (d *decision) lasting(fact string, enough time.Duration) bool {
	if !slices.Contains(d.holding, fact) {
		d.holding = append(d.holding, fact)
	}
	return d.Held[fact] >= enough
}

// keepTiming goes on timing fact, if it is being timed, in a step that cannot tell whether it still holds.
func (d *decision) keepTiming(fact string) {
	if _, timed := d.Held[fact]; timed {
		d.lasting(fact, 0)
	}
}

func names(vs []replication.Voter, member string) bool {
	return slices.ContainsFunc(vs, func(v replication.Voter) bool { return v.Member == member })
}

func sortVoters(vs []replication.Voter) {
	slices.SortFunc(vs, func(a, b replication.Voter) int {
		return cmp.Or(cmp.Compare(len(a.Member), len(b.Member)), strings.Compare(a.Member, b.Member), strings.Compare(a.Incarnation, b.Incarnation))
	})
}

func equalRule(a, b replication.Rule) bool { return a.K == b.K && slices.Equal(a.Voters, b.Voters) }

// describe formats rules for people: "1 of [orders-2, orders-3]".
func describe(rules []replication.Rule) string {
	parts := make([]string, 0, len(rules))
	for _, r := range rules {
		names := make([]string, 0, len(r.Voters))
		for _, v := range r.Voters {
			names = append(names, v.Member)
		}
		parts = append(parts, strconv.Itoa(r.K)+" of ["+strings.Join(names, ", ")+"]")
	}
	return strings.Join(parts, " and ")
}
