package decide

// Reads are what an observer takes from the API server.
type Reads struct {
	// Record: the store's Lease.
	Record bool
	// Members: the list of pods and claims.
	Members bool
	// Store: the store itself, its spec and annotations.
	Store bool
}

// Any tells whether there is one.
func (r Reads) Any() bool { return r != Reads{} }

// And is both together.
func (r Reads) And(o Reads) Reads {
	return Reads{r.Record || o.Record, r.Members || o.Members, r.Store || o.Store}
}

// Outcome is what a plan comes to, in two words.
type Outcome struct {
	State  State
	Reason string
}

// Outcome of the plan.
func (p Plan) Outcome() Outcome { return Outcome{p.State, p.Reason} }

// reread names what was read from a cache and has to be read from the API server itself before anything of p is done, said or
// published.
//
// A cache may be behind by seconds. A record that it shows as it was read last is good enough to find that there is nothing to do
// and nothing new, which is all that most looks find; and for anything else the record is read, and so it is while the leader seems not
// to renew the Lease. The list of members is relied on as
// a whole only while no record tells who they are: a member that the cache does not show yet would not be waited for then.
// The spec and the annotations say what a person consents to, and what the operator must leave alone: nothing is done on an older word.
func (d *decision) reread(p Plan) Reads {
	return Reads{
		Record:  d.Cached.Record && (len(p.Actions) > 0 || p.Outcome() != d.Before || d.doubtful),
		Members: d.Cached.Members && d.everybody,
		Store:   d.Cached.Store && len(p.Actions) > 0,
	}
}
