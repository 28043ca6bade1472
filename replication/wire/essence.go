package wire

import "github.com/replicatedstore/replicatedstore/replication"

// Essence returns the status without what changes all the time: positions, durations, progress. A status stream has no news
// while the Essence stays the same.
func (s Status) Essence() Status {
	s.Last.Position, s.Last.Chain = 0, 0
	s.Durable.Position, s.Durable.Chain = 0, 0
	s.Commit, s.Applied, s.Told, s.ToldMillis = 0, 0, replication.Mark{}, nil
	s.Disk = Disk{}
	if s.Contact != nil {
		s.Contact = &Contact{Connected: s.Contact.Connected, Refused: s.Contact.Refused}
	}
	if s.Seeding != nil {
		s.Seeding = &Seeding{ID: s.Seeding.ID, From: s.Seeding.From}
	}
	if s.Followers != nil {
		followers := make(map[string]FollowerView, len(s.Followers))
		for name, f := range s.Followers {
			followers[name] = FollowerView{Incarnation: f.Incarnation, CaughtUp: f.CaughtUp, Live: f.Live, Seeding: f.Seeding}
		}
		s.Followers = followers
	}
	return s
}
