package decide

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/replication"
)

// evidence is what members hold, by name. It is either backed by a promise (fence answers), or not (statuses), and then
// only serves to judge in advance whether fencing can succeed.
type evidence map[string]holding

type holding struct {
	voter   replication.Voter
	last    replication.Mark
	told    replication.Mark // see wire.Status
	toldAgo time.Duration    // since the leader that told it was last heard; math.MaxInt64 if unknown
	empty   bool
	seeding bool
}

// promised returns the evidence from this pass's fence answers for epoch e.
func (d *decision) promised(e replication.Epoch) evidence {
	ev := evidence{}
	if d.Pass.FencedEpoch != e {
		return ev
	}
	for name, f := range d.Pass.Fences {
		if f.Promised == e && !d.Members[name].Foreign {
			ev[name] = holding{replication.Voter{Member: name, Incarnation: f.Incarnation}, f.Last, f.Told, toldAgo(f.ToldMillis, 0), f.Empty, f.Seeding}
		}
	}
	return ev
}

// foreseen returns the evidence that fencing would bring if every member that answers now answered again. A member whose
// disk hangs would not.
func (d *decision) foreseen() evidence {
	ev := evidence{}
	for name, m := range d.Members {
		if s := m.fresh(); s != nil && !m.hung() {
			ev[name] = holding{replication.Voter{Member: name, Incarnation: s.Incarnation}, s.Durable, s.Told, toldAgo(s.ToldMillis, 0), s.Empty, s.NeedSeed}
		}
	}
	return ev
}

// toldAgo returns how long ago the leader was heard by a member that reported millis when it answered, which is said ago.
// Members of earlier versions do not report it.
func toldAgo(millis *int64, said time.Duration) time.Duration {
	if millis == nil {
		return math.MaxInt64
	}
	return time.Duration(*millis)*time.Millisecond + said
}

// has reports whether v, in this very incarnation, is among the members and holds a prefix of the log.
func (ev evidence) has(v replication.Voter) bool {
	h, ok := ev[v.Member]
	return ok && h.voter == v && !h.seeding
}

// unsettled returns the leaderships of rec whose fence conditions an election among ev must meet. If the leader of one of
// them is itself in ev, its own election has settled the earlier ones: the log it was elected with includes everything
// that they acknowledged, or the record already tells of the loss, and they could acknowledge nothing afterwards. The
// leader still has that log if it holds at least as much as it began with. If a later election took some of it away, that
// election had to meet the conditions of the earlier leaderships itself.
func (ev evidence) unsettled(rec Record) []replication.Leadership {
	ls := rec.Leaderships()
	for i := len(ls) - 1; i > 0; i-- {
		l := ls[i]
		if l.Start != (replication.Mark{}) && ev.has(l.Leader) && ev[l.Leader.Member].last.Compare(l.Start) >= 0 {
			return ls[i:]
		}
	}
	return ls
}

// without returns those of names for which there is no evidence.
func (ev evidence) without(names []string) []string {
	var out []string
	for _, n := range names {
		if _, ok := ev[n]; !ok {
			out = append(out, n)
		}
	}
	return out
}

// String describes for people who holds what.
func (ev evidence) String() string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(ev)) {
		h := ev[name]
		switch {
		case h.seeding:
			parts = append(parts, name+" is being seeded")
		case h.empty:
			parts = append(parts, name+" is empty")
		default:
			parts = append(parts, fmt.Sprintf("%s holds %v", name, h.last))
		}
	}
	return cmp.Or(strings.Join(parts, ", "), "no member answers")
}

// neverAcknowledged reports whether l cannot have acknowledged a write: it never had enough voters, or its leader, in the
// incarnation that led, has nothing on disk.
func (ev evidence) neverAcknowledged(l replication.Leadership) bool {
	if h, ok := ev[l.Leader.Member]; ok && h.voter == l.Leader && h.empty && !h.seeding {
		return true
	}
	return l.Inert()
}

