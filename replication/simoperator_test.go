package replication_test

import (
	"slices"
	"time"

	. "github.com/replicatedstore/replicatedstore/replication"
)

// operatorDies forgets everything that is not in the record.
func (w *world) operatorDies() { w.fenced = map[Voter]FenceAnswer{} }

// operate does one step of the protocol page from the record alone.
func (w *world) operate() {
	switch w.rec.phase {
	case "Fencing":
		w.fence()
	case "Promoting":
		w.promote()
	case "Stable":
		w.steady()
	}
}

// fail begins a failover: CAS to the next epoch.
func (w *world) fail() {
	if l := (Leadership{Epoch: w.rec.epoch, Leader: w.rec.leader, Rules: w.rec.rules}); w.rec.phase != "Fencing" && !l.Inert() {
		w.rec.binding = append(slices.Clone(w.rec.binding), l)
	}
	w.rec.epoch++
	w.rec.phase, w.rec.leader = "Fencing", Voter{}
	w.fenced = map[Voter]FenceAnswer{}
	w.logf("record: epoch %d Fencing, binding %v", w.rec.epoch, w.rec.binding)
}

func (w *world) fence() {
	m := w.members[w.rng.IntN(len(w.members))]
	if m.rep == nil {
		return
	}
	a, err := m.rep.Fence(w.rec.epoch, w.now)
	if err != nil {
		return
	}
	for _, o := range w.members {
		if o.conn != nil && o.conn.to == m {
			o.conn = nil
		}
	}
	m.conn = nil
	if !m.stable.p.NeedSeed {
		w.fenced[m.voter] = a
	}
	has := func(v Voter) bool { _, ok := w.fenced[v]; return ok }
	for _, l := range w.rec.binding {
		if !l.Fenced(has) {
			return
		}
	}
	if len(w.acked) == 0 && len(w.fenced) < len(w.members) {
		return // bootstrap: everybody must say that it is empty
	}
	var cs []Candidate
	for i, m := range w.members {
		if a, ok := w.fenced[m.voter]; ok {
			cs = append(cs, Candidate{Voter: m.voter, Last: a.Last, Preference: i})
		}
	}
	best := cs[Elect(cs)]
	if w.find(best.Voter.Member).rep == nil {
		delete(w.fenced, best.Voter)
		return
	}
	var vs []Voter
	for _, c := range cs {
		if c.Voter != best.Voter && w.wasVoter(c.Voter) {
			vs = append(vs, c.Voter)
		}
	}
	w.rec.phase, w.rec.leader, w.rec.start, w.rec.version = "Promoting", best.Voter, best.Last, w.rec.version+1
	w.rec.rules = []Rule{{Voters: vs, K: w.k}}
	w.logf("record: epoch %d Promoting %s at %v, voters %v", w.rec.epoch, best.Voter.Member, best.Last, vs)
}

func (w *world) wasVoter(v Voter) bool {
	for _, l := range w.rec.binding {
		for _, r := range l.Rules {
			if slices.Contains(r.Voters, v) {
				return true
			}
		}
	}
	return false
}

func (w *world) promote() {
	m := w.find(w.rec.leader.Member)
	if m.rep == nil {
		w.fail()
		return
	}
	if m.rep.Role() != RoleLeader {
		err := m.rep.Promote(Promotion{Epoch: w.rec.epoch, Version: w.rec.version, Rules: w.rec.rules, Start: w.rec.start}, w.now.UnixMilli(), w.now)
		if err != nil {
			w.logf("%s refuses to lead: %v", m.name, err)
			w.fail()
			return
		}
	}
	w.pointFollowers()
	w.voters()
	if m.rep.Writable() {
		w.rec.phase, w.rec.binding = "Stable", nil
		w.logf("record: epoch %d Stable, rules %v", w.rec.epoch, w.rec.rules)
	} else if !w.quiet && w.rng.IntN(200) == 0 {
		w.fail()
	}
}

func (w *world) steady() {
	m := w.leader()
	if m == nil || !w.quiet && w.rng.IntN(100) == 0 {
		w.fail()
		return
	}
	w.pointFollowers()
	w.voters()
}

func (w *world) pointFollowers() {
	for _, m := range w.members {
		if m.rep != nil && m.name != w.rec.leader.Member {
			_ = m.rep.Follow(w.rec.epoch, w.rec.leader.Member, "address")
		}
	}
}

// voters changes the rules one step at a time: tell the leader both, record both, wait until covered, record the new
// one, tell the leader.
func (w *world) voters() {
	m := w.leader()
	if m == nil {
		return
	}
	rules, version := m.rep.Rules()
	if version < w.rec.version {
		_ = m.rep.Configure(w.rec.epoch, w.rec.version, w.rec.rules, w.now)
		return
	}
	switch {
	case len(w.rec.rules) == 2:
		if m.rep.CommitCovered() && version == w.rec.version {
			w.rec.rules, w.rec.version = w.rec.rules[1:], w.rec.version+1
		}
	case len(rules) == 2 && version > w.rec.version:
		w.rec.rules, w.rec.version = rules, version // the CAS that an earlier operator did not reach
		w.logf("record: rules %v", rules)
	default:
		if want, change := w.wanted(m); change {
			both := []Rule{w.rec.rules[0], want}
			_ = m.rep.Configure(w.rec.epoch, w.rec.version+1, both, w.now)
			if w.rng.IntN(4) > 0 {
				w.rec.rules, w.rec.version = both, w.rec.version+1
				w.logf("record: rules %v", both)
			}
		}
	}
}

func (w *world) wanted(m *member) (Rule, bool) {
	cur := w.rec.rules[0]
	for _, f := range m.rep.Followers(w.now) {
		if f.CaughtUp && !slices.Contains(cur.Voters, f.Voter) {
			return Rule{Voters: append(slices.Clone(cur.Voters), f.Voter), K: w.k}, true
		}
	}
	if !w.quiet && len(cur.Voters) > w.k && w.rng.IntN(50) == 0 {
		i := w.rng.IntN(len(cur.Voters))
		f, ok := m.rep.Followers(w.now)[cur.Voters[i].Member]
		if !ok || f.Silent > 200*time.Millisecond {
			return Rule{Voters: slices.Delete(slices.Clone(cur.Voters), i, i+1), K: w.k}, true
		}
	}
	return Rule{}, false
}
