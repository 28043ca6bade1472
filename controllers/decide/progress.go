package decide

import (
	"fmt"
	"time"

	"github.com/replicatedstore/replicatedstore/replication/wire"
)

// Patience with a member that answers but makes no progress.
const (
	stuckAfter     = time.Minute
	seedWaitsAfter = 10 * time.Minute // others may be seeded first
)

// stuckMembers describes the members that answer, and follow or lead as they should, but make no progress. The timed fact
// contains the figure that should move, so any movement restarts the timing.
func (d *decision) stuckMembers(rec Record) (out []string) {
	leader := d.Members[rec.Leader.Member].fresh()
	if rec.Phase != PhaseStable || leader == nil {
		return nil
	}
	for _, m := range d.able(rec) {
		s := m.fresh()
		if s == nil {
			continue
		}
		say := func(after time.Duration, figure any, format string, args ...any) {
			text := fmt.Sprintf(format, args...)
			if d.lastingQuietly(fmt.Sprintf("%s stays at %v: %s", m.Name, figure, text[:min(len(text), 12)]), after) {
				out = append(out, fmt.Sprintf("%s %s for %s", m.Name, text, after))
			}
		}
		switch x := s.Seeding; {
		case x != nil && x.ID == "":
			say(seedWaitsAfter, x.From, "has waited for a snapshot from %s", x.From)
		case x != nil:
			say(stuckAfter, x.DoneBytes, "has made no progress on its snapshot from %s beyond %s of %s", x.From, wire.Bytes(x.DoneBytes), wire.Bytes(x.TotalBytes))
		case m.follows(rec) && s.Durable.Position < leader.Durable.Position:
			say(stuckAfter, s.Durable.Position, "has been stuck at log position %d, with its leader at %d,", s.Durable.Position, leader.Durable.Position)
		case s.Applied < min(s.Commit, s.Durable.Position) && d.partOf(rec, m):
			say(stuckAfter, s.Applied, "has applied nothing beyond position %d, with %d committed,", s.Applied, min(s.Commit, s.Durable.Position))
		}
	}
	return out
}

func (d *decision) partOf(rec Record, m Member) bool { return m.leads(rec) || m.follows(rec) }

// lastingQuietly is like lasting, for facts that are no reason to look again sooner.
func (d *decision) lastingQuietly(fact string, enough time.Duration) bool {
	d.quietly = append(d.quietly, fact)
	return d.Held[fact] >= enough
}