// elect chooses a leader from the evidence, for a record that is Fencing. If nobody can lead, the gate says why.
func (d *decision) elect(rec Record, ev evidence) (holding, *gate) {
	nothingHeld := len(rec.EveryMember) == 0
	for _, l := range rec.Leaderships() {
		nothingHeld = nothingHeld && ev.neverAcknowledged(l)
	}
	var all, willing []replication.Candidate
	for _, name := range slices.Sorted(maps.Keys(ev)) {
		h := ev[name]
		if h.seeding || h.empty && !nothingHeld {
			continue
		}
		c := replication.Candidate{Voter: h.voter, Last: h.last, Preference: d.preference(rec, name, ev)}
		all = append(all, c)
		if p := d.Members[name].Pod; p == nil || !p.Fenced {
			willing = append(willing, c)
		}
	}
	best := replication.Elect(all)
	if best < 0 {
		return holding{}, &gate{v1alpha1.ReasonNoCandidate, fmt.Sprintf("No fenced member can lead: %v.%s", ev, d.allGone(rec, ev))}
	}
	i := replication.Elect(willing)
	if i < 0 || willing[i].Last.Compare(all[best].Last) < 0 {
		return holding{}, &gate{v1alpha1.ReasonTargetUnfit, fmt.Sprintf("Only %s holds %v, but its pod is annotated %s: remove the annotation to let it lead.",
			all[best].Voter.Member, all[best].Last, v1alpha1.AnnotationFenced)}
	}
	return ev[willing[i].Voter.Member], nil
}

// Weights that preference adds. The lowest preference wins; each weight exceeds the sum of all those before it.
const (
	weighShared   = 100       // for each other member in the same zone; at most 8
	weighZone     = 1_000     // for each place in spec.failover.preferredZones; at most 8
	weighNonVoter = 10_000    // see heir
	weighOutdated = 20_000    // see heir
	weighReplays  = 40_000    // see heir
	weighCordoned = 80_000    // its node is about to be drained
	weighTemplate = 160_000   // members made from its template did not last as leaders; see UpdateFailures
	weighFailed   = 320_000   // it led last and never came to take writes, or did not renew its Lease; see failed
	weighLeaving  = 640_000   // it will not stay
	weighLosing   = 1_280_000 // its data will not stay
	weighAside    = 2_560_000 // see Record.Aside
	weighWish     = 5_120_000 // it is not the one asked for
)

// preference breaks ties between members that hold the same; lower is better. It prefers, in this order: the member asked
// for, members that were not set aside, members whose data stays, members that stay themselves, members that have not
// just failed, members whose template can lead, members whose nodes are not cordoned, the preferred zones, the zone shared
// with the fewest other members (so that losing the leader's zone leaves the most voters), and the lowest ordinal.
func (d *decision) preference(rec Record, name string, ev evidence) int {
	m := d.Members[name]
	p := m.Ordinal
	if m.Pod == nil || m.Pod.Deleting || m.leaves() || d.surplus(rec)[name] {
		p += weighLeaving
	}
	if m.Pod != nil && m.Pod.Cordoned {
		p += weighCordoned
	}
	if m.Pod != nil && m.Pod.Reseed || m.losesData() {
		p += weighLosing
	}
	if d.failed(rec, name) {
		p += weighFailed
	}
	if m.Pod != nil && !d.Outdated(m) && d.updateFailures(rec) != nil {
		p += weighTemplate
	}
	if slices.Contains(rec.Aside, name) {
		p += weighAside
	}
	if rec.Target != name {
		p += weighWish
	}
	p += weighZone * d.zoneRank(m)
	for other := range ev {
		o := d.Members[other]
		if other != name && m.Pod != nil && o.Pod != nil && m.Pod.Zone != "" && o.Pod.Zone == m.Pod.Zone {
			p += weighShared
		}
	}
	return p
}

// failed reports whether name caused the present change of leader: it was the last one elected during this change, or it
// was the last leader and answers but does not renew its Lease. The latter says nothing any more once it leads again. The
// last one that an update handed over to in vain has failed, too: the next attempt goes to another member. So has, for a
// while, the last one that should have led only because it is in a better place.
func (d *decision) failed(rec Record, name string) bool {
	if f := d.updateFailures(rec); f != nil && f.Member == name {
		return true
	}
	if f := d.homeFailures(rec); f != nil && f.Member == name && d.homeRests(rec, name) > 0 {
		return true
	}
	if n := len(rec.Binding); n > 1 && rec.Binding[n-1].Leader.Member == name {
		return true
	}
	ls := rec.Leaderships()
	return rec.Reason == reasonLeaseExpired && len(ls) > 0 && ls[len(ls)-1].Leader.Member == name
}

// zoneRank returns the place of the member's zone among the preferred zones, or the number of these if it is not one of
// them.
func (d *decision) zoneRank(m Member) int {
	zones := d.Store.Spec.Failover.PreferredZones
	if m.Pod != nil {
		if i := slices.Index(zones, m.Pod.Zone); i >= 0 {
			return i
		}
	}
	return len(zones)
}
