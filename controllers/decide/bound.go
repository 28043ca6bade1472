package decide

import (
	"fmt"
	"strconv"
	"time"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/replication"
)

// boundGate judges what an election by ev loses, where a loss is accepted up to a bound. Whoever led last took over what it was elected
// on, so what is lost now is what its log held and the evidence does not; what its own election and those before it lost, in the
// same change, comes to that.
func (d *decision) boundGate(rec Record, ev evidence, pass *passage) *gate {
	ls := rec.Leaderships()
	l := ls[len(ls)-1]
	var bound, lost int64
	if n := d.Store.Spec.Failover.MaxLostWrites; n != nil {
		bound = *n
	}
	exceeded := func(format string, args ...any) *gate {
		return &gate{v1alpha1.ReasonLossBoundExceeded, fmt.Sprintf(format, args...) + " (override: spec.failover.dataLoss Allow)."}
	}
	if !l.Fenced(ev.has) {
		var unknown string
		if lost, unknown = d.lossOf(l, ev); unknown != "" {
			return exceeded("It is unknown %s, so the loss cannot be bounded by %d writes", unknown, bound)
		}
	}
	before := lostBefore(rec)
	switch {
	case lost+before <= bound:
		pass.atMost, pass.bounded = lost+before, true
		return nil
	case before > 0:
		return exceeded("%s was %d writes ahead when it was last heard, and %d were lost before it led: more than spec.failover.maxLostWrites %d",
			l.Leader.Member, lost, before, bound)
	default:
		return exceeded("%s was %d writes ahead when it was last heard, more than spec.failover.maxLostWrites %d", l.Leader.Member, lost, bound)
	}
}

// lostBefore is what the elections of the change that is under way have lost, as far as that is a number.
func lostBefore(rec Record) int64 {
	if rec.Phase == PhaseStable {
		return 0 // another change's
	}
	n, err := strconv.ParseInt(rec.WritesLost, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// lossOf is by how much the leader of l, the newest one, was ahead of the best evidence when it was last heard, by the operator or by
// one of the members; unknown says what is not known of that. It had time to write more since; a bound is on what is known.
func (d *decision) lossOf(l replication.Leadership, ev evidence) (ahead int64, unknown string) {
	led, known := l.Start.Position, l.Inert()
	reached := func(m replication.Mark, ago time.Duration) {
		if m.Epoch == l.Epoch {
			led, known = max(led, m.Position), known || d.heardToTheEnd(ago)
		}
	}
	for name, m := range d.Members {
		s := m.Probe.Status
		if s == nil {
			continue
		}
		reached(s.Told, toldAgo(s.ToldMillis, m.Probe.Age)) // by each heartbeat; the operator asks the leader itself more seldom
		if s.Durable.Epoch == l.Epoch {
			led = max(led, s.Durable.Position) // that far at least; how far in all, that does not tell
		}
		if name == l.Leader.Member && s.Incarnation == l.Leader.Incarnation && s.Epoch == l.Epoch {
			reached(replication.Mark{Epoch: l.Epoch, Position: s.Last.Position}, m.Probe.Age)
		}
	}
	var best replication.Mark
	for _, h := range ev {
		reached(h.told, h.toldAgo)
		if !h.seeding && !h.empty && h.last.Compare(best) > 0 {
			best = h.last
		}
	}
	switch {
	case !known:
		return 0, fmt.Sprintf("how far %s was when it was last heard", l.Leader.Member)
	case best.Epoch == l.Epoch:
		return max(0, int64(led)-int64(best.Position)), ""
	case best.Epoch == l.Start.Epoch: // what it holds beyond Start is no part of l's log
		return int64(led) - int64(min(best.Position, l.Start.Position)), ""
	default:
		return 0, fmt.Sprintf("how much of epoch %d the others hold (%v)", l.Epoch, ev)
	}
}

// heardToTheEnd tells whether the newest leader was heard close to its end by somebody who heard it last so long ago. A leader without
// voters goes on for less than the Lease's duration after it renewed the Lease last. Somebody who lost it earlier knows nothing of what
// it acknowledged to others after that.
func (d *decision) heardToTheEnd(ago time.Duration) bool {
	return ago <= d.Lease.UnchangedFor+d.leaseDuration()
}
