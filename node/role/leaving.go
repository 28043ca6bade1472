package role

import "github.com/replicatedstore/replicatedstore/replication/wire"

// Leaves notes that this member was told to end, so that the operator, which may not know of that by other ways, looks for who takes
// over. Called from anywhere.
func (m *Member) Leaves() { m.works.Post(func() { m.leaving = true }) }

// Leaving judges, status by status, when a member that is told to stop may: not while it leads others, for one of them is to take
// over; and not, if it led, before it knows who does, so that what its clients asked for in between gets there.
type Leaving struct{ led bool }

// May is asked again and again until it holds, or patience ends.
func (l *Leaving) May(s wire.Status) bool {
	if s.Role == wire.RoleLeader {
		l.led = followed(s)
		return !l.led
	}
	return !l.led || s.Leader != ""
}

// followed tells whether anybody could take over.
func followed(s wire.Status) bool {
	for _, f := range s.Followers {
		if f.Live {
			return true
		}
	}
	return false
}
