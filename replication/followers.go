package replication

import (
	"hash/fnv"
	"slices"
	"strings"
	"time"
)

// Follower is the leader's view of one follower.
type Follower struct {
	Voter    Voter
	Durable  Position
	Applied  Position
	CaughtUp bool
	Live     bool
	Silent   time.Duration
	Seeding  bool
	Address  string // host:port of its peer port; "" when it has none
}

// Followers returns every follower that has said Hello in this epoch, by name.
func (r *Replica) Followers(now time.Time) map[string]Follower {
	if r.lead == nil {
		return nil
	}
	out := make(map[string]Follower, len(r.lead.followers))
	for name, p := range r.lead.followers {
		out[name] = Follower{
			Voter: p.voter, Durable: p.durable, Applied: p.applied, Silent: now.Sub(p.heardAt),
			Live: p.live, Seeding: p.seeding,
			CaughtUp: r.lead.caughtUp(p), Address: p.address,
		}
	}
	return out
}

// Held appends to dst the durable position of every follower that has said Hello in this epoch, in no particular order.
func (r *Replica) Held(dst []Position) []Position {
	if r.lead != nil {
		for _, p := range r.lead.followers {
			dst = append(dst, p.durable)
		}
	}
	return dst
}

// Source is a follower that can send a snapshot in the leader's place.
type Source struct {
	Voter   Voter
	Address string
	// Applied is how far the follower's state machine had got in its last acknowledgement. A checkpoint made from now on
	// reaches at least that far.
	Applied Position
}

// Sources returns, by name, the followers that can seed another: they keep up, and this leader's log continues every state
// that they have from now on.
func (r *Replica) Sources(now time.Time) []Source {
	if r.lead == nil {
		return nil
	}
	var out []Source
	for _, p := range r.lead.followers {
		if r.lead.caughtUp(p) && now.Sub(p.heardAt) < 3*grantTime && !p.seeding && p.address != "" && p.applied > 0 && p.applied+1 >= r.log.First() {
			out = append(out, Source{p.voter, p.address, p.applied})
		}
	}
	slices.SortFunc(out, func(a, b Source) int { return strings.Compare(a.Voter.Member, b.Voter.Member) })
	return out
}

// CaughtUpDigest returns a digest that changes whenever the set of caught-up followers does, or 0 when not leading.
func (r *Replica) CaughtUpDigest() (d uint64) {
	if r.lead == nil {
		return 0
	}
	for _, p := range r.lead.followers {
		if r.lead.caughtUp(p) {
			h := fnv.New64a()
			_, _ = h.Write([]byte(p.voter.Member + "@" + p.voter.Incarnation))
			d ^= h.Sum64() // order does not matter
		}
	}
	return d
}

// caughtUp reports whether p has a stream and holds at least what the leader held a whole tick ago. Such a follower keeps
// up, whatever the write rate.
func (l *leading) caughtUp(p *progress) bool { return p.live && p.durable >= l.ends[1] }
