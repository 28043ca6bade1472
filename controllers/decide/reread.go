package decide

import "slices"

// Reads names what an observer takes from the API server.
type Reads struct {
	// Record is the store's Lease.
	Record bool
	// Members is the list of pods and claims.
	Members bool
	// Store is the store object, its spec and annotations.
	Store bool
}

// Any reports whether r names anything.
func (r Reads) Any() bool { return r != Reads{} }

// And returns the union of r and o.
func (r Reads) And(o Reads) Reads {
	return Reads{r.Record || o.Record, r.Members || o.Members, r.Store || o.Store}
}

// Outcome is what a plan amounts to, in two words.
type Outcome struct {
	State  State
	Reason string
}

// Outcome returns the plan's outcome.
func (p Plan) Outcome() Outcome { return Outcome{p.State, p.Reason} }

// reread names what was read from a cache and must be read from the API server itself before anything of p is done,
// reported or published.
//
// A cache may lag by seconds. A cached record that is the same as when it was last read uncached is good enough to find
// that there is nothing to do and nothing new, which is what most looks find. For anything else the record is read again,
// and also while the leader seems not to renew its Lease. The list of members has to be complete only while no record
// says who they are or something seems to be missing from it: a member that the cache does not show yet would not be
// waited for then. The list is also read again before data is discarded, because a person asks for that on a pod and may
// have taken it back. The spec and the annotations say what a person consents to and what the operator must leave alone, so
// no action is taken on an old copy of them.
func (d *decision) reread(p Plan) Reads {
	return Reads{
		Record:  d.Cached.Record && (len(p.Actions) > 0 || p.Outcome() != d.Before || d.doubtful),
		Members: d.Cached.Members && (d.everybody || p.discards()),
		Store:   d.Cached.Store && len(p.Actions) > 0,
	}
}

// discards reports whether p discards what a member holds.
func (p Plan) discards() bool {
	return p.State == Reseeding || slices.ContainsFunc(p.Actions, func(a Action) bool { _, ok := a.(DeleteClaim); return ok })
}
