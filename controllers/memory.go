package controllers

import (
	"sync/atomic"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/replicatedstore/replicatedstore/controllers/decide"
)

// memory is what is remembered of one store between passes. Passes of one store never overlap, so only two parts need
// synchronization: the Lease's clock, which events feed too, and sight, which the operators' election reads.
type memory struct {
	*decide.Memory
	applied map[string]applied // children, by kind and name
	alone   int                // the undisturbed period in which they were applied; see Election.undisturbed
	refused map[string]refusal // claims that may not grow, by member
	// unapplied, unrouted and refusedLast are described in decide.Observed.
	unapplied   map[string]decide.Unapplied
	unrouted    string
	refusedLast string
	lates       map[string]lateness // kinds of children that were not applied in time
	said        decide.Outcome      // what was last announced

	published time.Time // when the pass that last wrote status began

	warned map[string]time.Time // when each failure was reported, by its text

	// noted is when each of Plan.Notes was last seen; nil before the first pass.
	noted map[string]time.Time

	version leaseVersion
	sight   atomic.Uint32 // decide.Sight of the newest pass
	// routed is what was written to the -rw Service's EndpointSlice and has not come back yet; routeVersion is what the
	// cache holds.
	routed       *routed
	routeVersion string
	routeFamily  discoveryv1.AddressType // address family of the route's endpoint
}

// applied is what was sent for one child, so that it is not sent again needlessly.
type applied struct {
	hash    string
	uid     types.UID
	version string // resulting resourceVersion; compared only for children that a store has once
}

// refusal is why the API server did not let a claim request more, and when.
type refusal struct {
	why  string
	size string
	at   time.Time
}

func newMemory() *memory {
	return &memory{
		Memory: decide.NewMemory(), applied: map[string]applied{}, refused: map[string]refusal{}, unapplied: map[string]decide.Unapplied{},
		lates: map[string]lateness{}, warned: map[string]time.Time{},
	}
}

// resume forgets what was applied if another operator has acted since: that one may have applied other things.
func (m *memory) resume(now int) {
	if m.alone != now {
		m.alone = now
		clear(m.applied)
	}
}

// noteAgain is how long a note must not have been seen to count as new again: a member that does not answer for a moment has
// not started over.
const noteAgain = 10 * time.Minute

// fresh returns the notes to tell now: those that were not seen before. Those of the first pass were told by the operator before this
// one, and those seen on standby by the one that acts. Notes to be told at first may have been told by nobody, so they wait until this
// operator acts.
func (m *memory) fresh(notes []decide.Note, standby bool, now time.Time) (out []decide.Note) {
	first := m.noted == nil
	if first {
		m.noted = map[string]time.Time{}
	}
	for _, n := range notes {
		_, known := m.noted[n.Key]
		switch {
		case known:
		case standby && n.AtFirst:
			continue
		case !standby && (!first || n.AtFirst):
			out = append(out, n)
		}
		m.noted[n.Key] = now
	}
	for key, seen := range m.noted {
		if now.Sub(seen) >= noteAgain {
			delete(m.noted, key)
		}
	}
	return out
}

// renewalOf tells the renewals of a Lease (nil: there is none) apart; see decide.LeaseClock.
func renewalOf(l *coordinationv1.Lease) int64 {
	if l == nil || l.Spec.RenewTime == nil {
		return 0
	}
	return l.Spec.RenewTime.UnixMicro()
}

// holderOf returns who has renewed the Lease. The operator writes the holder, so a holder that has not renewed yet does not
// count.
func holderOf(l *coordinationv1.Lease) string {
	if l.Spec.RenewTime == nil || l.Spec.HolderIdentity == nil {
		return ""
	}
	return *l.Spec.HolderIdentity
}
