package role

import "github.com/replicatedstore/replicatedstore/replication/wire"

// Leaves notes that this member was told to end, so that the operator, which may not learn of it otherwise, looks for a
// successor. It may be called by any goroutine.
func (m *Member) Leaves() { m.works.Post(func() { m.leaving = true }) }

// Leaving decides from successive statuses when a member that is told to stop may do so. It may not while it leads
// followers, because one of them is to take over. If it led, it may not before it knows its successor either, so that
// requests its clients sent in between are forwarded.
type Leaving struct{ led bool }

// May reports whether the member may stop. Call it repeatedly until it does, or until patience runs out.
func (l *Leaving) May(s wire.Status) bool {
	if s.Role == wire.RoleLeader {
		l.led = followed(s)
		return !l.led
	}
	return !l.led || s.Leader != ""
}

// followed reports whether anybody could take over.
func followed(s wire.Status) bool {
	for _, f := range s.Followers {
		if f.Live {
			return true
		}
	}
	return false
}
