package decide

import (
	"fmt"
	"slices"

	"github.com/replicatedstore/replicatedstore/replication"
)

// standBy leaves in p what an operator that was not elected may do: nothing, unless a failover waits for an operator.
//
// Losing a leader's machine often means losing the elected operator too, and the operators' election takes seconds to notice.
// Nothing a failover does needs that election: each step is a compare-and-swap of the record, or an order that carries the epoch
// of the record and may be repeated, whoever gives it. So one that sees that the next step is not taken takes it. Two that take it
// at once cost one of them a conflict. Once it has taken one it goes on without waiting, until somebody else writes another epoch,
// or the store is led and nothing is due any more: what comes then is the elected one's again.
func (d *decision) standBy(p *Plan) {
	due := d.urgent(*p)
	switch {
	case len(due) == 0:
	case d.StoodIn != 0 && d.StoodIn == d.recorded(), d.lasting(fmt.Sprintf("due: %T after %s of epoch %d", due[0], d.recordedPhase(), d.recorded()), d.Settings.StandInAfter):
		p.StandsIn = d.recorded()
		for _, a := range due {
			if w, ok := a.(WriteRecord); ok {
				p.StandsIn = w.Record.Epoch
			}
		}
		p.Actions = due
		return
	default:
		p.RequeueAfter = min(p.RequeueAfter, shortly/2)
	}
	p.Standby, p.Actions = true, nil
	if d.StoodIn == d.recorded() && d.recordedPhase() != PhaseStable {
		p.StandsIn = d.StoodIn
	}
}

// urgent are the actions of a plan that clients wait for while the store has no leader, or has one that its members do not know.
func (d *decision) urgent(p Plan) []Action {
	if d.Lease.Record == nil {
		return nil
	}
	failover := p.State == Fencing || p.State == Promoting || p.State == Opening || p.State == Blocked // which may still order the elected member to lead
	if !failover && p.Risky() {
		return nil // what comes after it is not known
	}
	return slices.DeleteFunc(slices.Clone(p.Actions), func(a Action) bool {
		switch a.(type) {
		case WriteRecord, FenceMembers, PromoteMember, ConfigureLeader, FinishRequest:
			return !failover
		case FollowLeader, RouteClients, LabelPod:
			return false
		default:
			return true
		}
	})
}

// recorded is the epoch of the record; 0 without one.
func (d *decision) recorded() replication.Epoch {
	if d.Lease.Record == nil {
		return 0
	}
	return d.Lease.Record.Epoch
}

// recordedPhase is the phase of the record; "" without one.
func (d *decision) recordedPhase() Phase {
	if d.Lease.Record == nil {
		return ""
	}
	return d.Lease.Record.Phase
}
