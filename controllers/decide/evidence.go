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

// evidence is what members hold, by name: either said under a promise (fence answers), or said without one, to judge
// beforehand whether fencing can succeed.
type evidence map[string]holding

type holding struct {
	voter   replication.Voter
	last    replication.Mark
	told    replication.Mark // see wire.Status
	toldAgo time.Duration    // since the leader that told was heard last; the longest there is where that is not known
	empty   bool
	seeding bool
}

// promised is the evidence of this pass's fence answers for epoch e.
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

// foreseen is the evidence that fencing would bring if every member that answers now answers again. One whose disk hangs would not.
func (d *decision) foreseen() evidence {
	ev := evidence{}
	for name, m := range d.Members {
		if s := m.fresh(); s != nil && !m.hung() {
			ev[name] = holding{replication.Voter{Member: name, Incarnation: s.Incarnation}, s.Durable, s.Told, toldAgo(s.ToldMillis, 0), s.Empty, s.NeedSeed}
		}
	}
	return ev
}

// toldAgo is how long ago a leader was heard by a member that said so some time ago. One from before members said it does not.
func toldAgo(millis *int64, said time.Duration) time.Duration {
	if millis == nil {
		return math.MaxInt64
	}
	return time.Duration(*millis)*time.Millisecond + said
}

// has tells whether v, in this very incarnation, is among the members and holds a prefix of the log.
func (ev evidence) has(v replication.Voter) bool {
	h, ok := ev[v.Member]
	return ok && h.voter == v && !h.seeding
}

// unsettled are the leaderships of rec that an election by ev must meet. Those before one whose own leader is among ev are settled by
// its election: the log that it was elected on includes what they acknowledged, or the record tells of the loss already, and they
// could acknowledge nothing after it. The leader has that log as long as it has no less than it began with: if a later election took
// something of it away, that one had to meet the earlier leaderships itself.
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

// without lists those of names for which there is no evidence.
func (ev evidence) without(names []string) []string {
	var out []string
	for _, n := range names {
		if _, ok := ev[n]; !ok {
			out = append(out, n)
		}
	}
	return out
}

// String tells who holds what, for people.
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

// neverAcknowledged tells whether l cannot have acknowledged a write: it never had voters enough, or its leader, in the
// incarnation that led, has nothing on disk.
func (ev evidence) neverAcknowledged(l replication.Leadership) bool {
	if h, ok := ev[l.Leader.Member]; ok && h.voter == l.Leader && h.empty && !h.seeding {
		return true
	}
	return l.Inert()
}

// elect chooses among the evidence, for a record that is Fencing. The second result says why nobody can lead.
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
		return holding{}, &gate{v1alpha1.ReasonTargetUnfit, fmt.Sprintf("Only %s holds %v, and its pod is annotated %s: remove the annotation to let it lead.",
			all[best].Voter.Member, all[best].Last, v1alpha1.AnnotationFenced)}
	}
	return ev[willing[i].Voter.Member], nil
}

// Weights of preference, each above the sum of those before it.
const (
	weighShared   = 100       // a member in the same zone; at most 8 of them
	weighZone     = 1_000     // a place in spec.failover.preferredZones; at most 8
	weighNonVoter = 10_000    // see heir
	weighOutdated = 20_000    // see heir
	weighReplays  = 40_000    // see heir
	weighFailed   = 80_000    // it led last, and did not get as far as to take writes, or did not renew its Lease
	weighLeaving  = 160_000   // it does not stay
	weighLosing   = 320_000   // its data does not stay
	weighAside    = 640_000   // see Record.Aside
	weighWish     = 1_280_000 // it is not the one asked for
)

// preference breaks ties between members that hold the same: the wish, then those that were not set aside, then those whose data stays, then
// those that stay themselves, then the preferred zones, then the zone that fewest others share (so that losing the leader's zone leaves the most voters), then the ordinal.
func (d *decision) preference(rec Record, name string, ev evidence) int {
	m := d.Members[name]
	p := m.Ordinal
	if m.Pod == nil || m.Pod.Deleting || m.leaves() || m.Pod.Cordoned || d.surplus(rec)[name] {
		p += weighLeaving
	}
	if m.Pod != nil && m.Pod.Reseed || m.losesData() {
		p += weighLosing
	}
	if d.failed(rec, name) {
		p += weighFailed
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

// failed tells whether the change that goes on began, or begins, because of name: it was elected last in this very change, or answers and
// does not renew its Lease, which tells nothing any more if it leads again.
func (d *decision) failed(rec Record, name string) bool {
	if n := len(rec.Binding); n > 1 && rec.Binding[n-1].Leader.Member == name {
		return true
	}
	ls := rec.Leaderships()
	return rec.Reason == reasonLeaseExpired && len(ls) > 0 && ls[len(ls)-1].Leader.Member == name
}

// zoneRank is the place of the member's zone among the preferred ones; their number when it is none of them.
func (d *decision) zoneRank(m Member) int {
	zones := d.Store.Spec.Failover.PreferredZones
	if m.Pod != nil {
		if i := slices.Index(zones, m.Pod.Zone); i >= 0 {
			return i
		}
	}
	return len(zones)
}
