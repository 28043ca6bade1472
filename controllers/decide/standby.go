package decide

import (
	"fmt"
	"slices"

	"github.com/replicatedstore/replicatedstore/replication"
)

// standBy reduces p to what an operator that was not elected may do: nothing, unless a failover waits for an operator.
//
// Losing the leader's machine often means losing the elected operator too, and the operators' election takes seconds to
// notice. No step of a failover needs that election: each is a compare-and-swap of the record, or an order that carries the
// record's epoch and may be repeated, whoever gives it. So an operator that sees that the next step is not taken takes it.
// If two take it at once, one of them gets a conflict. Having taken one step, it goes on without waiting until somebody else
// writes another epoch, or until the store is led and nothing is due any more; what comes then is again for the elected
// operator.
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

// urgent returns the actions of a plan that clients wait for while the store has no leader, or has one that its members do
// not know.
func (d *decision) urgent(p Plan) []Action {
	if d.Lease.Record == nil {
		return nil
	}
	failover := p.State == Fencing || p.State == Promoting || p.State == Opening || p.State == Blocked // a Blocked plan may still order the elected member to lead
	if !failover && p.Risky() {
		return nil // the actions after the risky one cannot be known yet
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

// recorded returns the epoch of the record; 0 if there is none.
func (d *decision) recorded() replication.Epoch {
	if d.Lease.Record == nil {
		return 0
	}
	return d.Lease.Record.Epoch
}

// recordedPhase returns the phase of the record; "" if there is none.
func (d *decision) recordedPhase() Phase {
	if d.Lease.Record == nil {
		return ""
	}
	return d.Lease.Record.Phase
}
