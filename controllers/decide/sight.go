package decide

import "time"

// Sight is what an operator sees of a store's recorded leader.
type Sight uint8

const (
	// SightNone: no leader is recorded, or nothing follows from what is seen.
	SightNone Sight = iota
	// SightClear: the leader answers.
	SightClear
	// SightBlind: the leader does not answer but renews its Lease. So it is alive, and it is this operator that cannot reach
	// it.
	SightBlind
)

// blindAfter is how long a leader must not have answered. It is far longer than a failover takes, so only what a failover
// does not mend is counted.
const blindAfter = 10 * time.Second

// Sight judges what this operator sees of the leader that the record names.
func (o Observed) Sight() Sight {
	rec := o.Lease.Record
	if rec == nil || rec.Phase != PhaseStable {
		return SightNone
	}
	leader := o.Members[rec.Leader.Member]
	switch {
	case leader.fresh() != nil:
		return SightClear
	case !leader.reachable() || leader.Probe.For < blindAfter:
		return SightNone
	case o.Lease.Holder != leader.Name || o.Lease.UnchangedFor >= o.Lease.Duration/2: // the leader renews it every third of its duration
		return SightNone
	default:
		return SightBlind
	}
}

// Sights counts the stores whose leader is seen, and those whose leader is alive but not seen.
type Sights struct{ Clear, Blind int }

// Count adds one store.
func (s *Sights) Count(of Sight) {
	switch of {
	case SightClear:
		s.Clear++
	case SightBlind:
		s.Blind++
	case SightNone:
	}
}

// Blinded reports whether another operator is likely to see more than this one, which fails to see more than half of the
// leaders.
func (s Sights) Blinded() bool { return s.Blind > s.Clear }

// Seeing reports whether this operator is certainly not blinded. An operator that sees no leader may merely have none to
// see, so it is neither.
func (s Sights) Seeing() bool { return s.Clear > 0 && !s.Blinded() }
