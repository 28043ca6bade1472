package decide

import (
	"fmt"
	"strconv"
	"time"

	"github.com/replicatedstore/replicatedstore/api/v1alpha1"
	"github.com/replicatedstore/replicatedstore/replication"
)

// boundGate judges how much an election by ev loses, if loss is accepted up to a bound. Whoever led last had taken over the
// log it was elected on, so what is lost now is what its log held and the evidence does not. What its own election and
// earlier ones of the same change lost is added.
func (d *decision) boundGate(rec Record, ev evidence, pass *passage) *gate {
	ls := rec.Leaderships()
	l := ls[len(ls)-1]
	var bound, lost int64
	if n := d.Store.Spec.Failover.MaxLostWrites; n != nil {
		bound = *n
	}
	exceeded := func(format string, args ...any) *gate {
		return &gate{v1alpha1.ReasonLossBoundExceeded, fmt.Sprintf(format, args...) + " (override: spec.failover.dataLoss Allow, without maxLostWrites)."}
	}
	if !l.Fenced(ev.has) {
		var unknown string
		if lost, unknown = d.lossOf(l, ev); unknown != "" {
			return exceeded("It is unknown %s, so the loss cannot be limited to %d writes", unknown, bound)
		}
	}
	before := lostBefore(rec)
	switch {
	case lost+before <= bound:
		pass.atMost, pass.bounded = lost+before, true
		return nil
	case before > 0:
		return exceeded("%s was %d writes ahead when last heard, and %d were lost before it led: more than spec.failover.maxLostWrites %d",
			l.Leader.Member, lost, before, bound)
	default:
		return exceeded("%s was %d writes ahead when last heard, more than spec.failover.maxLostWrites %d", l.Leader.Member, lost, bound)
	}
}

// lostBefore is how much the earlier elections of the current change have lost, as far as that is known as a number.
func lostBefore(rec Record) int64 {
	if rec.Phase == PhaseStable {
		return 0 // WritesLost belongs to an earlier change
	}
	n, err := strconv.ParseInt(rec.WritesLost, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// lossOf returns how far the leader of l, the newest leadership, was ahead of the best evidence when it was last heard, by
// the operator or by a member. If that is not known, unknown says what is missing. The leader may have written more since
// then; the bound covers only what is known.
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
		reached(s.Told, toldAgo(s.ToldMillis, m.Probe.Age)) // updated by each heartbeat; the operator asks the leader itself less often
		if s.Durable.Epoch == l.Epoch {
			led = max(led, s.Durable.Position) // a lower bound only, so it does not set known
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
		return 0, fmt.Sprintf("how far %s was when last heard", l.Leader.Member)
	case best.Epoch == l.Epoch:
		return max(0, int64(led)-int64(best.Position)), ""
	case best.Epoch == l.Start.Epoch: // entries beyond Start are not part of l's log
		return int64(led) - int64(min(best.Position, l.Start.Position)), ""
	default:
		return 0, fmt.Sprintf("how much of epoch %d the others hold (%v)", l.Epoch, ev)
	}
}

// heardToTheEnd reports whether somebody who last heard the newest leader that long ago heard it close to its end. A leader
// without voters goes on for less than the Lease's duration after its last renewal. Whoever lost contact earlier knows
// nothing of what it acknowledged after that.
func (d *decision) heardToTheEnd(ago time.Duration) bool {
	return ago <= d.Lease.UnchangedFor+d.leaseDuration()
}
