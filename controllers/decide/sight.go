package decide

import "time"

// Sight is what an operator sees of a store's recorded leader.
type Sight uint8

const (
	// SightNone: nobody is recorded to lead, or nothing follows from what is seen.
	SightNone Sight = iota
	// SightClear: the leader answers.
	SightClear
	// SightBlind: the leader does not answer, and renews its Lease: so it lives, and it is this operator that does not reach it.
	SightBlind
)

// blindAfter is how long a leader must not have answered: far longer than a failover takes, so that it counts only what one does not mend.
const blindAfter = 10 * time.Second

// Sight judges the leader that the record names.
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
	case o.Lease.Holder != leader.Name || o.Lease.UnchangedFor >= o.Lease.Duration/2: // it is renewed every third of that
		return SightNone
	default:
		return SightBlind
	}
}

// Sights counts the stores whose leader is seen, and those whose leader lives and is not.
type Sights struct{ Clear, Blind int }

// Count adds a store.
func (s *Sights) Count(of Sight) {
	switch of {
	case SightClear:
		s.Clear++
	case SightBlind:
		s.Blind++
	case SightNone:
	}
}

// Blinded tells whether another operator is likely to see more than this one, which misses more than half of the leaders.
func (s Sights) Blinded() bool { return s.Blind > s.Clear }

// Seeing tells whether this operator certainly is not: it may also see nothing because there is nothing to see.
func (s Sights) Seeing() bool { return s.Clear > 0 && !s.Blinded() }
